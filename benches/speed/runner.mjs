// Programs that are run to their end, on the near side of a line, and timed there.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Stop } from '../../scripts/lib/repository.mjs';

/**
 * @typedef {object} Ended
 * @property {number} ms
 * @property {number | null} status
 * @property {string | null} signal
 * @property {string} stdout
 * @property {string} stderr
 */

const ENDED = 'what runs programs on the near side has ended';

export class Runner {
  #child;
  #waiting = new Map();
  #lastId = 0;

  /** @param {string[]} near the command before those on the near side; it is run once, not before each of them */
  constructor(near) {
    const script = fileURLToPath(new URL('run-here.mjs', import.meta.url));
    const [program, ...args] = [...near, process.execPath, script];
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const { id, ...ended } = JSON.parse(line);
      this.#waiting.get(id).resolve(ended);
      this.#waiting.delete(id);
    });
    this.#child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Stop(ENDED));
    });
  }

  /**
   * @param {string[]} command
   * @param {object} [options]
   * @param {number} [options.timeoutMs] it is ended then, by SIGTERM
   * @param {AbortSignal} [options.signal] ends it too
   * @param {boolean} [options.discard] what it prints goes to /dev/null
   * @returns {Promise<Ended>}
   */
  run(command, { timeoutMs, signal, discard = false } = {}) {
    const id = ++this.#lastId;
    const send = (message) => this.#child.stdin.write(`${JSON.stringify({ id, ...message })}\n`);
    signal?.addEventListener('abort', () => send({ kill: true }));
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null) reject(new Stop(ENDED));
      this.#waiting.set(id, { resolve, reject });
      send({ command, timeoutMs, discard });
    });
  }

  stop() {
    this.#child.stdin.end();
  }
}
