// One SSH server on 127.0.0.1 and what it needs: keys, an account of its own, and the configuration of those who connect.

import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tree } from '../../npm/processes.mjs';
import { Stop } from '../lib/repository.mjs';
import { freePort, kill } from '../lib/sshd.mjs';
import { Link } from '../soak/link.mjs';

/** Servers in other languages take seconds on a busy machine. */
const PATIENCE_MS = 30_000;

/** The account that the servers let in. It exists for them alone. */
export const USER = 'guest';
/** Nobody else has it, and no other run of this. */
const ID = 100_000 + process.pid;

/** Where the servers see its home: every folder above it belongs to root, as some of them demand. */
export const HOME = '/mnt/guest';

/** What a server sees that others do not: the account in the password file, and its home. */
const NAMESPACE = `
set -e
for name in passwd group shadow; do mount --bind "$0/$name" "/etc/$name"; done
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir ${HOME}
mount --bind "$0/home" ${HOME}
exec "$@"
`;

export class Stage {
  /** What the server has written. */
  log = '';
  /** What it says it is. */
  identification = '';

  #child;

  /**
   * @param {string} folder that is not there yet
   * @param {string} name how clients call the server
   * @param {string} shell the account's login shell
   */
  constructor(folder, name, shell) {
    Object.assign(this, { folder, name, link: new Link() });
    mkdirSync(folder, { mode: 0o711 });
    this.home = this.file('home');
    mkdirSync(join(this.home, '.ssh'), { recursive: true, mode: 0o700 });
    this.makeKey('id', 'ed25519');
    this.makeKey('host_key', 'ed25519');
    cpSync(this.file('id.pub'), join(this.home, '.ssh/authorized_keys'));
    this.own();
    const account = {
      passwd: `${USER}:x:${ID}:${ID}::${HOME}:${shell}`,
      group: `${USER}:x:${ID}:`,
      // No password fits; '!' would lock it.
      shadow: `${USER}:*:19000:0:99999:7:::`,
    };
    for (const [file, line] of Object.entries(account)) {
      writeFileSync(this.file(file), `${readFileSync(`/etc/${file}`, 'utf8')}${line}\n`);
    }
  }

  file(name) {
    return join(this.folder, name);
  }

  makeKey(name, type) {
    const format = type === 'rsa' ? ['-m', 'PEM'] : [];
    execFileSync('ssh-keygen', ['-q', '-t', type, ...format, '-N', '', '-f', this.file(name)]);
  }

  /** Gives all in its home to the account. */
  own() {
    execFileSync('chown', ['-R', `${ID}:${ID}`, this.home]);
    chmodSync(this.home, 0o755);
  }

  /** Makes the account the owner of a file. */
  give(path) {
    chownSync(path, ID, ID);
  }

  /**
   * Starts the server, and waits until it speaks SSH.
   *
   * @param {(port: number) => string[]} command
   * @param {object} [options]
   * @param {string} [options.hostKey] its public key, if not the stage's
   * @param {string[]} [options.config] more lines of ssh_config
   * @param {NodeJS.ProcessEnv} [options.env] more variables
   */
  async start(command, { hostKey = readFileSync(this.file('host_key.pub'), 'utf8'), config = [], env = {} } = {}) {
    const port = await freePort();
    const all = ['--mount', 'sh', '-c', NAMESPACE, this.folder, ...command(port)];
    this.#child = spawn('unshare', all, {
      cwd: this.home,
      // Nobody's terminal, agent or startup files.
      env: { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.log = `${this.log}${text}`.slice(-20_000)));
    }
    await this.#speaks(port);
    this.port = await this.link.to(port);
    writeFileSync(this.file('known_hosts'), `[127.0.0.1]:${this.port} ${hostKey}`);
    const lines = [
      `Host ${this.name}`,
      'HostName 127.0.0.1',
      `Port ${this.port}`,
      `User ${USER}`,
      'IdentitiesOnly yes',
      `IdentityFile ${this.file('id')}`,
      `UserKnownHostsFile ${this.file('known_hosts')}`,
      'GlobalKnownHostsFile /dev/null',
      'StrictHostKeyChecking yes',
      'BatchMode yes',
      ...config,
    ];
    this.sshConfig = this.file('ssh_config');
    writeFileSync(this.sshConfig, `${lines.join('\n')}\n`);
  }

  /** Ends the server and all that it has started. */
  stop() {
    this.link.cut();
    if (!this.#child) return;
    for (const { pid } of tree(this.#child.pid).reverse()) kill(pid);
    // What has left its parent, as daemons do.
    processes(({ status }) => new RegExp(`^Uid:\\t${ID}\\b`, 'm').test(status)).forEach(kill);
  }

  async #speaks(port) {
    let problem;
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(100)) {
      if (this.#child.exitCode !== null) break;
      problem = await greeting(port).catch((error) => error.message);
      if (!problem?.startsWith('SSH-')) continue;
      this.identification = problem.split(/\r?\n/)[0].replace(/^SSH-[^-]*-/, '');
      return;
    }
    const ended = this.#child.exitCode === null ? problem : `status ${this.#child.exitCode}`;
    throw new Stop(`it does not start (${ended}): ${this.log.slice(-600).replaceAll('\n', ' ')}`);
  }
}

/** The processes of this machine whose command is this one, whoever runs them. */
export function running(pattern) {
  return processes(({ command, status }) => pattern.test(command) && !/^State:\tZ/m.test(status));
}

function processes(are) {
  const about = (pid, file) => readFileSync(`/proc/${pid}/${file}`, 'latin1');
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && are({ command: about(pid, 'cmdline').replaceAll('\0', ' ').trim(), status: about(pid, 'status') });
      } catch {
        return false; // It has ended meanwhile.
      }
    });
}

/** Waits for a condition, and says whether it came about. */
export async function until(condition, patienceMs = PATIENCE_MS) {
  for (const end = Date.now() + patienceMs; ; await sleep(50)) {
    if (condition()) return true;
    if (Date.now() > end) return false;
  }
}

export function isThere(path) {
  return existsSync(path);
}

function greeting(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(2_000, () => socket.destroy(new Error('it says nothing')));
    socket.setEncoding('latin1').on('error', reject).on('close', () => reject(new Error('it closes at once')));
    socket.once('data', (text) => (resolve(text), socket.destroy()));
  });
}
