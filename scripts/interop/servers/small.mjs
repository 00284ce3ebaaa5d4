// Servers of small systems, and old ones.

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { unpackedDebs } from '../../lib/installed.mjs';
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
    const quiet = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
    const said = execFileSync(needProgram('dropbearkey', 'dropbear-bin'), ['-t', 'ed25519', '-f', key], quiet);
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

/** GNU's, of 2013: nothing but RSA and DSA with SHA-1, and CBC. It wants its own forms of keys. */
const lsh = {
  name: 'lsh',
  async start(stage) {
    const folder = await unpackedDebs('lsh', ['lsh-server', 'lsh-utils', 'nettle-bin', 'liboop4', 'libhogweed6']);
    const [libraries] = readdirSync(join(folder, 'usr/lib')).filter((name) => name.includes('-linux-'));
    const env = {
      LD_LIBRARY_PATH: join(folder, 'usr/lib', libraries),
      PATH: `${join(folder, 'usr/bin')}:${process.env.PATH}`,
      LSH_YARROW_SEED_FILE: stage.file('seed'),
      HOME: stage.home,
    };
    const run = (line) => execFileSync('sh', ['-c', line], { cwd: stage.folder, env, stdio: ['ignore', 'pipe', 'ignore'] });
    stage.makeKey('rsa', 'rsa');
    // It complains that nobody types, and makes the file all the same.
    run('lsh-make-seed --sloppy -o seed || test -s seed');
    run('lsh-keygen -l 2048 | lsh-writekey -c none -o lsh_key');
    run(`cut -d ' ' -f 2 rsa.pub | lsh-decode-key --base64 > rsa.sexp && lsh-authorize rsa.sexp`);
    stage.own();
    const hostKey = `${run('lsh-export-key --openssh < lsh_key.pub').toString().trim()}\n`;
    const args = ['--interface=127.0.0.1', '-h', stage.file('lsh_key'), `--subsystems=sftp=${SFTP}`, '--no-tcpwrappers'];
    const config = [
      'KexAlgorithms +diffie-hellman-group14-sha1',
      'HostKeyAlgorithms +ssh-rsa',
      'Ciphers +aes256-cbc',
      'PubkeyAcceptedAlgorithms +ssh-rsa',
      `IdentityFile ${stage.file('rsa')}`,
    ];
    const { LD_LIBRARY_PATH, LSH_YARROW_SEED_FILE } = env;
    const program = join(folder, 'usr/sbin/lshd');
    // It starts a helper, which it looks for where the system has programs.
    const both = `mount -t overlay overlay -o lowerdir=${join(folder, 'usr/sbin')}:/usr/sbin /usr/sbin && exec "$@"`;
    const command = (port) => ['sh', '-c', both, 'lshd', program, '-p', String(port), ...args];
    await stage.start(command, { hostKey, config, env: { LD_LIBRARY_PATH, LSH_YARROW_SEED_FILE } });
  },
};

export const small = [dropbear, tinysshd, lsh];
