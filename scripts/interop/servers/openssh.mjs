// Debian's OpenSSH, and accounts of it that are not like others.

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needAll, needProgram } from '../../lib/programs.mjs';
import { Stop, UNAVAILABLE } from '../../lib/repository.mjs';
import { Plain } from '../plain.mjs';
import { cmd, git } from '../speech.mjs';
import { HOME, USER } from '../stage.mjs';

/** Debian keeps it off the PATH. */
const WINE = '/usr/lib/wine/wine64';

/** The login shell, and what installs it. */
function account(name, program, debianPackage, more = {}) {
  const shell = () => (program ? needProgram(program, debianPackage) : '/bin/bash');
  return { name, shell, start: (stage) => startSshd(stage), ...more };
}

/** Starts sshd on a stage, with these further lines of `sshd_config`. */
export async function startSshd(stage, lines = [], sftp = 'internal-sftp') {
  const program = needProgram('sshd', 'openssh-server');
  mkdirSync('/run/sshd', { recursive: true });
  const config = (port) => [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${stage.file('host_key')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PidFile none',
    'PrintMotd no',
    'PrintLastLog no',
    `Subsystem sftp ${sftp}`,
    ...lines,
  ];
  const file = stage.file('sshd_config');
  await stage.start((port) => (writeFileSync(file, `${config(port).join('\n')}\n`), [program, '-D', '-e', '-f', file]));
}

/** A system of busybox alone: nothing else is on the account's PATH. */
async function startBusybox(stage) {
  const folder = join(stage.home, 'bin');
  mkdirSync(folder);
  const busybox = needProgram('busybox', 'busybox');
  for (const name of execFileSync(busybox, ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    symlinkSync(busybox, join(folder, name));
  }
  await startSshd(stage, [`SetEnv PATH=${HOME}/bin`], `${HOME}/bin/no-sftp-server`);
}

async function startGit(stage) {
  const repository = join(stage.home, 'repository.git');
  const run = (...args) => execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args]);
  run('init', '-q', '--bare', '-b', 'main', repository);
  const tree = run('-C', repository, 'hash-object', '-w', '-t', 'tree', '/dev/null').toString().trim();
  const commit = run('-C', repository, 'commit-tree', '-m', 'a commit', tree).toString().trim();
  run('-C', repository, 'update-ref', 'refs/heads/main', commit);
  stage.own();
  await startSshd(stage);
}

/** The root of such an account belongs to root, and only a folder in it to the account. */
async function startChroot(stage) {
  chownSync(stage.home, 0, 0);
  chmodSync(stage.home, 0o755);
  await startSshd(stage, [`Match User ${USER}`, `ChrootDirectory ${HOME}`, 'ForceCommand internal-sftp', 'DisableForwarding yes']);
}

/** Windows' command line as the login shell, as far as wine has it: `-c` is how sshd starts a shell. */
const CMD = `#!/bin/sh
export WINEPREFIX=${HOME}/.wine WINEDEBUG=-all DISPLAY=
[ "$1" = -c ] && exec ${WINE} cmd.exe /c "$2"
exec ${WINE} cmd.exe
`;

async function startWine(stage) {
  needAll([{ name: 'wine64', debianPackage: 'wine64', isThere: () => existsSync(WINE) }], 'elsewhere install wine');
  writeFileSync(join(stage.home, 'cmd'), CMD, { mode: 0o755 });
  await startSshd(stage);
  // The first start makes the files of a Windows, which takes long.
  const { status, words } = await new Plain(stage).ssh(['ver']);
  if (status !== 0) throw new Stop(`wine does not start: ${words.slice(-300)}`, UNAVAILABLE);
}

export const openssh = [
  account('OpenSSH'),
  account('rbash', 'rbash', 'bash'),
  account('fish', 'fish', 'fish'),
  account('zsh', 'zsh', 'zsh'),
  account('tcsh', 'tcsh', 'tcsh'),
  account('busybox', 'busybox', 'busybox', { shell: () => `${HOME}/bin/ash`, start: startBusybox }),
  account('git-shell', 'git-shell', 'git', { speech: git, start: startGit }),
  account('nologin', 'nologin', 'login'),
  account("wine's cmd.exe", undefined, undefined, { shell: () => `${HOME}/cmd`, speech: cmd, start: startWine }),
  account('sftp-only chroot', undefined, undefined, { start: startChroot, folder: '/files' }),
];
