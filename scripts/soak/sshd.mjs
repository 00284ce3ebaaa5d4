// The real sshd, run by the user who runs this, with a configuration of its own.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Stop } from '../lib/repository.mjs';

/** It starts in a tenth of a second, or does not start. */
const PATIENCE_MS = 20_000;

/**
 * Starts it on 127.0.0.1; it is a child of this process, and ends when that kills it.
 *
 * @param {string} program its whole path, which it asks for
 * @param {string} folder for its files
 * @param {number} maxSessions how many commands it runs at once on one connection
 * @returns {Promise<{ child: import('node:child_process').ChildProcess, sshConfig: string }>} with a host `soak`
 */
export async function startSshd(program, folder, maxSessions) {
  mkdirSync(folder);
  // Where its unprivileged half is locked in.
  if (process.getuid() === 0) mkdirSync('/run/sshd', { recursive: true });
  const file = (name) => join(folder, name);
  for (const key of ['host_key', 'id']) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(key)]);
  }
  copyFileSync(file('id.pub'), file('authorized_keys'));
  const port = await freePort();
  const config = [
    'ListenAddress 127.0.0.1',
    `Port ${port}`,
    `HostKey ${file('host_key')}`,
    `AuthorizedKeysFile ${file('authorized_keys')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PidFile none',
    'PrintMotd no',
    `MaxSessions ${maxSessions}`,
    // Without anybody's start-up files, which bash reads for each command and which may take longer than it.
    `SetEnv HOME=${folder}`,
  ];
  writeFileSync(file('sshd_config'), `${config.join('\n')}\n`);
  const child = spawn(program, ['-D', '-e', '-f', file('sshd_config')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (log = (log + text).slice(-4000)));
  for (const end = Date.now() + PATIENCE_MS; !(await answers(port)); await sleep(50)) {
    if (child.exitCode !== null || Date.now() > end) throw new Stop(`sshd does not start: ${log}`);
  }
  writeFileSync(file('known_hosts'), `[127.0.0.1]:${port} ${readFileSync(file('host_key.pub'), 'utf8')}`);
  const host = [
    'Host soak',
    'HostName 127.0.0.1',
    `Port ${port}`,
    `User ${userInfo().username}`,
    'IdentitiesOnly yes',
    `IdentityFile "${file('id')}"`,
    `UserKnownHostsFile "${file('known_hosts')}"`,
    'GlobalKnownHostsFile /dev/null',
    'StrictHostKeyChecking yes',
  ];
  writeFileSync(file('ssh_config'), `${host.join('\n')}\n`);
  return { child, sshConfig: file('ssh_config') };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    const [banner] = await once(socket, 'data');
    return String(banner).startsWith('SSH-');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
