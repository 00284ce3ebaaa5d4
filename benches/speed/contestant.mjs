// Who takes part: a program that runs commands on the other side, and perhaps keeps a shell there and moves files.

import { initialize } from '../../scripts/lib/mcp/handshake.mjs';
import { Client } from '../../scripts/lib/mcp/stdio.mjs';
import { Stop } from '../../scripts/lib/repository.mjs';
import { tree } from '../../npm/processes.mjs';

/**
 * @typedef {object} Place where it runs, and what it may use
 * @property {string[]} near the command before those on the near side
 * @property {import('./runner.mjs').Runner} runner
 * @property {NodeJS.ProcessEnv} env with a home of its own
 * @property {string} home with `.ssh`: config, known_hosts and id_ed25519, as `ssh` has them
 * @property {string} host what `.ssh/config` calls the other side
 * @property {string} address
 * @property {number} port
 * @property {string} user
 * @property {string} files a folder that local files are in
 * @property {boolean} probed a command that takes longer than `TIMEOUT_MS` is to be stopped
 *
 * @typedef {object} Answer of a command that was run
 * @property {string} stdout
 * @property {string} [stderr] undefined if it is in stdout
 * @property {number} [status]
 * @property {boolean} [timedOut]
 * @property {number} [ms] what it took, if that is known more exactly than to who asks
 * @property {string} [file] where all of stdout is, if the answer has only a part of it
 *
 * @typedef {{ timeoutMs?: number, signal?: AbortSignal }} Bounds
 */

/** What a command gets that is to be stopped. */
export const TIMEOUT_MS = 2_000;

/** Longer than anything that is measured takes. */
const PATIENCE_MS = 120_000;

/** The call was not carried out, or was not answered. */
export class Failed extends Stop {}

/** An MCP server over stdio. Its kinds add `exec`, `shell`, `upload` and `download` where they have such tools. */
export class McpServer {
  /** @type {Place} */
  place;
  #client;

  /** @param {Place} place */
  constructor(place) {
    this.place = place;
  }

  /**
   * Its command, after it has written its configuration.
   *
   * @returns {{ program: string, args?: string[], env?: NodeJS.ProcessEnv }}
   */
  command() {
    throw new Error('each kind has one');
  }

  /** Starts it; resolves to the milliseconds up to the answer to `initialize`. */
  async start() {
    const { program, args = [], env = {} } = this.command();
    const [first, ...rest] = [...this.place.near, program, ...args];
    const begun = performance.now();
    this.#client = new Client(first, rest, { ...this.place.env, ...env }, this.place.home);
    await initialize(this.#client, { revision: '2025-06-18' });
    return performance.now() - begun;
  }

  /** What an agent carries in each conversation: the bytes of the answer to `tools/list`. */
  async toolsBytes() {
    return Buffer.byteLength(JSON.stringify(await this.#client.request('tools/list')));
  }

  /** The memory of its processes, in bytes. */
  rss() {
    return tree(this.#client.pid).reduce((sum, { rss }) => sum + rss * 1024, 0);
  }

  /** The memory of its first process, without what it has started. */
  ownRss() {
    return (tree(this.#client.pid)[0]?.rss ?? 0) * 1024;
  }

  /** Starts it, connects it, and opens its shell. */
  async open() {
    await this.start();
    await this.first();
    await this.shell?.('true');
  }

  /** Connects, in its own way, and runs a first command. */
  async first() {
    return this.exec('true');
  }

  /** Runs a command beside others. */
  async beside(command) {
    return this.exec(command);
  }

  async stop() {
    const client = this.#client;
    if (!client) return;
    this.#client = undefined;
    const timer = setTimeout(() => client.kill(), 2000);
    await client.close().finally(() => clearTimeout(timer));
  }

  /**
   * Calls a tool; resolves to the text of the answer, and a `Failed` if the call had no answer.
   *
   * @param {string} name
   * @param {object} params
   * @param {AbortSignal} [signal]
   * @returns {Promise<{ text: string, blocks: string[], isError: boolean, meta: object | undefined }>}
   */
  async call(name, params, signal) {
    const asked = this.#client.request('tools/call', { name, arguments: params }, PATIENCE_MS, signal);
    const result = await asked.catch((error) => {
      throw new Failed(error.message);
    });
    const blocks = result.content.map((block) => block.text ?? '');
    return { text: blocks.join(''), blocks, isError: result.isError === true, meta: result._meta };
  }

  /** The same for a tool that has to succeed. */
  async use(name, params, signal) {
    const answer = await this.call(name, params, signal);
    if (answer.isError) throw new Failed(answer.text);
    return answer;
  }
}

/** An answer in JSON. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Failed(text);
  }
}
