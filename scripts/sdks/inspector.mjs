// MCP Inspector's command line: each call a process of its own.

import { join } from 'node:path';
import { run } from '../../npm/peer.mjs';
import { fact } from '../demo/screen.mjs';
import { Stop } from '../lib/repository.mjs';

export class Inspector {
  #command;
  #args;
  #env;

  /**
   * @param {string} node a new one
   * @param {string} folder where it is installed
   * @param {NodeJS.ProcessEnv} env
   */
  constructor(node, folder, env) {
    this.#command = node;
    const file = '@modelcontextprotocol/inspector/clients/launcher/build/index.js';
    this.#args = [join(folder, 'node_modules', file), '--cli'];
    this.#env = env;
  }

  /** @param {{ transport: string, url?: string, command?: string, args?: string[] }} to */
  async play(to) {
    const { tools } = await this.#ask(to, 'tools/list');
    fact(`${tools.length} tools`, tools.length === 10, tools);
    const session = `inspector-${to.transport}`;
    const { _meta } = await this.#call(to, 'ssh_connect', { host: 'demo', name: session });
    fact('ssh_connect', _meta?.['mcp-ssh-sessions/result']?.session?.state === 'connected', _meta);
    const product = await this.#call(to, 'ssh_exec', { command: 'echo $((6 * 7)); exit 3', session });
    fact('ssh_exec: output and exit status', /^42\n[^]*\[exit 3 /.test(text(product)), product);
    // Over stdio each process has a shell of its own, which ends with it.
    if (to.transport === 'stdio') return;
    await this.#call(to, 'ssh_shell', { command: `mkdir -p ${session}/deep && cd ${session}/deep`, session });
    const folder = await this.#call(to, 'ssh_shell', { command: 'pwd', session });
    const kept = text(folder).includes(`/${session}/deep\n`);
    fact('ssh_shell keeps its directory, from one process to the next', kept, folder);
  }

  #call(to, tool, params) {
    const pairs = Object.entries(params).flatMap(([name, value]) => ['--tool-arg', `${name}=${value}`]);
    return this.#ask(to, 'tools/call', ['--tool-name', tool, ...pairs]);
  }

  async #ask({ transport, url, command, args }, method, options = []) {
    const target = transport === 'stdio' ? [command, ...args] : [url];
    const all = [...this.#args, ...target, '--transport', transport, '--method', method, ...options];
    const ended = await run({ command: this.#command, args: all }, { env: this.#env });
    if (ended.status !== 0) throw new Stop(`${method}: ${ended.stderr}${ended.stdout}`);
    return JSON.parse(ended.stdout);
  }
}

function text({ content }) {
  return content.map((block) => block.text).join('');
}
