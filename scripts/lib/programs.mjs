// The programs of this system that the scripts run.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Stop, UNAVAILABLE } from './repository.mjs';

/** Distributions keep sshd where a plain user's PATH does not look. */
const folders = [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), '/usr/sbin', '/usr/local/sbin'];

const OPENSSH = 'Fedora: sudo dnf install openssh-clients openssh-server; Arch: sudo pacman -S openssh';

/**
 * Makes sure that `program` is there: root on Debian and its kin installs `debianPackage`; elsewhere a Stop says what to
 * install.
 *
 * @param {string} program
 * @param {string} debianPackage
 * @param {string} elsewhere how other systems get it
 * @returns {string} its path
 */
export function needProgram(program, debianPackage, elsewhere = OPENSSH) {
  const path = find(program);
  if (path) return path;
  if (process.getuid?.() === 0 && find('apt-get') && existsSync('/etc/debian_version')) {
    console.log(`${program} is missing: installing ${debianPackage} with apt-get`);
    aptGet('update', '-qq');
    aptGet('install', '-qq', '--yes', '--no-install-recommends', debianPackage);
    const installed = find(program);
    if (installed) return installed;
  }
  throw new Stop(
    `${program} is missing; install it (Debian, Ubuntu: sudo apt-get install ${debianPackage}; ${elsewhere})`,
    UNAVAILABLE,
  );
}

function find(program) {
  const paths = folders.map((folder) => join(folder, program));
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function aptGet(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status } = spawnSync('apt-get', args, { stdio: ['ignore', 'inherit', 'inherit'], env });
  if (status !== 0) throw new Stop(`apt-get ${args.join(' ')} failed; its own messages are above`, UNAVAILABLE);
}
