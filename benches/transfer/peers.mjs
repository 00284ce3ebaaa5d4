// The programs beside which ours is measured, with the options that a person gives them and the algorithms that they
// choose themselves.

import { writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run } from '../../npm/peer.mjs';
import { needProgram } from '../../scripts/lib/programs.mjs';
import { Refused } from './contest.mjs';

/** As our own. */
const PATIENCE_MS = 900_000;

/** Makes sure that all of them are there. */
export function needPeers() {
  for (const program of ['ssh', 'sftp', 'scp']) needProgram(program, 'openssh-client');
  needProgram('rsync', 'rsync', 'Fedora: sudo dnf install rsync; Arch: sudo pacman -S rsync');
  needProgram('tar', 'tar', 'Fedora: sudo dnf install tar; Arch: sudo pacman -S tar');
}

/**
 * All of them put what they transfer into a folder that exists.
 *
 * @param {string[]} near the command before each
 * @param {{ sshConfig: string, host: string, scratch: string }} place
 * @returns {import('./contest.mjs').Contender[]}
 */
export function peers(near, { sshConfig, host, scratch }) {
  const config = ['-F', sshConfig];
  const ssh = `ssh -F '${sshConfig}' ${host}`;
  const remote = (path) => `${host}:${path}`;
  const scp = (...options) => ({
    up: (path, folder) => ['scp', ...config, '-q', '-r', ...options, path, remote(folder)],
    down: (path, folder) => ['scp', ...config, '-q', '-r', ...options, remote(path), folder],
  });
  const sftp = (verb) => (path, folder) => {
    const batch = join(scratch, 'batch');
    writeFileSync(batch, `${verb} -r "${path}" "${folder}/"\n`);
    return ['sftp', ...config, '-q', '-b', batch, host];
  };
  const rsync = ['rsync', '-a', '-e', `ssh -F '${sshConfig}'`];
  const pack = (path) => `tar -C '${dirname(path)}' -cf - '${basename(path)}'`;
  const unpack = (folder) => `tar -C '${folder}' -xf -`;
  const all = {
    sftp: { up: sftp('put'), down: sftp('get') },
    'scp -r': scp(),
    'scp -O -r': scp('-O'),
    'rsync -a': {
      up: (path, folder) => [...rsync, path, remote(`${folder}/`)],
      down: (path, folder) => [...rsync, remote(path), `${folder}/`],
    },
    'tar | ssh': {
      up: (path, folder) => ['sh', '-c', `${pack(path)} | ${ssh} "${unpack(folder)}"`],
      down: (path, folder) => ['sh', '-c', `${ssh} "${pack(path)}" | ${unpack(folder)}`],
    },
  };
  const connect = () => timed([...near, 'ssh', ...config, host, 'true']);
  return Object.entries(all).map(([name, commands]) => {
    const transfer = (direction, { path }, folder) => timed([...near, ...commands[direction](path, folder)]);
    return { name, connect, transfer };
  });
}

/** Which cipher OpenSSH's programs choose there. */
export async function cipher(near, sshConfig, host) {
  const [command, ...args] = [...near, 'ssh', '-v', '-F', sshConfig, host, 'true'];
  const { stderr } = await run({ command, args }, {});
  return stderr.match(/kex: client->server cipher: (\S+)/)?.[1] ?? 'unknown';
}

async function timed([command, ...args]) {
  const start = performance.now();
  const { status, signal, stderr } = await run({ command, args }, { timeout: PATIENCE_MS });
  const milliseconds = performance.now() - start;
  if (status !== 0) throw new Refused(`${args.join(' ')}: ${signal ?? `status ${status}`} ${stderr.trim()}`);
  return milliseconds;
}
