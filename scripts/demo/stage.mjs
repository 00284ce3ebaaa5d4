// What the demo needs while it runs: a temporary folder, the throw-away SSH server and the program. It all goes with it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';

/** How long a program may take to end once its stdin is closed, before it is killed. */
const PATIENCE_MS = 4_000;

export class Stage {
  /** @type {string | undefined} the temporary folder */
  folder;
  /** @type {{ port: number, password: string, sshConfig: string }} what the SSH server says of itself */
  sshd;
  /** @type {Client} the program's client */
  client;
  /** When the program was started, as performance.now() has it. */
  clientStarted = 0;

  #sshdProcess;
  #sshdLines;
  #sshdExited;
  #closed;

  /**
   * Starts both programs.
   *
   * @param {string} sshdProgram
   * @param {string} program
   */
  async open(sshdProgram, program) {
    this.folder = mkdtempSync(join(tmpdir(), 'ssh-demo-'));
    mkdirSync(this.path('here'));
    // Detached like the program: see Client.
    this.#sshdProcess = spawn(sshdProgram, [this.path('remote')], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    this.#sshdProcess.stdin.on('error', () => {});
    this.#sshdExited = once(this.#sshdProcess, 'exit').catch(() => {});
    this.#sshdLines = createInterface({ input: this.#sshdProcess.stdout })[Symbol.asyncIterator]();
    this.sshd = JSON.parse(await this.#sshdLine());
    // A home of its own, and no ssh-agent: the person's files and keys have no part in this.
    const { SSH_AUTH_SOCK: _, ...env } = {
      ...process.env,
      HOME: this.path('here'),
      XDG_STATE_HOME: this.path('state'),
    };
    this.clientStarted = performance.now();
    this.client = new Client(program, ['--ssh-config', this.sshd.sshConfig, '--store', this.store], env);
  }

  /** The path of something in the temporary folder. */
  path(...names) {
    return join(this.folder, ...names);
  }

  /** The program's store of sessions. */
  get store() {
    return this.path('sessions.json');
  }

  /** Cuts every connection of the SSH server, as a network does: without a word. */
  async cutTheLink() {
    this.#sshdProcess.stdin.write('drop\n');
    const answer = await this.#sshdLine();
    if (answer !== 'dropped') throw new Stop(`the demo's SSH server said ${answer}`);
  }

  /** The processes on the "remote" host, as soon as there are none or `milliseconds` have passed. */
  async remoteProcessesAfter(milliseconds) {
    const deadline = Date.now() + milliseconds;
    while (this.#remoteProcesses().length > 0 && Date.now() < deadline) await sleep(20);
    return this.#remoteProcesses();
  }

  /** Found by their environment; none where there is no /proc. */
  #remoteProcesses() {
    const mark = ` 127.0.0.1 ${this.sshd.port}`;
    const isOurs = (pid) => {
      try {
        const variables = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
        return variables.some((variable) => variable.startsWith('SSH_CONNECTION=') && variable.endsWith(mark));
      } catch {
        return false;
      }
    };
    return existsSync('/proc') ? readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isOurs(name)) : [];
  }

  /** Ends both programs, the client first, and removes the folder. Safe to call again. */
  close() {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close() {
    await endsSoon(this.client?.close(), () => this.client.kill());
    this.#sshdProcess?.stdin.end();
    await endsSoon(this.#sshdExited, () => this.#sshdProcess.kill('SIGKILL'));
    this.#removeFolder();
  }

  /** The same at once, for a process that is on its way out. */
  abandon() {
    this.client?.kill();
    this.#sshdProcess?.kill('SIGKILL');
    this.#removeFolder();
  }

  /** What should be gone after `close` and is not, as a sentence for each. */
  remains() {
    const processes = this.#remoteProcesses().map((pid) => `process ${pid} still runs`);
    return existsSync(this.folder) ? [...processes, `${this.folder} is still there`] : processes;
  }

  /** What the program has logged. */
  log() {
    return this.client?.log ?? '';
  }

  #removeFolder() {
    if (this.folder) rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  async #sshdLine() {
    const { value, done } = await this.#sshdLines.next();
    if (done) throw new Stop("the demo's SSH server has ended; its own messages are above");
    return value;
  }
}

/** Waits for `end`; when it takes too long, kills and waits on. */
async function endsSoon(end, kill) {
  if (!end) return;
  const waiting = new AbortController();
  sleep(PATIENCE_MS, undefined, { signal: waiting.signal, ref: false }).then(kill, () => {});
  await end.catch(() => {});
  waiting.abort();
}
