// `npm run check`: everything a change has to pass, in the order in which it fails fastest. Continuous integration runs
// the same.

import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { answers, buildForDevelopment, needCargo } from './lib/cargo.mjs';
import { canPreload, needAll, needProgram } from './lib/programs.mjs';
import { installSsh2 } from './ssh2.mjs';
import { instructions } from './instructions.mjs';
import { Stop, UNAVAILABLE, fail, root, seconds } from './lib/repository.mjs';
import { test } from './lib/test.mjs';

const steps = [
  ['tools', tools],
  ['scripts', () => ['scripts', 'npm', 'benches'].flatMap(scriptsIn).forEach((script) => run('node', ['--check', script]))],
  ['format', () => cargo('fmt', '--check')],
  // The first with --locked: it also finds a Cargo.lock that is out of step with Cargo.toml.
  ['lints', () => cargo('clippy', '--all-targets', '--locked', '--', '-D', 'warnings')],
  // Tests against real servers and shells fail where there are none; nothing is skipped for want of them.
  ['tests', test],
  // Also after the tests, with the crates that they have built.
  ['instructions', instructions],
  // After the tests, which have built the program that it asks.
  ['consistency', () => run('node', ['scripts/consistent.mjs'])],
  ['manual', () => run('node', ['scripts/manual.mjs', '--check'])],
  ['README', () => run('node', ['scripts/readme.mjs'])],
  // Packs the program that the tests have built, and runs it as npm's users do. `npm run smoke` does so with a
  // release build.
  ['npx', () => run('node', ['npm/smoke.mjs', '--binary', buildForDevelopment().program])],
  ['documentation', () => run('cargo', ['doc', '--no-deps', '--locked'], { RUSTDOCFLAGS: '-D warnings' })],
  ['dependencies', dependencies],
];

const done = [];
try {
  for (const [title, step] of steps) {
    console.log(`\n── ${title}`);
    const start = Date.now();
    try {
      const remark = await step();
      done.push(`  ✓ ${title.padEnd(14)} ${seconds(Date.now() - start).padStart(8)}${remark ? `  ${remark}` : ''}`);
    } catch (error) {
      if (error instanceof Stop) error.message = `FAILED at ${title}: ${error.message}`;
      throw error;
    }
    console.log(done.at(-1));
  }
  console.log(`\nAll of it passed:\n${done.join('\n')}`);
} catch (error) {
  console.error();
  fail('check', error);
}

async function tools() {
  needCargo();
  for (const [component, args] of [
    ['rustfmt', ['fmt', '--version']],
    ['clippy', ['clippy', '--version']],
  ]) {
    if (!answers(args)) {
      throw new Stop(`${component} is missing; install it: rustup component add ${component}`, UNAVAILABLE);
    }
  }
  needProgram('ssh', 'openssh-client');
  needProgram('ssh-keygen', 'openssh-client');
  needProgram('sshd', 'openssh-server');
  // Makes key files as older releases of it did.
  needProgram('openssl', 'openssl');
  needAll(testedAgainst(), 'elsewhere the packages have these or similar names');
  // Only root can show sudo accounts that are not this machine's own.
  if (process.platform === 'linux' && process.getuid() === 0) {
    needProgram('sudo', 'sudo', 'Fedora: dnf install sudo; Arch: pacman -S sudo');
  }
  if (process.platform === 'linux') await installSsh2();
}

/** What the tests run against, besides OpenSSH and bash. They fail without it. */
function testedAgainst() {
  const names = ['dash', 'ksh', 'zsh', 'fish', 'tcsh', 'yash', 'mksh', 'elvish'];
  const shells = names.map((name) => ({ name, debianPackage: name }));
  if (process.platform !== 'linux') return shells;
  return [
    ...shells,
    { name: 'posh', debianPackage: 'posh' },
    { name: 'busybox', debianPackage: 'busybox' },
    // What else a file has, which an edit must keep.
    { name: 'setfacl', debianPackage: 'acl' },
    { name: 'setfattr', debianPackage: 'attr' },
    // Searches, with busybox's and the system's grep.
    { name: 'rg', debianPackage: 'ripgrep' },
    // Menus.
    { name: 'dialog', debianPackage: 'dialog' },
    { name: 'whiptail', debianPackage: 'whiptail' },
    // Counts instructions.
    { name: 'valgrind', debianPackage: 'valgrind' },
    { name: 'dropbear', debianPackage: 'dropbear-bin' },
    { name: 'dropbearkey', debianPackage: 'dropbear-bin' },
    // Takes one command over a connection.
    { name: 'tinysshd', debianPackage: 'tinysshd' },
    // SFTP servers that do not behave as OpenSSH's.
    { name: 'proftpd', debianPackage: 'proftpd-core' },
    { name: 'mod_sftp', debianPackage: 'proftpd-mod-crypto', isThere: () => isFile('/usr/lib/proftpd/mod_sftp.so') },
    { name: 'erl', debianPackage: 'erlang-base' },
    { name: "Erlang's ssh", debianPackage: 'erlang-ssh', isThere: () => hasErlangSsh() },
    { name: 'gesftpserver', debianPackage: 'gesftpserver', isThere: () => isFile('/usr/libexec/gesftpserver') },
    { name: 'asyncssh', debianPackage: 'python3-asyncssh', isThere: () => runs('/usr/bin/python3', '-c', 'import asyncssh') },
    { name: 'rclone', debianPackage: 'rclone' },
    // Shows Dropbear another password file.
    { name: 'nss_wrapper', debianPackage: 'libnss-wrapper', isThere: () => canPreload('libnss_wrapper.so') },
  ];
}

function isFile(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function hasErlangSsh() {
  return runs('erl', '-noshell', '-eval', 'halt(case code:lib_dir(ssh) of {error, _} -> 1; _ -> 0 end).');
}

/** Whether a program is there and says that all is well. */
function runs(program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

function dependencies() {
  if (!answers(['deny', '--version'])) {
    return 'skipped: cargo-deny is not installed (cargo install --locked cargo-deny)';
  }
  cargo('deny', '--locked', 'check');
}

function cargo(...args) {
  run('cargo', args);
}

function run(program, args, env = {}) {
  const command = [...Object.entries(env).map(([name, value]) => `${name}='${value}'`), program, ...args].join(' ');
  console.log(`$ ${command}`);
  const { status, signal } = spawnSync(program, args, {
    cwd: root,
    // No standard input: nothing here may wait for a person.
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (status !== 0) throw new Stop(`${command} ended with ${signal ?? `status ${status}`}; its own messages are above`);
}

/** The scripts in a folder and the folders below it, as paths from the root. */
function scriptsIn(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return scriptsIn(path);
    return path.endsWith('.mjs') ? [path] : [];
  });
}
