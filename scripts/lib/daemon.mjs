// Our daemon and an SSH server for it, on 127.0.0.1, with files in a folder of the caller's.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Stop } from './repository.mjs';

/** How long either may take to start, and to end. */
const PATIENCE_MS = 10_000;

export class Daemon {
  /** What it has written to stderr. */
  log = '';
  /** @type {string} such as http://127.0.0.1:7722/mcp */
  url;

  #child;
  #exited;

  /**
   * Starts `program --http PORT`, and waits until it is ready.
   *
   * @param {string} program
   * @param {NodeJS.ProcessEnv} env such as `privateEnv` makes
   * @param {string[]} args more of them
   * @param {number} port 0: any free one
   */
  static async start(program, env, args = [], port = 0) {
    const daemon = new Daemon();
    daemon.#child = spawn(program, ['--http', String(port), ...args], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    daemon.#exited = once(daemon.#child, 'exit').then(([code, signal]) => ({ code, signal }));
    const ready = new Promise((resolve) => {
      createInterface({ input: daemon.#child.stderr }).on('line', (line) => {
        daemon.log += `${line}\n`;
        const url = line.match(/ ready on (http:\S+)/)?.[1];
        if (url) resolve(url);
      });
    });
    const timer = setTimeout(() => daemon.kill(), PATIENCE_MS);
    daemon.url = await Promise.race([ready, daemon.#exited]).finally(() => clearTimeout(timer));
    if (typeof daemon.url === 'string') return daemon;
    throw new Stop(`the daemon does not start: ${daemon.log || JSON.stringify(daemon.url)}`);
  }

  get pid() {
    return this.#child.pid;
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  /** Asks it to end, and resolves to how it did: `{ code, signal }`. */
  async stop() {
    const timer = setTimeout(() => this.kill(), PATIENCE_MS);
    this.#child.kill('SIGTERM');
    return this.#exited.finally(() => clearTimeout(timer));
  }

  /** Ends it as a crash does, and resolves when it is gone. */
  async kill() {
    this.#child.kill('SIGKILL');
    return this.#exited;
  }
}

/**
 * Starts `demo-sshd`.
 *
 * @param {string} program
 * @param {string} folder for its files
 * @returns {Promise<{ port: number, sshConfig: string, child: import('node:child_process').ChildProcess }>} what it
 *   says of itself
 */
export async function startDemoSshd(program, folder) {
  const child = spawn(program, [folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {});
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(() => Promise.reject(new Stop(`${program} has ended at once`))),
  ]);
  return { ...JSON.parse(line), child };
}

/**
 * The environment of someone who has used nothing of this before, and has no ssh-agent.
 *
 * @param {string} home will be there
 */
export function privateEnv(home) {
  mkdirSync(home, { recursive: true });
  const own = /^(SSH_AUTH_SOCK|MCP_.*|LISTEN_.*|XDG_.*|[a-z_]*proxy)$/i;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)));
  return { ...env, HOME: home, USERPROFILE: home, XDG_STATE_HOME: join(home, 'state') };
}
