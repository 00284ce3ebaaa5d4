// What an SDK's client does with the server, over one transport.

import { setTimeout as sleep } from 'node:timers/promises';
import { tree } from '../../npm/processes.mjs';
import { fact } from '../demo/screen.mjs';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';

/** Longer than a minute, which is many a client's limit. */
const SILENCE_S = 70;
/** The silence began before; a slow machine. */
const PATIENCE_MS = (SILENCE_S + 30) * 1000;
/** How long the remote side of a cancelled call, or a client after a restart, may take. */
const DEADLINE_MS = 30_000;

const PARALLEL = 8;

export class Scene {
  static #scenes = 0;

  #sdk;
  #to;
  #revision;
  #driver;
  #silence;
  #number = ++Scene.#scenes;
  #calls = 0;

  /**
   * @param {{ name: string, command: string, args: string[], env: NodeJS.ProcessEnv }} sdk how its driver is started
   * @param {string} how the transport, for people
   * @param {object} to what `connect` of driver.mjs takes
   * @param {string | undefined} revision that has to be negotiated
   */
  constructor(sdk, how, to, revision) {
    this.title = `${sdk.name}: ${how}`;
    this.#sdk = sdk;
    this.#to = to;
    this.#revision = revision;
  }

  /** All but the end of the silence, which goes on meanwhile. */
  async play(sshd) {
    await this.#connect(this.#to);
    const names = await this.#ask('tools');
    fact(`${names.length} tools`, names.length === 10 && names.every((name) => name.startsWith('ssh_')), names);
    const connected = await this.#call('ssh_connect', { host: 'demo', name: this.#session });
    const state = connected.facts?.session?.state;
    fact('ssh_connect answers in words and in data', connected.text !== '' && state === 'connected', connected);
    this.#silence = this.#call('ssh_exec', { command: `sleep ${SILENCE_S}; echo awake`, waitMs: PATIENCE_MS }, PATIENCE_MS);
    this.#silence.catch(() => {});

    const product = await this.#call('ssh_exec', { command: 'echo $((6 * 7)); echo hm >&2; exit 3' });
    fact('ssh_exec: output and exit status', /^42\n[^]*hm\n[^]*\[exit 3 /.test(product.text), product);
    await this.#call('ssh_shell', { command: `mkdir -p ${this.#session}/deep && cd ${this.#session}/deep` });
    const folder = await this.#call('ssh_shell', { command: 'pwd' });
    fact('ssh_shell keeps its directory', folder.text.includes(`/${this.#session}/deep\n`), folder);
    const error = await this.#call('ssh_exec', { command: 'true', session: 'nobody' });
    fact('what cannot be done is an error with a hint', error.isError && error.text.includes('ssh_connect'), error);
    const words = Array.from({ length: PARALLEL }, (_, index) => `word-${index}`);
    // The last one asked is the first one to answer.
    const commands = words.map((word, index) => `sleep 0.${PARALLEL - index}; echo ${word}`);
    const answers = await Promise.all(commands.map((command) => this.#call('ssh_exec', { command })));
    const matched = answers.every(({ text }, index) => text.startsWith(`${words[index]}\n`));
    fact(`${PARALLEL} calls side by side, each with its own answer`, matched, answers);
    await this.#cancel(sshd);
  }

  /** Waits for the end of the silence, and closes. */
  async end() {
    if (!this.#driver) throw new Stop('it has not connected');
    const { text } = (await this.#silence) ?? {};
    fact(`${this.title}: an answer after ${SILENCE_S} s without one`, /^awake\n/.test(text), text);
    await this.#close();
  }

  /**
   * The client finds a daemon that was started anew by itself.
   *
   * @param {(port: number) => Promise<import('../lib/daemon.mjs').Daemon>} start port 0: any free one
   */
  async surviveRestart(start) {
    const first = await start(0);
    await this.#connect({ ...this.#to, url: first.url });
    await this.#call('ssh_connect', { host: 'demo', name: this.#session });
    await first.kill();
    const second = await start(first.port);
    let answer;
    const failures = new Set();
    for (const end = Date.now() + DEADLINE_MS; !answer && Date.now() < end; await sleep(200)) {
      const call = this.#call('ssh_exec', { command: 'echo again' });
      answer = await call.catch(({ message }) => void failures.add(message));
    }
    fact(`${this.title}: the next calls work again`, /^again\n/.test(answer?.text), answer ?? [...failures]);
    for (const failure of failures) console.log(`    meanwhile: ${failure}`);
    await this.#close();
    await second.stop();
  }

  /** The daemon wants a token. */
  async bearToken(token) {
    const refused = await this.#attemptWith({});
    fact(`${this.title}: refused without it`, refused instanceof Stop, refused);
    await this.#attemptWith({ Authorization: `Bearer ${token}` }).then((result) => {
      if (result instanceof Stop) throw result;
    });
    const { text } = await this.#call('ssh_sessions', {});
    fact(`${this.title}: a tool answers with it`, text.length > 0, text);
    await this.#close();
  }

  async #attemptWith(headers) {
    this.#driver?.kill();
    return this.#connect({ ...this.#to, headers }).catch((error) => error);
  }

  get #session() {
    return `scene-${this.#number}`;
  }

  async #connect(to) {
    const { command, args, env } = this.#sdk;
    this.#driver = new Client(command, args, env);
    const { name, revision } = await this.#ask('connect', to);
    const holds = name === 'mcp-ssh-sessions' && (!this.#revision || revision === this.#revision);
    fact(`connected${this.#revision ? `, revision ${revision}` : ''}`, holds, { name, revision });
  }

  async #cancel(sshd) {
    // A number that no other process has among its arguments.
    const mark = `6${process.pid}.${this.#number}`;
    const runs = () => tree(sshd.child.pid).some(({ command }) => command.startsWith(`sleep ${mark}`));
    const key = `call ${this.#calls + 1}`;
    const cancelled = this.#call('ssh_exec', { command: `exec sleep ${mark}` }).then(
      () => 'answered',
      () => 'cancelled',
    );
    if (!(await until(runs))) throw new Stop('the command to be cancelled does not start');
    await this.#ask('cancel', { key });
    const outcome = await cancelled;
    const gone = await until(() => !runs());
    fact('a call that is cancelled ends, and the remote process with it', outcome === 'cancelled' && gone, outcome);
  }

  async #close() {
    await this.#ask('close');
    const ended = await this.#driver.close();
    fact('it closes', ended.code === 0, { ...ended, log: this.#driver.log });
  }

  async #call(tool, params, patienceMs) {
    const key = `call ${++this.#calls}`;
    const session = ['ssh_connect', 'ssh_sessions'].includes(tool) ? {} : { session: this.#session };
    const result = await this.#ask('call', { key, tool, arguments: { ...session, ...params } }, patienceMs);
    const expected = params.session === 'nobody';
    if (result.isError !== expected) throw new Stop(`${tool}: ${result.text}`);
    return result;
  }

  async #ask(method, params = {}, patienceMs) {
    return this.#driver.request(method, params, patienceMs).catch((error) => {
      throw new Stop(`${method}: ${error.message} ${this.#driver.log.slice(-1000)}`.trim());
    });
  }
}

async function until(condition) {
  for (const end = Date.now() + DEADLINE_MS; Date.now() < end; await sleep(50)) if (condition()) return true;
  return false;
}
