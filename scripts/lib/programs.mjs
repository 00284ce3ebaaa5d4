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
  needAll([{ name: program, debianPackage }], elsewhere);
  return find(program);
}

/**
 * The same for several programs at once, and for what is there in another way.
 *
 * @param {{ name: string, debianPackage: string, isThere?: () => boolean }[]} wanted
 * @param {string} elsewhere how other systems get them
 */
export function needAll(wanted, elsewhere) {
  const missing = () => wanted.filter(({ name, isThere }) => !(isThere ? isThere() : find(name)));
  const words = (of) => [of.map(({ name }) => name).join(', '), of.length > 1 ? 'are missing' : 'is missing'].join(' ');
  const packages = (of) => [...new Set(of.map(({ debianPackage }) => debianPackage))];
  let left = missing();
  if (left.length > 0 && process.getuid?.() === 0 && find('apt-get') && existsSync('/etc/debian_version')) {
    console.log(`${words(left)}: installing ${packages(left).join(' ')} with apt-get`);
    aptGet('update', '-qq');
    aptGet('install', '-qq', '--yes', '--no-install-recommends', ...packages(left));
    left = missing();
  }
  if (left.length === 0) return;
  const install = `sudo apt-get install ${packages(left).join(' ')}`;
  throw new Stop(`${words(left)}; please install (Debian, Ubuntu: ${install}; ${elsewhere})`, UNAVAILABLE);
}

/** Whether the dynamic linker finds a library to preload. */
export function canPreload(library) {
  const { stderr, status } = spawnSync('true', [], { env: { ...process.env, LD_PRELOAD: library }, encoding: 'utf8' });
  return status === 0 && stderr === '';
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
