// A program that is run to its end, or talked to in MCP over its stdin and stdout.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { initialize } from '../scripts/lib/mcp/handshake.mjs';
import { Stop } from '../scripts/lib/repository.mjs';
import { survivors, tree } from './processes.mjs';

/** Nothing here takes a third of it. */
const PATIENCE_MS = 60_000;

/**
 * Runs a program without input to its end.
 *
 * @param {{ command: string, args: string[] }} program
 * @param {import('node:child_process').SpawnOptions} options
 * @returns {Promise<{ status: number | null, signal: string | null, stdout: string, stderr: string }>}
 */
export async function run({ command, args }, options) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: PATIENCE_MS, ...options });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', (text) => (printed[stream] += text));
  }
  const [status, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (...end) => resolve(end));
  });
  return { status, signal, ...printed };
}

/**
 * A program that is installed by npm. Unlike the client of `scripts/lib/mcp`, it shares our process group, as under a real
 * client, may have a stdin that is not ours, and all processes below it are checked for their end.
 */
export class Peer {
  #waiting = new Map();
  #lastId = 0;
  #reject;
  #failed = new Promise((_, reject) => (this.#reject = reject));
  #ended;
  #foreign;
  #log = '';

  /**
   * Starts a program.
   *
   * @param {{ command: string, args: string[] }} program
   * @param {import('node:child_process').SpawnOptions} options
   */
  constructor({ command, args }, options) {
    this.started = Date.now();
    this.child = spawn(command, args, { stdio: 'pipe', ...options });
    this.#failed.catch(() => {});
    this.#ended = new Promise((resolve) => {
      this.child.on('error', this.#reject).on('close', (status, signal) => {
        this.#reject(new Stop(`ended with ${signal ?? `status ${status}`}; its stderr: ${this.#log}`));
        resolve({ status, signal });
      });
    });
    this.child.stdin?.on('error', () => {});
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.#log += text));
    createInterface({ input: this.child.stdout }).on('line', (line) => this.#receive(line));
  }

  /** Sends a request; resolves to its result. The first line on stdout that is no JSON-RPC is a failure. */
  async request(method, params) {
    const id = ++this.#lastId;
    const answer = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#send({ id, method, params });
    const late = new Stop(`no answer to ${method} in ${PATIENCE_MS / 1000} s; its stderr: ${this.#log}`);
    const timer = setTimeout(() => this.#reject(late), PATIENCE_MS);
    const { result, error } = await Promise.race([answer, this.#failed]).finally(() => clearTimeout(timer));
    if (error) throw new Stop(`${method}: ${error.message}`);
    return result;
  }

  notify(method) {
    this.#send({ method });
  }

  /** Shakes hands; resolves to the milliseconds from the start to the answer. */
  async initialize() {
    const { serverInfo } = await initialize(this);
    if (serverInfo?.name !== 'mcp-ssh-sessions') throw new Stop(`not our server: ${JSON.stringify(serverInfo)}`);
    return Date.now() - this.started;
  }

  /** Its processes, itself first. */
  processes() {
    return tree(this.child.pid);
  }

  /**
   * Lets `end` bring it to its end. Nothing of it may run `deadlineMs` later.
   *
   * @param {() => void} end
   * @param {number} deadlineMs
   * @returns {Promise<{ status: number | null, signal: string | null, took: number }>}
   */
  async end(end, deadlineMs) {
    const processes = this.processes();
    const start = Date.now();
    end();
    const left = await survivors(processes, deadlineMs);
    const ended = await Promise.race([this.#ended, new Promise((resolve) => setTimeout(resolve, deadlineMs))]);
    const took = Date.now() - start;
    if (left.length > 0 || !ended) {
      kill(left);
      this.child.kill('SIGKILL');
      const names = left.map(({ pid, command }) => `${pid} (${command})`).join(', ') || this.child.pid;
      throw new Stop(`still running after ${took} ms: ${names}`);
    }
    if (this.#foreign) throw this.#foreign;
    return { ...ended, took };
  }

  /** Ends it at once, if it still runs, with all below it. */
  abandon() {
    if (this.child.exitCode === null && this.child.signalCode === null) kill(this.processes());
  }

  #send(message) {
    this.child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  #receive(line) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {}
    if (message?.jsonrpc === '2.0') {
      this.#waiting.get(message.id)?.(message);
    } else {
      this.#foreign ??= new Stop(`stdout carries something else than JSON-RPC: ${line}`);
      this.#reject(this.#foreign);
    }
  }
}

function kill(processes) {
  for (const { pid } of processes) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {} // It has ended meanwhile.
  }
}
