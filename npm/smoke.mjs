// `npm run smoke`: proves, without the internet, that `npx -y mcp-ssh-sessions` works: packs the packages, serves them
// from a registry on 127.0.0.1, and installs and runs them as npm, pnpm and bun do, from empty caches and homes.
//
//   node npm/smoke.mjs                      builds the release program first
//   node npm/smoke.mjs --binary PATH        takes that one
//   node npm/smoke.mjs --packages FOLDER    takes packages that npm/build.mjs has made

import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { constants, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { build, needCargo } from '../scripts/lib/cargo.mjs';
import { linksIn } from '../scripts/lib/markdown.mjs';
import { Stop, fail, root, seconds } from '../scripts/lib/repository.mjs';
import { npm, npx } from './clients.mjs';
import { serve } from './mini-registry.mjs';
import { Peer, run } from './peer.mjs';

const NAME = 'mcp-ssh-sessions';
const WINDOWS = process.platform === 'win32';
const PLATFORM_PACKAGE = `${NAME}-${process.platform}-${process.arch}`;
const PROGRAM = WINDOWS ? `${NAME}.exe` : NAME;

const scratch = realpathSync(mkdtempSync(join(tmpdir(), `${NAME}-smoke-`)));
const home = join(scratch, 'home');
const requests = [];
const peers = [];
let registry;
let env;
let version;

/** The files as `npx -y` has installed them. */
let shim;
let program;

const steps = [
  ['packages', packages],
  ['npx, nothing cached', cold],
  ['npx again', warm],
  ['npx: exit status', statusThroughNpx],
  ['npx: arguments', argumentsThroughNpx],
  ['npx: end of stdin', endDuringCall],
  ['npx: SIGTERM', termToNpx],
  ['shim: signals', signalsThroughShim],
  ['shim: exit status', statusThroughShim],
  ['shim: override', override],
  ['npm --ignore-scripts', withoutScripts],
  ['npm --omit=optional', withoutOptional],
  ['wrong platform', wrongPlatform],
  ['wrong version', wrongVersion],
  ['further up', furtherUp],
  ['layouts', layouts],
  ['pnpm', () => otherClient('pnpm', 'dlx', ['.bin/pnpm'])],
  ['pnpm, layouts', pnpmLayouts],
  ['yarn', yarn],
  // Its install script moves it; npm 12 runs none.
  ['bun', () => otherClient('bun', 'x', ['.bin/bun', `@oven/bun-${process.platform}-${process.arch}/bin/bun`])],
];

process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(128 + constants.signals[signal]));

try {
  const { values } = parseArgs({ options: { binary: { type: 'string' }, packages: { type: 'string' } } });
  const folder = values.packages ?? pack(values.binary ?? buildProgram());
  registry = await serve(folder, { log: (request) => requests.push(request) });
  prepareHome();
  for (const [title, step] of steps) {
    const start = Date.now();
    try {
      const remark = await step(folder);
      console.log(`  ✓ ${title.padEnd(21)} ${seconds(Date.now() - start).padStart(6)}  ${remark}`);
    } catch (error) {
      if (error instanceof Stop) error.message = `FAILED at ${title}: ${error.message}`;
      throw error;
    }
  }
  registry.close();
  console.log(`${NAME} ${version} works through npx on ${process.platform}-${process.arch}, Node ${process.version}`);
} catch (error) {
  fail('smoke', error);
}

function buildProgram() {
  needCargo();
  return build(['--release', '--bin', NAME]).get(NAME);
}

function pack(binary) {
  const folder = join(scratch, 'packages');
  execFileSync(process.execPath, [join(root, 'npm/build.mjs'), '--binary', binary, '--out', folder]);
  return folder;
}

/** The environment of a person who has used nothing of this before. */
function prepareHome() {
  mkdirSync(home);
  const npmrc = [`registry=${registry.url}/`, 'audit=false', 'fund=false', 'update-notifier=false', 'fetch-retries=0'];
  writeFileSync(join(home, '.npmrc'), npmrc.join('\n'));
  writeFileSync(join(home, 'ssh_config'), '');
  const ours = Object.entries(process.env).filter(([key]) => !/^(npm|pnpm|bun|xdg|mcp_ssh|node_options)/i.test(key));
  env = {
    ...Object.fromEntries(ours),
    // Under npm the Node that runs this, not another one that is installed.
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    HOME: home,
    USERPROFILE: home,
    TMPDIR: home,
    npm_config_cache: join(home, 'npm-cache'),
    MCP_SSH_STORE: join(home, 'sessions.json'),
    MCP_SSH_CONFIG: join(home, 'ssh_config'),
  };
}

function cleanUp() {
  for (const peer of peers) peer.abandon();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
}

// --- The steps. Each resolves to a remark about what it has seen.

function packages(folder) {
  const order = JSON.parse(readFileSync(join(folder, 'order.json'), 'utf8'));
  check(order.length === 7 && order.at(-1).name === NAME, 'six platform packages and the main one last', order);
  for (const { file } of order) {
    const manifest = JSON.parse(execFileSync('tar', ['-xzOf', file, 'package/package.json'], { cwd: folder }));
    check(!manifest.scripts, 'no install scripts', manifest);
    version = manifest.version;
  }
  const readme = execFileSync('tar', ['-xzOf', order.at(-1).file, 'package/README.md'], { cwd: folder, encoding: 'utf8' });
  const local = linksIn(readme).filter(({ target }) => !/^(https:|#)/.test(target));
  check(local.length === 0, 'a README without paths, which lead nowhere in a package', local);
  const size = ({ size, unpackedSize }) => `${kilobytes(size)} (unpacked ${kilobytes(unpackedSize)})`;
  const own = order.find(({ name }) => name === PLATFORM_PACKAGE);
  return `${version}: ${NAME} ${size(order.at(-1))}, ${PLATFORM_PACKAGE} ${size(own)}`;
}

async function cold() {
  const peer = start(npx('-y', NAME));
  const took = await peer.initialize();
  const { tools } = await peer.request('tools/list', {});
  check(tools.length > 0, 'tools', tools);
  const processes = peer.processes();
  const { status } = await peer.end(() => peer.child.stdin.end(), 5000);
  check(status === 0, 'status 0 at the end of stdin', status);
  checkFetched();
  const [folder] = readdirSync(join(home, 'npm-cache', '_npx'));
  const modules = join(home, 'npm-cache', '_npx', folder, 'node_modules');
  shim = { command: process.execPath, args: [join(modules, NAME, 'bin', `${NAME}.js`)] };
  program = join(modules, PLATFORM_PACKAGE, 'bin', PROGRAM);
  return `initialize answered in ${took} ms; ${memory(processes)}; fetched only ${NAME} and ${PLATFORM_PACKAGE}`;
}

async function warm() {
  requests.length = 0;
  const peer = start(npx('-y', NAME));
  const took = await peer.initialize();
  await peer.end(() => peer.child.stdin.end(), 5000);
  check(fetched().length === 0, 'nothing fetched again', requests);
  return `initialize answered in ${took} ms`;
}

async function statusThroughNpx() {
  const good = await output(npx('-y', NAME, '--version'));
  check(good.status === 0 && good.stdout === `${NAME} ${version}\n`, 'the version', good);
  const bad = await output(npx('-y', NAME, '--nonsense'));
  check(bad.status === 2 && bad.stdout === '', 'status 2', bad);
  return '--version 0, --nonsense 2';
}

async function argumentsThroughNpx() {
  // cmd.exe has no way to quote all of these.
  const argument = WINDOWS ? '--two words' : `--it's "quoted" $HOME \`id\` \\ * é`;
  for (const through of [npx('-y', NAME, argument), { ...shim, args: [...shim.args, argument] }]) {
    const { stderr } = await output(through);
    check(stderr.includes(`unexpected argument '${argument}' found`), `the argument ${argument}`, stderr);
  }
  return argument;
}

/** A call is under way: to a server that takes the connection and never says a word. */
async function endDuringCall() {
  const remarks = [];
  const silent = createServer();
  await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve));
  try {
    for (const [name, through] of Object.entries({ npx: npx('-y', NAME), shim })) {
      const peer = start(through);
      await peer.initialize();
      const connected = new Promise((resolve) => silent.once('connection', resolve));
      const call = { host: '127.0.0.1', port: silent.address().port, user: 'nobody', timeoutMs: 60_000 };
      const answer = peer.request('tools/call', { name: 'ssh_connect', arguments: call });
      const early = answer.then((result) => {
        throw new Stop(`the call has ended before its time: ${JSON.stringify(result)}`);
      });
      early.catch(() => {});
      const socket = await Promise.race([connected, early]);
      const { status, took } = await peer.end(() => peer.child.stdin.end(), 5000);
      socket.destroy();
      check(status === 0, 'status 0', status);
      remarks.push(`${name} ${took} ms`);
    }
  } finally {
    silent.close();
  }
  return `all processes gone during a call: ${remarks.join(', ')}`;
}

/**
 * Stdin stays open here, held by another process: the end of npx is all there is to notice. By the shim, that is; after
 * execve there is none, and it would be for the program to notice.
 */
async function termToNpx() {
  if (WINDOWS) return 'skipped: Windows has no SIGTERM';
  const ends = [];
  for (const [name, settings] of ways()) {
    // npx holds one end of this pipe, and nobody closes it: only the signal can end anything.
    const holder = spawn('sleep', ['60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const peer = start(npx('-y', NAME), { env: { ...env, ...settings }, stdio: [holder.stdout, 'pipe', 'pipe'] });
      await until(() => peer.processes().some(({ command }) => command.startsWith(program)));
      const { took } = await peer.end(() => peer.child.kill('SIGTERM'), 5000);
      ends.push(`${name} ${took} ms`);
    } finally {
      holder.kill();
    }
  }
  return `all processes gone, with stdin open: ${ends.join(', ')}`;
}

async function signalsThroughShim() {
  if (WINDOWS) return 'skipped: Windows has no signals';
  const end = async (through, settings, signal) => {
    const peer = start(through, { env: { ...env, ...settings } });
    await peer.initialize();
    const processes = peer.processes();
    const { status, signal: by } = await peer.end(() => peer.child.kill(signal), 5000);
    return { end: by ?? `status ${status}`, processes };
  };
  const remarks = [];
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
    const direct = await end({ command: program, args: [] }, {}, signal);
    for (const [name, settings] of ways()) {
      const through = await end(shim, settings, signal);
      check(through.end === direct.end, `${signal} through ${name} to end as without: ${direct.end}`, through.end);
      check(through.processes.length === (name === 'execve' ? 1 : 2), `the processes of ${name}`, through.processes);
      if (signal === 'SIGTERM') remarks.push(`${name}: ${memory(through.processes)}`);
    }
    if (signal === 'SIGTERM') remarks.unshift(`TERM, INT, HUP as without the shim (${direct.end})`);
  }
  return remarks.join('; ');
}

async function statusThroughShim() {
  if (WINDOWS) return 'skipped: its stand-in is a shell script';
  const stub = join(scratch, 'stub');
  const seen = [];
  for (const [name, settings] of ways()) {
    for (const [script, expected] of [['exit 7', 7], ['kill -KILL $$', 'SIGKILL'], ['kill -TERM $$', 'SIGTERM']]) {
      writeFileSync(stub, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      const { status, signal } = await output(shim, { env: { ...env, ...settings, MCP_SSH_SESSIONS_BINARY: stub } });
      check((signal ?? status) === expected, `${script} through ${name}: ${expected}`, signal ?? status);
      if (!seen.includes(expected)) seen.push(expected);
    }
  }
  return seen.join(', ');
}

async function override() {
  const folder = join(scratch, 'override');
  await install(folder, '--omit=optional');
  const through = (value) => output(installed(folder), { env: { ...env, MCP_SSH_SESSIONS_BINARY: value } });
  const good = await through(program);
  check(good.status === 0 && good.stdout === `${NAME} ${version}\n`, 'the version', good);
  const nowhere = join(scratch, 'nowhere');
  for (const [value, problem] of [[nowhere, 'does not exist'], [scratch, 'is not a file']]) {
    const { status, stderr } = await through(value);
    const line = `${NAME}: MCP_SSH_SESSIONS_BINARY is set to ${value}, which ${problem}\n`;
    check(status === 1 && stderr === line, line, stderr);
  }
  return 'MCP_SSH_SESSIONS_BINARY works, a wrong path is told';
}

async function withoutScripts() {
  const folder = join(scratch, 'ignore-scripts');
  await install(folder, '--ignore-scripts');
  const { stdout } = await output(installed(folder));
  check(stdout === `${NAME} ${version}\n`, 'the version', stdout);
  return stdout.trim();
}

async function withoutOptional() {
  const folder = join(scratch, 'omit');
  await install(folder, '--omit=optional');
  return refused(folder, `${NAME}: the package ${PLATFORM_PACKAGE}, which holds the program for this platform, is not`);
}

async function wrongPlatform() {
  const folder = join(scratch, 'copied');
  const other = WINDOWS ? 'linux' : 'win32';
  await install(folder, `--os=${other}`, '--cpu=x64');
  return refused(folder, `Found instead: ${NAME}-${other}-x64`);
}

async function wrongVersion() {
  const folder = join(scratch, 'stray');
  await install(folder);
  const manifest = join(folder, 'node_modules', PLATFORM_PACKAGE, 'package.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"${version}"`, '"0.0.1"'));
  return refused(folder, `${NAME}: this is version ${version}, but ${dirname(manifest)} is version 0.0.1`);
}

/** A program in a `node_modules` above the one that was installed may be anybody's: in /tmp, say. */
async function furtherUp() {
  const folder = join(scratch, 'above');
  const inner = join(folder, 'work', 'project');
  mkdirSync(dirname(inner), { recursive: true });
  await install(inner, '--omit=optional');
  // As another user would plant it, of the right version: above, in NODE_PATH, and in the home of older Nodes.
  const above = plant(join(folder, 'node_modules'));
  const inPath = plant(join(scratch, 'node-path'));
  plant(join(home, '.node_modules'));
  const marks = [];
  for (const environment of [{}, { NODE_PATH: inPath }]) {
    const ended = await output(installed(inner), { env: { ...env, ...environment } });
    check(ended.status === 1 && !ended.stdout.includes('planted'), 'the planted program not to run', ended);
    marks.push(ended.stderr.split('\n')[0]);
  }
  // A copy that nobody has installed has nothing beside it that it may take.
  const copy = join(folder, 'copied');
  cpSync(join(inner, 'node_modules', NAME), copy, { recursive: true });
  const ended = await output({ command: process.execPath, args: [join(copy, 'bin', `${NAME}.js`), '--version'] });
  check(ended.status === 1 && !ended.stdout.includes('planted'), `nothing from ${above}`, ended);
  rmSync(join(home, '.node_modules'), { recursive: true });
  return `status 1, ${marks[0].slice(0, 60)}…`;
}

/** A package of this platform whose program says that it was planted. */
function plant(modules) {
  const folder = join(modules, PLATFORM_PACKAGE);
  mkdirSync(join(folder, 'bin'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: PLATFORM_PACKAGE, version }));
  writeFileSync(join(folder, 'bin', PROGRAM), '#!/bin/sh\necho planted\n', { mode: 0o755 });
  return modules;
}

/** Where npm puts the two packages in all its ways; other clients have steps of their own. */
async function layouts() {
  const seen = [];
  const runs = async (title, script) => {
    const { stdout } = await output({ command: process.execPath, args: [script, '--version'] });
    check(stdout === `${NAME} ${version}\n`, `${title}: the version`, stdout);
    seen.push(title);
  };
  for (const strategy of ['hoisted', 'nested', 'shallow', 'linked']) {
    const folder = join(scratch, `strategy-${strategy}`);
    await install(folder, `--install-strategy=${strategy}`);
    await runs(strategy, join(folder, 'node_modules', NAME, 'bin', `${NAME}.js`));
  }
  // Another version in the root folder: ours goes below the workspace that wants it.
  const workspaces = join(scratch, 'workspaces');
  mkdirSync(join(workspaces, 'one'), { recursive: true });
  writeFileSync(join(workspaces, 'package.json'), JSON.stringify({ private: true, workspaces: ['one'] }));
  const dependencies = { [NAME]: version };
  writeFileSync(join(workspaces, 'one', 'package.json'), JSON.stringify({ name: 'one', version: '1.0.0', dependencies }));
  const ended = await output(npm('install'), { cwd: workspaces });
  check(ended.status === 0, 'npm install in a workspace', ended);
  await runs('workspace', join(workspaces, 'node_modules', NAME, 'bin', `${NAME}.js`));
  const global = join(scratch, 'global');
  const globally = await output(npm('install', '--global', '--prefix', global, NAME));
  check(globally.status === 0, 'npm install --global', globally);
  const own = WINDOWS ? [] : ['lib'];
  await runs('global', join(global, ...own, 'node_modules', NAME, 'bin', `${NAME}.js`));
  return seen.join(', ');
}

/** `paths`: where it may be below node_modules. */
async function otherClient(client, subcommand, paths) {
  const found = await fetchClient(client, paths);
  if (!found) return `skipped: ${client} cannot be installed from the npm registry, or does not run here`;
  const { command, own } = found;
  requests.length = 0;
  const peer = start({ command, args: [subcommand, NAME] }, { shell: WINDOWS });
  const took = await peer.initialize();
  const processes = peer.processes();
  const { status } = await peer.end(() => peer.child.stdin.end(), 5000);
  check(status === 0, 'status 0', status);
  checkFetched();
  return `${own}: initialize answered in ${took} ms; ${memory(processes)}; fetched only ours`;
}

/** Installs a client of npm's registry. `undefined`: it is not there, or does not run here. */
async function fetchClient(client, paths) {
  const folder = join(scratch, client.replace('/', '-'));
  mkdirSync(folder);
  // From the registry that this machine uses, with the settings of its user.
  const options = ['--prefix', folder, '--cache', `${folder}-cache`, '--no-audit', '--no-fund'];
  const real = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^npm_(?!config_)/i.test(key)));
  await output(npm('install', ...options, '--fetch-retries=0', `${client}@latest`), { cwd: folder, env: real });
  for (const path of paths) {
    const command = join(folder, 'node_modules', ...path.split('/'));
    const own = await output({ command, args: ['--version'] }, { shell: WINDOWS }).catch(() => undefined);
    if (own?.status === 0) return { command, own: own.stdout.trim() };
  }
  return undefined;
}

/** With links into a store of its own, and as npm does. */
async function pnpmLayouts() {
  const command = join(scratch, 'pnpm', 'node_modules', '.bin', 'pnpm');
  const linkers = ['isolated', 'hoisted'];
  for (const linker of linkers) {
    const folder = join(scratch, `pnpm-${linker}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'project', dependencies: { [NAME]: version } }));
    const at = { cwd: folder, shell: WINDOWS };
    const ended = await output({ command, args: ['install', `--config.node-linker=${linker}`] }, at).catch(() => undefined);
    if (!ended) return 'skipped: there is no pnpm';
    check(ended.status === 0, `pnpm install, ${linker}`, ended);
    const { stdout } = await output({ command, args: ['exec', NAME, '--version'] }, at);
    check(stdout === `${NAME} ${version}\n`, `${linker}: the version`, stdout);
  }
  return linkers.join(', ');
}

/** Yarn has three ways to lay packages out, of which two are no plain `node_modules`. */
async function yarn() {
  const found = await fetchClient('@yarnpkg/cli-dist', ['.bin/yarn']);
  if (!found) return 'skipped: yarn cannot be installed from the npm registry, or does not run here';
  const linkers = ['pnp', 'pnpm', 'node-modules'];
  for (const linker of linkers) {
    const folder = join(scratch, `yarn-${linker}`);
    mkdirSync(folder);
    const settings = {
      nodeLinker: linker,
      npmRegistryServer: registry.url,
      unsafeHttpWhitelist: ['127.0.0.1'],
      enableGlobalCache: false,
      enableTelemetry: false,
      enableImmutableInstalls: false,
    };
    // YAML takes JSON.
    writeFileSync(join(folder, '.yarnrc.yml'), JSON.stringify(settings));
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'project', dependencies: { [NAME]: version } }));
    const at = { cwd: folder, shell: WINDOWS };
    const ended = await output({ command: found.command, args: ['install'] }, at);
    check(ended.status === 0, `yarn install with ${linker}`, ended);
    const { stdout } = await output({ command: found.command, args: [NAME, '--version'] }, at);
    check(stdout === `${NAME} ${version}\n`, `${linker}: the version`, stdout);
  }
  return `${found.own}: ${linkers.join(', ')}`;
}

// --- What the steps share.

/** As [name, environment]: how the shim can start the program here. */
function ways() {
  if (!process.execve) return [['spawn', {}]];
  const without = join(scratch, 'without-execve.cjs');
  writeFileSync(without, 'delete process.execve;\n');
  return [['execve', {}], ['spawn', { NODE_OPTIONS: `--require=${without}` }]];
}

function start(through, options = {}) {
  const peer = new Peer(through, { cwd: home, env, ...options });
  peers.push(peer);
  return peer;
}

function output(through, options = {}) {
  return run(through, { cwd: home, env, ...options });
}

async function install(folder, ...options) {
  mkdirSync(folder);
  const ended = await output(npm('install', '--prefix', folder, ...options, NAME), { cwd: folder });
  check(ended.status === 0, 'npm install', ended);
}

function installed(folder) {
  return { command: process.execPath, args: [join(folder, 'node_modules', NAME, 'bin', `${NAME}.js`), '--version'] };
}

async function refused(folder, reason) {
  const { status, stdout, stderr } = await output(installed(folder));
  check(status === 1 && stdout === '' && stderr.includes(reason), reason, stderr);
  return `status 1, ${stderr.split('\n').find((line) => line.includes(reason)).trim()}`;
}

/** The packages whose archives were fetched. */
function fetched() {
  return requests.map((request) => request.match(/^GET \/(.+)\/-\/.+\.tgz$/)?.[1]).filter(Boolean);
}

function checkFetched() {
  const names = fetched().sort();
  check(names.join() === `${NAME},${PLATFORM_PACKAGE}`, `only ${NAME} and ${PLATFORM_PACKAGE} to be fetched`, requests);
}

async function until(condition) {
  for (let tries = 0; !condition(); tries++) {
    check(tries < 200, 'the program to start', 'it did not');
    await sleep(100);
  }
}

function memory(processes) {
  if (processes.length === 0) return 'processes not seen on this system';
  const rss = processes.reduce((sum, one) => sum + one.rss, 0);
  return `${processes.length} process${processes.length > 1 ? 'es' : ''}, ${Math.round(rss / 1000)} MB`;
}

function kilobytes(bytes) {
  return `${Math.round(bytes / 1000)} kB`;
}

function check(holds, expected, actual) {
  if (!holds) throw new Stop(`expected ${expected}; got ${JSON.stringify(actual)}`);
}
