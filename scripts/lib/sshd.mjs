// The real sshd, run by the user who runs this, with a configuration of its own.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { survivors, tree } from '../../npm/processes.mjs';
import { Stop } from './repository.mjs';

/** It starts in a tenth of a second, or does not start. */
const PATIENCE_MS = 20_000;

/**
 * @typedef {object} Sshd
 * @property {import('node:child_process').ChildProcess} child
 * @property {string} sshConfig for those that connect
 * @property {string} address
 * @property {number} port
 * @property {string} identity the private key that it lets in
 * @property {string} knownHosts
 * @property {() => Promise<void>} changeHostKey ends it with all its connections, and starts it with another one
 */

/**
 * Starts it; it is a child of this process, and ends when that kills it.
 *
 * @param {string} program its whole path, which it asks for
 * @param {string} folder for its files
 * @param {object} options
 * @param {string} options.host what the configuration calls it
 * @param {string[]} [options.config] lines for sshd_config, which win over its others
 * @param {number} [options.maxSessions] how many channels it allows on one connection; its own default if not said
 * @param {string} [options.address] where it listens
 * @param {string[]} [options.prefix] a command that runs it elsewhere, such as in a network namespace
 * @param {(port: number) => Promise<number>} [options.reach] to which port of the address clients connect for this one
 * @returns {Promise<Sshd>}
 */
export async function startSshd(program, folder, options) {
  const { host, config: more = [], maxSessions, address = '127.0.0.1', prefix = [], reach = async (port) => port } = options;
  mkdirSync(folder);
  // Where its unprivileged half is locked in.
  if (process.getuid() === 0) mkdirSync('/run/sshd', { recursive: true });
  const file = (name) => join(folder, name);
  for (const key of ['host_key', 'id']) makeKey(file(key));
  copyFileSync(file('id.pub'), file('authorized_keys'));
  const port = await freePort();
  const config = [
    ...more,
    `ListenAddress ${address}`,
    `Port ${port}`,
    `HostKey ${file('host_key')}`,
    `AuthorizedKeysFile ${file('authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PidFile none',
    'PrintMotd no',
    ...(more.some((line) => line.startsWith('Subsystem')) ? [] : ['Subsystem sftp internal-sftp']),
    ...(maxSessions ? [`MaxSessions ${maxSessions}`] : []),
    // Without anybody's start-up files, which bash reads for each command and which may take longer than it.
    `SetEnv HOME=${folder}`,
  ];
  writeFileSync(file('sshd_config'), `${config.join('\n')}\n`);
  const command = [...prefix, program, '-D', '-e', '-f', file('sshd_config')];
  const child = await listening(command);
  const reached = await reach(port);
  writeFileSync(file('known_hosts'), `[${address}]:${reached} ${readFileSync(file('host_key.pub'), 'utf8')}`);
  const client = [
    `Host ${host}`,
    `HostName ${address}`,
    `Port ${reached}`,
    `User ${userInfo().username}`,
    'IdentitiesOnly yes',
    `IdentityFile "${file('id')}"`,
    `UserKnownHostsFile "${file('known_hosts')}"`,
    'GlobalKnownHostsFile /dev/null',
    'StrictHostKeyChecking yes',
  ];
  writeFileSync(file('ssh_config'), `${client.join('\n')}\n`);
  const sshd = { child, sshConfig: file('ssh_config'), address, port: reached };
  const changeHostKey = async () => {
    await killAll(sshd.child);
    for (const name of ['host_key', 'host_key.pub']) rmSync(file(name));
    makeKey(file('host_key'));
    sshd.child = await listening(command);
  };
  return Object.assign(sshd, { identity: file('id'), knownHosts: file('known_hosts'), changeHostKey });
}

/**
 * Ends all connections at once, as a link does that is lost.
 *
 * @param {Sshd} sshd
 */
export function dropConnections({ child }) {
  for (const { pid } of tree(child.pid).slice(1)) kill(pid);
}

async function killAll(child) {
  const processes = tree(child.pid);
  for (const { pid } of processes) kill(pid);
  await survivors(processes, PATIENCE_MS);
}

/** Ends a process, if it still runs. */
export function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {} // It has ended meanwhile.
}

function makeKey(path) {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path]);
}

/** Runs it until it says that it listens, and on. */
async function listening([command, ...args]) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  await new Promise((resolve, reject) => {
    const failed = (why) => reject(new Stop(`sshd does not start: ${why} ${log}`));
    const timer = setTimeout(failed, PATIENCE_MS, `nothing in ${PATIENCE_MS / 1000} s`);
    child.on('error', ({ message }) => failed(message)).on('exit', () => failed('it has ended.'));
    createInterface({ input: child.stderr }).on('line', (line) => {
      log = `${log}${line}\n`.slice(-4000);
      if (!line.startsWith('Server listening on ')) return;
      clearTimeout(timer);
      resolve();
    });
  });
  return child;
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
