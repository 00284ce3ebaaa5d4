// `ssh` and `scp`, as an agent uses them that has nothing else: a connection for each command, or one that a master keeps
// (ControlMaster).

import { join } from 'node:path';
import { Failed } from './contestant.mjs';

export class PlainSsh {
  static title = '`ssh`';

  /** @type {import('./contestant.mjs').Place} */
  place;

  constructor(place) {
    this.place = place;
  }

  /** There is nothing to start. */
  async start() {}

  async stop() {}

  async open() {
    await this.first();
  }

  async first() {
    return this.exec('true');
  }

  async beside(command) {
    return this.exec(command);
  }

  async exec(command, { timeoutMs, signal } = {}) {
    return this.#answer(await this.ssh([this.place.host, command], { timeoutMs, signal }), timeoutMs);
  }

  /** Runs a command whose output goes to /dev/null; resolves to the milliseconds. */
  async discard(command) {
    const ended = await this.ssh([this.place.host, command], { discard: true });
    this.#answer(ended);
    return ended.ms;
  }

  async upload(local, remote) {
    await this.copy(local, `${this.place.host}:${remote}`);
  }

  async download(remote, local) {
    await this.copy(`${this.place.host}:${remote}`, local);
  }

  async read(path) {
    return this.#printed(`cat -- ${quoted(path)}`);
  }

  async tail(path, count) {
    return this.#printed(`tail -n ${count} -- ${quoted(path)}`);
  }

  /** Neither text has a character that means something to sed. */
  async edit(path, from, to) {
    return this.#printed(`sed -i 's/${from}/${to}/' -- ${quoted(path)}`);
  }

  async search(pattern, folder) {
    return this.#printed(searchCommand(pattern, folder));
  }

  /** What goes before the other arguments of `ssh` and `scp`. */
  options() {
    return ['-F', join(this.place.home, '.ssh', 'config')];
  }

  ssh(args, options) {
    return this.place.runner.run(['ssh', ...this.options(), ...args], options);
  }

  async #printed(command) {
    const { stdout, stderr, status, ms } = await this.exec(command);
    if (status !== 0) throw new Failed(stderr.trim());
    return { text: stdout, ms };
  }

  /** `scp` from one place to another. */
  async copy(from, to) {
    this.#answer(await this.place.runner.run(['scp', ...this.options(), '-q', from, to]));
  }

  #answer({ ms, status, signal, stdout, stderr }, timeoutMs) {
    // Its end at SIGTERM has the same status as its own failures.
    const timedOut = ms >= timeoutMs;
    if (!timedOut && (status === 255 || status === null)) throw new Failed(stderr.trim() || `ended with ${signal}`);
    return { stdout, stderr, status, timedOut, ms };
  }
}

export class ControlMaster extends PlainSsh {
  static title = 'ControlMaster';

  options() {
    const settings = ['ControlMaster=auto', 'ControlPersist=yes', `ControlPath=${join(this.place.home, 'master')}`];
    return [...super.options(), ...settings.flatMap((setting) => ['-o', setting])];
  }

  async stop() {
    await this.ssh(['-O', 'exit', this.place.host]);
  }
}

/** Searches a folder with what a host has. */
export function searchCommand(pattern, folder) {
  const [what, where] = [pattern, folder].map(quoted);
  return `if command -v rg > /dev/null; then rg -n -- ${what} ${where}; else grep -rn -- ${what} ${where}; fi`;
}

function quoted(word) {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
