// An MCP client over stdio, as small as one can be: JSON-RPC 2.0, one message a line.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Stop } from '../repository.mjs';

/** Three times as long as any call takes on a slow machine, unless the caller says otherwise. */
const PATIENCE_MS = 30_000;

export class Client {
  #child;
  #waiting = new Map();
  #lastId = 0;
  #broken;
  #exited;

  /** What the program has written to stderr. */
  log = '';
  /** Answers the program's questions: takes a request and returns its result. Without it none is answered. */
  onRequest;

  /**
   * Starts the program.
   *
   * @param {string} program
   * @param {string[]} args
   * @param {NodeJS.ProcessEnv} env
   * @param {string} [cwd]
   */
  constructor(program, args, env, cwd) {
    // Its own process group: Ctrl-C in the terminal reaches only the script, which then ends the others in order.
    this.#child = spawn(program, args, { env, cwd, stdio: 'pipe', detached: true });
    this.#exited = once(this.#child, 'exit').then(([code, signal]) => ({ code, signal }));
    this.#exited.then(
      ({ code, signal }) => this.#breakOff(`the program ended with ${signal ?? `status ${code}`} while it was in use`),
      (error) => this.#breakOff(`the program could not be started: ${error.message}`),
    );
    this.#child.stdin.on('error', () => {});
    this.#child.stderr.setEncoding('utf8').on('data', (text) => (this.log += text));
    createInterface({ input: this.#child.stdout, crlfDelay: Infinity }).on('line', (line) => this.#receive(line));
  }

  get pid() {
    return this.#child.pid;
  }

  /**
   * Sends a request and resolves to its result; an answer that is a JSON-RPC error is a Stop.
   *
   * @param {string} method
   * @param {object} [params]
   * @param {number} [patienceMs]
   * @param {AbortSignal} [signal] cancels it
   */
  request(method, params, patienceMs = PATIENCE_MS, signal) {
    if (this.#broken) return Promise.reject(this.#broken);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Stop(`${method}: no answer in ${patienceMs / 1000} s`)), patienceMs);
      signal?.addEventListener('abort', () => {
        this.notify('notifications/cancelled', { requestId: id });
        this.#waiting.get(id)?.reject(new Stop(`${method}: cancelled`));
      });
      this.#waiting.set(id, {
        resolve: (result) => (clearTimeout(timer), resolve(result)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      });
      this.#send({ id, method, params });
    });
  }

  notify(method, params) {
    this.#send({ method, params });
  }

  /** Closes the program's stdin, which ends it, and resolves to `{ code, signal }`. */
  async close() {
    this.#broken ??= new Stop('this client has closed the connection');
    this.#child.stdin.end();
    return this.#exited;
  }

  kill() {
    this.#child.kill('SIGKILL');
  }

  #send(message) {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  #receive(line) {
    let message;
    try {
      message = JSON.parse(line);
    } catch {
      this.#breakOff(`the program's stdout carries something else than JSON-RPC: ${line.slice(0, 200)}`);
      return;
    }
    if (message.method !== undefined) {
      if (message.id === undefined) return;
      const answer = this.onRequest
        ? { result: this.onRequest(message) }
        : { error: { code: -32601, message: 'not supported' } };
      this.#send({ id: message.id, ...answer });
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error) waiting?.reject(new Stop(`JSON-RPC error ${message.error.code}: ${message.error.message}`));
    else waiting?.resolve(message.result);
  }

  #breakOff(reason) {
    this.#broken ??= new Stop(reason);
    for (const { reject } of this.#waiting.values()) reject(this.#broken);
    this.#waiting.clear();
  }
}
