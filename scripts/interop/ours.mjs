// This program, as an MCP client uses it.

import { join } from 'node:path';
import { privateEnv } from '../lib/daemon.mjs';
import { initialize } from '../lib/mcp/handshake.mjs';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';
import { run } from './plain.mjs';

/** 50 MB over a slow server, on a busy machine. */
const PATIENCE_MS = 120_000;

/** @typedef {{ isError: boolean, text: string, stdout: string, stderr: string, outcome?: object }} Answer */

export class Ours {
  /**
   * @param {string} binary
   * @param {import('./stage.mjs').Stage} stage
   */
  static async start(binary, stage) {
    const ours = new Ours();
    const env = { ...privateEnv(stage.file('person')), MCP_SSH_CONFIG: stage.sshConfig };
    Object.assign(ours, { binary, env, host: stage.name, client: new Client(binary, [], env, stage.folder) });
    await initialize(ours.client);
    return ours;
  }

  /**
   * Calls a tool. An answer that does not come is one too, and never a clear one.
   *
   * @returns {Promise<Answer>}
   */
  async call(tool, args = {}) {
    const to = tool === 'ssh_connect' ? { host: this.host } : { session: this.host };
    const request = { name: tool, arguments: { ...to, ...args } };
    const result = await this.client.request('tools/call', request, PATIENCE_MS).catch((error) => {
      if (!(error instanceof Stop)) throw error;
      return { isError: true, content: [{ text: `no answer: ${error.message}` }] };
    });
    const kinds = result._meta?.['mcp-ssh-sessions/blocks'] ?? [];
    const blocks = result.content.map(({ text }, index) => [kinds[index], text]);
    const textOf = (name) => blocks.filter(([one]) => one === name).map(([, text]) => text).join('');
    return {
      isError: result.isError === true,
      text: blocks.map(([, text]) => text).join('\n'),
      stdout: textOf('stdout'),
      stderr: textOf('stderr').replace(/^\[stderr\]\n/, ''),
      outcome: result._meta?.['mcp-ssh-sessions/outcome'],
    };
  }

  exec(command, args = {}) {
    return this.call('ssh_exec', { command, ...args });
  }

  /** What `doctor` reports; undefined where that is no report. */
  async doctor() {
    const args = ['doctor', this.host, '--json', '--store', join(this.env.HOME, 'none.json')];
    const { stdout, words } = await run(this.binary, args, '', PATIENCE_MS, this.env);
    const text = stdout.toString();
    return text.startsWith('{') ? { text, report: JSON.parse(text) } : { text: words };
  }

  close() {
    this.client.kill();
  }
}
