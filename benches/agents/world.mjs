// The machines of a tool set: four hosts, each a real sshd with a home of its own, and the near side with a project.

import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { all, tree } from '../../npm/processes.mjs';
import { privateEnv } from '../../scripts/lib/daemon.mjs';
import { kill, startSshd } from '../../scripts/lib/sshd.mjs';

/** The hosts whose keys are known; the key of `stray` is not. */
export const KNOWN = ['web', 'db', 'cache'];
const HOSTS = [...KNOWN, 'stray'];

/** What the database asks for. */
export const PASSWORD = 'correct-horse';

/** Stand-ins for programs of the system, which a test may not change. */
const PROGRAMS = {
  // The login of the bench may be root, which needs none.
  sudo: `while [ $# -gt 0 ]; do case $1 in -p|-u) shift 2;; -v) exit 0;; --) shift; break;; -*) shift;; *) break;; esac; done
echo sudo >> "$HOME/sudo.log"; exec "$@"`,
  systemctl: `state=$HOME/service; case $1 in
restart) echo active > "$state"; echo restart >> "$HOME/service.log";;
is-active) cat "$state";;
status) echo "● $2.service - The web application"; echo "     Active: $(cat "$state") (running)"; echo "   Main PID: 4711 (app)"
  tail -n 3 "$HOME/app/app.log";;
esac`,
  // It reads from the terminal only, as such programs do.
  dbtool: `printf 'Password: ' > /dev/tty; stty -echo < /dev/tty; read -r word < /dev/tty; stty echo < /dev/tty; echo
[ "$word" = ${PASSWORD} ] || { echo denied; exit 1; }; echo 'rows: 42'`,
};

export class World {
  /** @type {Record<string, { folder: string, port: number, address: string }>} */
  hosts = {};

  /**
   * @param {string} sshd the program
   * @param {string} folder new
   * @param {import('../lib/lines.mjs').Line} line
   * @param {number} slowSeconds how long a slow program runs
   */
  static async open(sshd, folder, line, slowSeconds) {
    const world = new World();
    mkdirSync(folder);
    const home = join(folder, 'home');
    Object.assign(world, { folder, line, near: line.near, home, project: join(folder, 'project') });
    world.user = userInfo().username;
    world.slowSeconds = slowSeconds;

    const ssh = join(home, '.ssh');
    world.env = privateEnv(home);
    mkdirSync(ssh, { mode: 0o700 });
    const { far: prefix, address, reach } = line;
    for (const host of HOSTS) {
      const started = await startSshd(sshd, join(folder, host), { host, prefix, address, reach });
      world.hosts[host] = { folder: join(folder, host), port: started.port, address, sshd: started };
      furnish(join(folder, host), host, slowSeconds);
      world.#learn(ssh, host, started);
    }

    writeProject(world.project);
    return world;
  }

  /** The path of a file of a host. */
  at(host, ...names) {
    return join(this.hosts[host].folder, ...names);
  }

  /** The text of a file of a host. */
  read(host, ...names) {
    return readFileSync(this.at(host, ...names), 'utf8');
  }

  /** The fingerprint of a host's key, as its owner would say it. */
  fingerprint(host) {
    return execFileSync('ssh-keygen', ['-lf', this.at(host, 'host_key.pub')], { encoding: 'utf8' }).split(' ')[1];
  }

  get knownHosts() {
    return join(this.home, '.ssh', 'known_hosts');
  }

  /** A text without the paths and ports of this run. */
  short(text) {
    return text.replaceAll(this.folder, '/srv');
  }

  /** What runs on the hosts for their users, where that can be seen: on Linux. */
  processes() {
    const homes = Object.values(this.hosts).map(({ folder }) => folder);
    return all().filter(({ pid }) => homes.includes(homeOf(pid)));
  }

  close() {
    for (const { sshd } of Object.values(this.hosts)) for (const { pid } of tree(sshd.child.pid)) kill(pid);
    // A program that was not stopped has no parent any more.
    for (const { pid } of this.processes()) kill(pid);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  /** Makes the configuration of the person, as if this one had used the host before. */
  #learn(ssh, host, sshd) {
    const key = join(ssh, `id_${host}`);
    copyFileSync(sshd.identity, key);
    chmodSync(key, 0o600);
    copyFileSync(`${sshd.identity}.pub`, `${key}.pub`);
    if (KNOWN.includes(host)) appendFileSync(this.knownHosts, readFileSync(sshd.knownHosts));
    const config = readFileSync(sshd.sshConfig, 'utf8')
      .replaceAll(sshd.knownHosts, this.knownHosts)
      .replaceAll(sshd.identity, key)
      .replace('StrictHostKeyChecking yes', 'StrictHostKeyChecking ask');
    appendFileSync(join(ssh, 'config'), config);
  }
}

function furnish(home, host, slowSeconds) {
  const keep = (name, text, mode = 0o644) => {
    mkdirSync(dirname(join(home, name)), { recursive: true });
    writeFileSync(join(home, name), text, { mode });
  };

  // sshd sets PATH and goes to the home that the system knows; shells read these first.
  for (const name of ['.bashrc', '.profile', '.zshenv']) keep(name, 'PATH=$HOME/bin:$PATH\n[ -n "$BENCH" ] || cd\nexport BENCH=1\n');
  for (const [name, text] of Object.entries(PROGRAMS)) keep(`bin/${name}`, `#!/bin/sh\n${text}\n`, 0o755);
  keep('service', 'active\n');
  keep('hostname', `${host}\n`);
  keep('app/app.log', Array.from({ length: 60 }, (_, n) => `12:00:${pad(n)} GET /item/${n} 200\n`).join(''));
  keep('app/app.conf', settings('\n'));
  keep('app/legacy.ini', '[main]\r\nmode=slow\r\nlimit=10\r\n');
  keep('app/secret.conf', 'token=old\n', 0o600);
  for (let n = 0; n < 12; n++) keep(`app/src/part${n}.py`, `def part${n}():\n    return ${n}${n === 7 ? '  # FIXME' : ''}\n`);

  // Ten lines of progress, and an end.
  const step = slowSeconds / 10;
  keep('app/build', `#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10; do echo "step $i of 10"; sleep ${step}; done\necho BUILD OK\n`, 0o755);
  keep('app/hang', '#!/bin/sh\necho begun\nexec sleep 987654\n', 0o755);
  keep('app/test', '#!/bin/sh\necho "ran 12 tests"\necho "test_login failed: expected 200, got 500" >&2\nexit 3\n', 0o755);
  keep('app/report', '#!/bin/sh\nseq 1 4999\necho "total: 12497500"\n', 0o755);
  keep('app/live', `#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10; do echo "event $i" >> "$HOME/app/live.log"; sleep ${step}; done\n`, 0o755);
  keep('app/live.log', '');
  keep('dump.sql', Array.from({ length: 2000 }, (_, n) => `insert into t values (${n});\n`).join(''));
}

/** A file of 240 lines. */
export function settings(end) {
  const lines = Array.from({ length: 240 }, (_, n) => (n === 119 ? 'workers = 4' : `option_${n + 1} = ${n * 7}`));
  return lines.map((line) => line + end).join('');
}

function writeProject(folder) {
  // One of the servers moves files of a private folder only.
  mkdirSync(folder, { mode: 0o700 });
  for (let n = 0; n < 20; n++) {
    const file = join(folder, 'site', `page${n % 4}`, `file${n}.html`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `<p>page ${n}</p>\n`);
  }
}

function homeOf(pid) {
  try {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return variables.find((one) => one.startsWith('HOME='))?.slice('HOME='.length);
  } catch {
    return undefined; // It has ended, or this is no Linux.
  }
}

function pad(number) {
  return String(number).padStart(2, '0');
}
