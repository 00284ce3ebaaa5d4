// Servers made of libraries, as their documentation shows how. They run commands as the user who runs this.

import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needAll, needProgram } from '../../lib/programs.mjs';
import { installedPython, installedSource } from '../../lib/installed.mjs';
import { root } from '../../lib/repository.mjs';
import { installSsh2 } from '../../ssh2.mjs';
import { erlang as expressions } from '../speech.mjs';

const TWISTED = ['twisted[conch]==26.10.0'];
const PYTHON = ['asyncssh==2.24.1', 'paramiko==5.1.0'];
const program = (name) => join(root, 'scripts/interop/programs', name);

const asyncssh = { name: 'asyncssh', start: (stage) => startPython(stage, 'asyncssh_server.py') };
const paramiko = { name: 'paramiko', start: (stage) => startPython(stage, 'paramiko_server.py') };

async function startPython(stage, script) {
  const python = await installedPython('interop-python', PYTHON);
  const args = [stage.file('host_key'), stage.file('id.pub')];
  await stage.start((port) => [python, program(script), String(port), ...args], { env: { PYTHONDONTWRITEBYTECODE: '1' } });
}

const ssh2 = {
  name: 'npm ssh2',
  async start(stage) {
    const folder = await installSsh2();
    const server = join(root, 'tests/it/support/other_sshd/ssh2.cjs');
    const args = [stage.file('host_key'), stage.file('id.pub'), stage.home, program('ssh2-commands.cjs')];
    const env = { NODE_PATH: join(folder, 'node_modules'), SHELL: '/bin/bash' };
    await stage.start((port) => [process.execPath, server, String(port), ...args], { env });
  },
};

const conch = { name: 'Twisted Conch', start: (stage) => startConch(stage, ['sftp']) };
/** Its own account of Unix users, whose SFTP begins and then fails at every path. */
const unixConch = { name: "Conch's Unix users", start: (stage) => startConch(stage, []) };

/**
 * PyPI's Twisted: the SFTP of Debian 12's knows no home. With the system's Python, because it becomes the account, which may
 * be kept out of a person's own, and without the packages of the system.
 */
async function startConch(stage, more) {
  const python = await installedPython('interop-twisted', TWISTED);
  const packages = execFileSync(python, ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], { encoding: 'utf8' });
  const env = { PYTHONPATH: packages.trim(), PYTHONDONTWRITEBYTECODE: '1' };
  const args = [stage.file('host_key'), stage.file('id.pub'), ...more];
  await stage.start((port) => ['/usr/bin/python3', '-S', program('conch_server.py'), String(port), ...args], { env });
}

/** The example of libssh's own source, which Debian has. */
const libssh = {
  name: "libssh's example",
  async start(stage) {
    needAll([{ name: 'gcc', debianPackage: 'gcc' }], 'elsewhere install gcc');
    needAll([{ name: 'libssh', debianPackage: 'libssh-dev', isThere: () => hasHeader('libssh/server.h') }], 'elsewhere install libssh');
    const source = await installedSource('libssh');
    const [folder] = readdirSync(source).filter((name) => /^libssh-\d/.test(name));
    const built = stage.file('libssh-server');
    writeFileSync(stage.file('config.h'), ['ARGP_H', 'PTY_H', 'UTMP_H'].map((name) => `#define HAVE_${name} 1\n`).join(''));
    const example = join(source, folder, 'examples/ssh_server.c');
    execFileSync('gcc', ['-w', `-I${stage.folder}`, '-o', built, example, '-lssh', '-lutil', '-lpthread']);
    const args = ['--no-default-keys', '-e', stage.file('host_key'), '-k', stage.file('host_key'), '-a', stage.file('id.pub')];
    await stage.start((port) => [built, '-p', String(port), ...args, '127.0.0.1']);
  },
};

/** Erlang's daemon as it is: its shell, and thus its commands, are Erlang. */
const erlang = {
  name: "Erlang's",
  speech: expressions,
  async start(stage) {
    needErlang();
    stage.makeKey('ssh_host_rsa_key', 'rsa');
    copyFileSync(stage.file('id.pub'), stage.file('authorized_keys'));
    const folders = `{system_dir, "${stage.folder}"}, {user_dir, "${stage.folder}"}`;
    const run = (port) =>
      `{ok, _} = application:ensure_all_started(ssh), {ok, _} = ssh:daemon({127, 0, 0, 1}, ${port}, ` +
      `[${folders}, {subsystems, [ssh_sftpd:subsystem_spec([{cwd, "${stage.home}"}])]}]).`;
    const hostKey = readFileSync(stage.file('ssh_host_rsa_key.pub'), 'utf8');
    const env = { ERL_CRASH_DUMP_SECONDS: '0' };
    await stage.start((port) => ['erl', '+S', '2:2', '-noshell', '-noinput', '-eval', run(port)], { hostKey, env });
  },
};

export function needErlang() {
  const hasSsh = () => isRight('erl', ['-noshell', '-eval', 'halt(case code:lib_dir(ssh) of {error, _} -> 1; _ -> 0 end).']);
  needProgram('erl', 'erlang-base');
  needAll([{ name: "Erlang's ssh", debianPackage: 'erlang-ssh', isThere: hasSsh }], 'elsewhere install Erlang');
}

function hasHeader(name) {
  return isRight('sh', ['-c', `echo '#include <${name}>' | gcc -E - > /dev/null`]);
}

function isRight(name, args) {
  try {
    execFileSync(name, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export const libraries = [asyncssh, paramiko, ssh2, conch, unixConch, libssh, erlang];
