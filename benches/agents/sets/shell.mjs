// The agent's own shell: one tool that runs a command on the near side, where `ssh`, `scp` and `rsync` are.

import { spawn } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needProgram } from '../../../scripts/lib/programs.mjs';

/** What the tool allows a command, unless the call says otherwise. */
const TIMEOUT_MS = 120_000;

export class Shell {
  static id = 'ssh';
  static title = '`ssh`';
  kind = 'ssh';

  static async install() {}

  /** @param {import('../world.mjs').World} world */
  constructor(world) {
    this.world = world;
  }

  /** Makes `ssh` read the configuration of this home; it would ask the system for another one. */
  async open() {
    const bin = join(this.world.home, 'bin');
    mkdirSync(bin);
    for (const name of ['ssh', 'scp']) {
      const program = needProgram(name, 'openssh-client');
      const file = join(bin, name);
      writeFileSync(file, `#!/bin/sh\nexec ${program} -F ${join(this.world.home, '.ssh', 'config')} "$@"\n`);
      chmodSync(file, 0o755);
    }
    this.path = `${bin}:${process.env.PATH}`;
  }

  /** Nothing has to be found or loaded. */
  async definitions() {
    return undefined;
  }

  perform(_tool, args) {
    return runLocally(this.world, args, this.path);
  }

  run(agent, host, command, { timeoutMs } = {}) {
    const bounded = timeoutMs ? `timeout -k 1 ${timeoutMs / 1000} ${command}` : command;
    return agent.call('Bash', { command: `ssh ${host} ${quote(bounded)}` });
  }

  everywhere(agent, hosts, command) {
    const loop = `for h in ${hosts.join(' ')}; do ssh $h ${quote(command)} 2>&1 | sed "s/^/$h: /" & done; wait`;
    return agent.call('Bash', { command: loop });
  }

  upload(agent, host, local, remote) {
    return agent.call('Bash', { command: `scp -qr ${local} ${host}:${this.world.at(host, remote)}` });
  }

  download(agent, host, remote, local) {
    return agent.call('Bash', { command: `scp -q ${host}:${this.world.at(host, remote)} ${local}` });
  }

  async stop() {}
}

export class ControlMaster extends Shell {
  static id = 'controlmaster';
  static title = 'ControlMaster';

  async open() {
    await super.open();
    const path = join('/tmp', `agents-${process.pid}-${this.world.line.roundTripMs}-%C`);
    const settings = ['Host *', 'ControlMaster auto', 'ControlPersist 60', `ControlPath ${path}`];
    appendFileSync(join(this.world.home, '.ssh', 'config'), `${settings.join('\n')}\n`);
  }

  /** The masters end with their connections; the hosts' processes are killed afterwards. */
  async stop() {
    const exits = Object.keys(this.world.hosts).map((host) => `ssh -O exit ${host} 2>/dev/null`);
    await this.perform('Bash', { command: `${exits.join('; ')}; true` });
  }
}

/** Runs a command of the agent's own shell; `path` is where its programs are. */
export async function runLocally(world, { command, timeout = TIMEOUT_MS }, path = process.env.PATH) {
  const [program, ...args] = [...world.near, 'bash', '-c', command];
  const env = { ...world.env, PATH: path };
  const child = spawn(program, args, { cwd: world.project, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part) => (text += part));
  const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), timeout);

  // A master keeps the pipes, so that their end cannot be waited for.
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject).on('exit', (code) => setImmediate(resolve, code));
  });
  clearTimeout(timer);
  for (const stream of [child.stdout, child.stderr]) stream.destroy();
  return { text: status === 0 ? text : `${text}\nExit code ${status}` };
}

/** A word of the shell. */
export function quote(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
