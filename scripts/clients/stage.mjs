// What the clients live in: a temporary folder with a home for each run, a registry with our packages, an SSH server
// and two daemons on 127.0.0.1, and no way to the internet. It all goes with it.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { serve } from '../../npm/mini-registry.mjs';
import { run } from '../../npm/peer.mjs';
import { survivors, tree } from '../../npm/processes.mjs';
import { answer, fact, timed, title } from '../demo/screen.mjs';
import { Daemon, privateEnv, startDemoSshd } from '../lib/daemon.mjs';
import { Stop, root } from '../lib/repository.mjs';

/** How long what has been closed may take to end. */
const PATIENCE_MS = 5_000;

/** All that the clients see of this process's environment: no settings, keys or tokens. */
const PASSED_ON = /^(path|pathext|lang|lc_.*|systemroot|systemdrive|windir|comspec)$/i;

export class Stage {
  /** @type {string | undefined} the temporary folder */
  folder;
  /** @type {{ port: number, sshConfig: string }} what the SSH server says of itself */
  sshd;
  /** @type {Daemon} one that asks for nothing */
  daemon;
  /** @type {Daemon} one that asks for `token` */
  guarded;
  /** A token without a meaning elsewhere. */
  token = randomBytes(16).toString('hex');
  /** @type {string[]} where the clients wanted to, as host:port */
  refused = [];

  /** What the registry was asked since the last new home, such as `GET /mcp-ssh-sessions`. */
  #requests = [];
  #homes = 0;
  #env;
  #registry;
  #proxy;

  /**
   * Packs the packages with `binary` and starts the servers.
   *
   * @param {string} binary the program
   * @param {string} sshdProgram
   */
  async open(binary, sshdProgram) {
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), 'mcp-ssh-sessions-clients-')));
    // npx heeds the package.json and .npmrc of where it is run, clients the files of their project.
    mkdirSync(this.path('project'));
    process.chdir(this.path('project'));
    title('A registry with our packages, an SSH server and two daemons, on 127.0.0.1', `with ${binary}`);
    execFileSync(process.execPath, [join(root, 'npm/build.mjs'), '--binary', binary, '--out', this.path('packages')]);
    this.#registry = await serve(this.path('packages'), { log: (request) => this.#requests.push(request) });
    await this.#startProxy();
    this.sshd = await startDemoSshd(sshdProgram, this.path('remote'));
    console.log(`    ${this.#registry.url} and port ${this.sshd.port}`);
    const env = { ...privateEnv(this.path('daemon')), MCP_SSH_CONFIG: this.sshd.sshConfig };
    this.daemon = await Daemon.start(binary, env);
    const tokenFile = this.path('token');
    writeFileSync(tokenFile, this.token, { mode: 0o600 });
    const store = this.path('daemon', 'guarded.json');
    this.guarded = await Daemon.start(binary, env, ['--token-file', tokenFile, '--store', store]);
    console.log(`    ${this.daemon.url}, and with a token ${this.guarded.url}`);
  }

  /** Refuses what goes to the internet, and keeps its name. */
  async #startProxy() {
    this.#proxy = createServer((request, response) => {
      this.refused.push(request.headers.host ?? request.url);
      response.writeHead(403).end();
    });
    this.#proxy.on('connect', (request, socket) => {
      this.refused.push(request.url);
      socket.on('error', () => {}).end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    await once(this.#proxy.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${this.#proxy.address().port}`;
    const proxy = { HTTP_PROXY: url, HTTPS_PROXY: url, ALL_PROXY: url, NO_PROXY: '127.0.0.1,localhost' };
    const passedOn = Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name)));
    this.#env = {
      ...passedOn,
      // The Node that runs this, not another one that is installed.
      PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
      TERM: 'dumb',
      NO_COLOR: '1',
      ...proxy,
      // Windows has no two variables that differ in case alone.
      ...(process.platform !== 'win32' && lowerCase(proxy)),
    };
  }

  /** The path of something in the temporary folder. */
  path(...names) {
    return join(this.folder, ...names);
  }

  /**
   * A new home: of someone who has set npm to our registry, and used nothing of this before.
   *
   * @returns {{ path: string, env: NodeJS.ProcessEnv }}
   */
  newHome() {
    const path = this.path(`home-${++this.#homes}`);
    mkdirSync(path);
    const npmrc = [`registry=${this.#registry.url}/`, 'audit=false', 'update-notifier=false', 'fetch-retries=0'];
    writeFileSync(join(path, '.npmrc'), npmrc.join('\n'));
    const windows = { USERPROFILE: path, APPDATA: join(path, 'Roaming'), LOCALAPPDATA: join(path, 'Local') };
    this.#requests.length = 0;
    return { path, env: { ...this.#env, HOME: path, TMPDIR: path, TMP: path, TEMP: path, ...windows } };
  }

  /**
   * Runs a command of a client in full view, without input, to its end; a status other than 0 is a Stop.
   *
   * @param {import('./install.mjs').Client} client
   * @param {{ path: string, env: NodeJS.ProcessEnv }} home
   * @param {string[]} args
   * @returns {Promise<string>} its stdout
   */
  async run(client, home, args) {
    const shownArgs = args.join(' ').replaceAll(this.token, '…');
    process.stdout.write(`    $ ${client.bin} ${shownArgs}`);
    const command = { command: client.command, args: [...client.args, ...args] };
    const [ended, milliseconds] = await timed(run(command, { cwd: process.cwd(), env: home.env }));
    const { status, signal, stdout, stderr } = ended;
    const shown = status === 0 ? stdout : stdout + stderr;
    answer(shown.replaceAll(home.path, '~').replaceAll(this.token, '…').replace(/\n\n+/g, '\n').trim(), milliseconds);
    if (status !== 0) fact(`${client.bin} ${shownArgs} ends with status 0`, false, signal ?? status);
    return stdout;
  }

  /** Demands that since `newHome` npx has fetched our main package and this platform's, and asked for nothing else. */
  checkFetched() {
    const requests = this.#requests;
    const fetched = requests.flatMap((request) => request.match(/^GET \/(.+)\/-\/.+\.tgz$/)?.[1] ?? []).sort();
    const expected = ['mcp-ssh-sessions', `mcp-ssh-sessions-${process.platform}-${process.arch}`];
    const foreign = requests.filter((request) => !request.startsWith('GET /mcp-ssh-sessions'));
    const holds = fetched.join() === expected.join() && foreign.length === 0;
    fact(`npx has fetched ${expected.join(' and ')} from our registry, and no other`, holds, requests);
  }

  /** The processes of clients and servers; none on Windows. */
  processes() {
    const spared = [process.pid, this.sshd?.child.pid, this.daemon?.pid, this.guarded?.pid];
    const ours = tree(1).filter(({ command }) => command.includes(this.folder));
    const all = new Map([...tree(process.pid), ...ours].map((one) => [one.pid, one]));
    return [...all.values()].filter(({ pid }) => !spared.includes(pid));
  }

  /**
   * Those of `processes` that still run when they have had time to end.
   *
   * @param {import('../../npm/processes.mjs').Process[]} processes
   */
  survivors(processes = this.processes()) {
    return survivors(processes, PATIENCE_MS);
  }

  /** Ends the servers and removes the folder. */
  async close() {
    for (const daemon of [this.daemon, this.guarded]) {
      const ended = await daemon.stop();
      fact('the daemon ends when it is told to', ended.code === 0, ended);
    }
    const exited = once(this.sshd.child, 'exit');
    this.sshd.child.stdin.end();
    const timer = setTimeout(() => this.sshd.child.kill('SIGKILL'), PATIENCE_MS);
    await exited;
    clearTimeout(timer);
    this.abandon();
  }

  /** The same at once, for a process that is on its way out. Safe to call again. */
  abandon() {
    if (!this.folder) return;
    this.sshd?.child.kill('SIGKILL');
    this.daemon?.kill();
    this.guarded?.kill();
    for (const { pid } of this.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {} // It has ended meanwhile.
    }
    for (const server of [this.#registry, this.#proxy]) server?.close();
    this.#proxy?.closeAllConnections?.();
    process.chdir(root);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    this.folder = undefined;
  }
}

function lowerCase(variables) {
  return Object.fromEntries(Object.entries(variables).map(([name, value]) => [name.toLowerCase(), value]));
}
