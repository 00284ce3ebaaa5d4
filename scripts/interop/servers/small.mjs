// Servers of small systems, and old ones.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { needProgram } from '../../lib/programs.mjs';
import { root } from '../../lib/repository.mjs';

const INETD = join(root, 'scripts/interop/programs/inetd.mjs');

/** Debian's, which comes with sshd. */
const SFTP = '/usr/lib/openssh/sftp-server';

const dropbear = {
  name: 'Dropbear',
  async start(stage) {
    const program = needProgram('dropbear', 'dropbear-bin');
    const key = stage.file('dropbear_key');
    const said = execFileSync(needProgram('dropbearkey', 'dropbear-bin'), ['-t', 'ed25519', '-f', key], { encoding: 'utf8' });
    const hostKey = `${said.split('\n').find((line) => line.startsWith('ssh-'))}\n`;
    const args = ['-F', '-E', '-m', '-s', '-r', key, '-P', stage.file('pid')];
    await stage.start((port) => [program, ...args, '-p', `127.0.0.1:${port}`], { hostKey });
  },
};

const tinysshd = {
  name: 'tinysshd',
  async start(stage) {
    const program = needProgram('tinysshd', 'tinysshd');
    const keys = stage.file('keys');
    execFileSync('tinysshd-makekey', [keys], { stdio: 'ignore' });
    const hostKey = execFileSync('tinysshd-printkey', [keys], { encoding: 'utf8' });
    const server = [program, '-l', '-x', `sftp=${SFTP}`, keys];
    await stage.start((port) => [process.execPath, INETD, String(port), ...server], { hostKey });
  },
};

export const small = [dropbear, tinysshd];
