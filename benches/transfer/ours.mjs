// Our program, driven as an agent does: MCP over stdio.

import { readFileSync, writeFileSync } from 'node:fs';
import { initialize } from '../../scripts/lib/mcp/handshake.mjs';
import { Client } from '../../scripts/lib/mcp/stdio.mjs';
import { Stop } from '../../scripts/lib/repository.mjs';
import { Refused } from './contest.mjs';

/** No peer takes a tenth of it. */
const PATIENCE_MS = 900_000;

export class Ours {
  /** What the process held in bytes: before the first transfer, and at most while a file went. Linux only. */
  memory = { idle: undefined, peak: undefined };

  #client;
  #host;

  /**
   * Starts it and connects it.
   *
   * @param {string[]} command
   * @param {NodeJS.ProcessEnv} env
   * @param {string} host as its configuration calls it
   */
  static async start([program, ...args], env, host) {
    const ours = new Ours();
    ours.#host = host;
    ours.#client = new Client(program, args, env);
    await initialize(ours.#client);
    await ours.#use('ssh_connect', { host });
    ours.memory.idle = ours.#held('VmRSS');
    return ours;
  }

  /**
   * It takes part twice: on the terms of the others, and as it is used, with a session that is open.
   *
   * @returns {import('./contest.mjs').Contender[]}
   */
  contenders() {
    const transfer = (...what) => this.#transfer(...what);
    const session = this.#host;
    const disconnect = () => this.#use('ssh_disconnect', { session });
    return [
      {
        name: 'mcp-ssh-sessions',
        connect: async () => {
          await disconnect();
          return (await this.#use('ssh_reconnect', { session })).milliseconds;
        },
        // The transfer connects by itself.
        prepare: disconnect,
        transfer,
      },
      {
        name: 'mcp-ssh-sessions, connected before',
        connect: async () => 0,
        prepare: () => this.#use('ssh_exec', { session, command: 'true' }),
        transfer,
      },
    ];
  }

  /** Ends it in good order. */
  async stop() {
    const { code, signal } = await this.#client.close();
    if (code !== 0) throw new Stop(`it has ended with ${signal ?? `status ${code}`}: ${this.#client.log}`);
  }

  async #transfer(direction, { path, files, bytes }, folder) {
    // See proc_pid_clear_refs(5).
    if (this.memory.idle) writeFileSync(`/proc/${this.#client.pid}/clear_refs`, '5');
    const [tool, params] =
      direction === 'up'
        ? ['ssh_upload', { localPath: path, remotePath: folder }]
        : ['ssh_download', { remotePath: path, localPath: folder }];
    const { facts, milliseconds } = await this.#use(tool, params);
    if (facts.files !== files || facts.bytes !== bytes) {
      throw new Stop(`${tool} of ${files} files, ${bytes} bytes, has done ${JSON.stringify(facts)}`);
    }
    if (files === 1) this.memory.peak = Math.max(this.memory.peak ?? 0, this.#held('VmHWM') ?? 0);
    return milliseconds;
  }

  async #use(name, params) {
    const start = performance.now();
    const result = await this.#client.request('tools/call', { name, arguments: params }, PATIENCE_MS);
    const milliseconds = performance.now() - start;
    if (result.isError) throw new Refused(`${name}: ${result.content.map(({ text }) => text).join(' ')}`);
    return { facts: result._meta?.['mcp-ssh-sessions/result'], milliseconds };
  }

  /** A field of proc_pid_status(5), which has them in kibibytes. */
  #held(field) {
    if (process.platform !== 'linux') return undefined;
    const status = readFileSync(`/proc/${this.#client.pid}/status`, 'utf8');
    return Number(status.match(new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm'))[1]) * 1024;
  }
}
