// The other side, and a place for each contestant on the near one.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { privateEnv } from '../../scripts/lib/daemon.mjs';
import { startSshd } from '../../scripts/lib/sshd.mjs';
import { Runner } from './runner.mjs';

const HOST = 'bench';

export class Stage {
  #sshdProgram;
  #folder;
  #line;
  #files;
  #runner;
  #count = 0;

  /**
   * @param {string} sshdProgram
   * @param {string} folder new
   * @param {import('../lib/lines.mjs').Line} line
   * @param {string} files a folder with local files
   */
  constructor(sshdProgram, folder, line, files) {
    mkdirSync(folder);
    this.#sshdProgram = sshdProgram;
    this.#folder = folder;
    this.#line = line;
    this.#files = files;
    this.#runner = new Runner(line.near);
  }

  /**
   * One more sshd on the other side.
   *
   * @param {(folder: string) => string[]} [config] what of its configuration is not its own default
   */
  async sshd(config = () => []) {
    const { far: prefix, address, reach } = this.#line;
    const folder = this.#new('sshd');
    return startSshd(this.#sshdProgram, folder, { host: HOST, config: config(folder), prefix, address, reach });
  }

  /**
   * A place of its own for a contestant.
   *
   * @param {import('../../scripts/lib/sshd.mjs').Sshd} sshd
   * @param {{ known?: boolean, probed?: boolean }} [options] whether the host key is known there
   * @returns {import('./contestant.mjs').Place}
   */
  place(sshd, { known = true, probed = false } = {}) {
    const home = this.#new('home');
    const env = privateEnv(home);
    const ssh = join(home, '.ssh');
    mkdirSync(ssh, { mode: 0o700 });
    const keep = (name, text) => writeFileSync(join(ssh, name), text, { mode: 0o600 });
    keep('id_ed25519', readFileSync(sshd.identity));
    copyFileSync(`${sshd.identity}.pub`, join(ssh, 'id_ed25519.pub'));
    keep('known_hosts', known ? readFileSync(sshd.knownHosts) : '');
    const config = readFileSync(sshd.sshConfig, 'utf8')
      .replaceAll(sshd.knownHosts, join(ssh, 'known_hosts'))
      .replace('StrictHostKeyChecking yes', 'StrictHostKeyChecking ask');
    keep('config', config);
    const { near } = this.#line;
    const { address, port } = sshd;
    const user = userInfo().username;
    return { near, runner: this.#runner, env, home, host: HOST, address, port, user, files: this.#files, probed };
  }

  close() {
    this.#runner.stop();
  }

  #new(name) {
    return join(this.#folder, `${name}-${++this.#count}`);
  }
}
