// `npm run forward`: real programs through forwarded ports: `psql` and PostgreSQL over TCP and a Unix socket, a web page in
// Chromium, and `git clone` over SOCKS. Each has to go on after the link was killed. All servers are private, on loopback,
// with free ports; nothing of this machine is used or changed. For Linux and macOS.
//
//   node scripts/forward.mjs                   builds the program first
//   node scripts/forward.mjs --binary PATH     takes that program
//   node scripts/forward.mjs --browser PATH    takes that browser of the Chromium family

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { survivors, tree } from '../npm/processes.mjs';
import { epilogue, fact, title } from './demo/screen.mjs';
import { buildForDevelopment, needCargo } from './lib/cargo.mjs';
import { privateEnv } from './lib/daemon.mjs';
import { initialize } from './lib/mcp/handshake.mjs';
import { Client } from './lib/mcp/stdio.mjs';
import { needAll, needProgram } from './lib/programs.mjs';
import { Stop, fail, seconds } from './lib/repository.mjs';
import { scratchFolder } from './lib/scratch.mjs';
import { dropConnections, freePort, kill, startSshd } from './lib/sshd.mjs';
import { Browser } from './page/browser.mjs';

const HOST = 'far';
/** More rows than fit into any buffer on the way. */
const ROWS = 1_000_000;
const PATIENCE_MS = 30_000;

const start = Date.now();
const scratch = scratchFolder('forward');
/** Servers refuse to run as root. */
const isRoot = process.getuid() === 0;

try {
  const path = { type: 'string' };
  const { values } = parseArgs({ options: { binary: path, browser: path } });
  needProgram('ssh', 'openssh-client');
  const sshdProgram = needProgram('sshd', 'openssh-server');
  needProgram('git', 'git', 'elsewhere install git');
  const postgres = needPostgres();
  const elsewhere = 'elsewhere name one with --browser PATH';
  const browserProgram = values.browser ?? needProgram('chromium', 'chromium', elsewhere);
  const binary = values.binary ? resolve(values.binary) : built();

  // The server of PostgreSQL runs as another user there.
  chmodSync(scratch, 0o711);
  const sshd = await startSshd(sshdProgram, join(scratch, 'sshd'), { host: HOST });
  const client = new Client(binary, ['--ssh-config', sshd.sshConfig], privateEnv(join(scratch, 'home')));
  await initialize(client);
  const use = async (name, args) => {
    const { content, isError } = await client.request('tools/call', { name, arguments: args }, PATIENCE_MS);
    const text = content.map((block) => block.text).join('\n');
    if (isError) throw new Stop(text);
    return text;
  };
  await use('ssh_connect', { host: HOST });
  const forward = async (to) => {
    const text = await use('ssh_forward', { to: String(to) });
    const [, port] = text.match(/127\.0\.0\.1:(\d+) →/) ?? [];
    fact(`forwarded: ${text.split('\n')[0]}`, port !== undefined, text);
    return port;
  };

  title('psql and a real PostgreSQL', 'over its TCP port and over its Unix socket');
  const database = await startPostgres(postgres);
  for (const to of [database.port, join(database.folder, `.s.PGSQL.${database.port}`)]) {
    const port = await forward(to);
    const psql = (sql) => succeed('psql', ['-XAtq', '-h', '127.0.0.1', '-p', port, '-U', 'person', 'postgres', '-c', sql]);
    fact('a query is answered', (await psql('select 6 * 7')).trim() === '42');
    const rows = (await psql(`select sum(i), count(*) from generate_series(1, ${ROWS}) i`)).trim();
    fact(`${ROWS} rows are summed`, rows === `${(ROWS * (ROWS + 1)) / 2}|${ROWS}`, rows);
    const copied = await psql(`copy (select i, repeat('x', 100) from generate_series(1, ${ROWS}) i) to stdout`);
    fact(`${ROWS} rows are copied, ${copied.length} bytes`, copied.split('\n').length === ROWS + 1);
    dropConnections(sshd);
    fact('the link is killed, and the next query is answered', (await psql('select 1')).trim() === '1');
  }

  title('Chromium and a web server', 'a page with a script that fetches more');
  const page = await startWeb();
  const port = await forward(page.port);
  const browser = await Browser.start(browserProgram, join(scratch, 'browser'));
  await browser.open(`http://127.0.0.1:${port}/`, 'all parts have arrived');
  fact('the page and what it fetches are shown', true);
  dropConnections(sshd);
  await browser.open(`http://127.0.0.1:${port}/?again`, 'all parts have arrived');
  fact('the link is killed, and the page is loaded again', true);
  await browser.close();
  page.server.close();
  page.server.closeAllConnections();

  title('git clone over SOCKS', 'of a repository that a server of the far side has');
  const repository = await makeRepository();
  const socks = await forward('socks');
  const clone = async (name) => {
    const folder = join(scratch, name);
    const proxy = ['-c', `http.proxy=socks5h://127.0.0.1:${socks}`, '-c', 'http.noProxy='];
    await succeed('git', [...proxy, 'clone', '-q', `http://localhost:${repository.port}/repository.git`, folder]);
    return readFileSync(join(folder, 'file'));
  };
  fact('the clone has every byte', (await clone('clone')).equals(repository.content));
  dropConnections(sshd);
  fact('the link is killed, and another clone is whole', (await clone('clone-2')).equals(repository.content));
  repository.server.close();

  const list = await use('ssh_forward', {});
  fact('all forwards are open', list.match(/^\[?f\d+ · /gm)?.length === 4 && !/reconnecting|refuses/.test(list), list);
  const closed = await use('ssh_forward', { close: 'all' });
  const refused = await isRefused(port);
  fact('closed, and nobody listens', refused, closed);

  await client.close();
  const started = tree(process.pid).slice(1);
  for (const { pid } of started) kill(pid);
  const left = await survivors(started, PATIENCE_MS);
  const remains = left.map(({ pid, command }) => `process ${pid} (${command})`);
  epilogue(seconds(Date.now() - start), remains);
  process.exit(0);
} catch (error) {
  fail('forward', error);
}

function built() {
  needCargo();
  return buildForDevelopment().program;
}

/** The folder of PostgreSQL's programs; Debian keeps them where no PATH looks. */
function needPostgres() {
  const debian = '/usr/lib/postgresql';
  const versions = () => (existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []);
  const folders = () => [...versions().map((version) => join(debian, version, 'bin')), '/usr/bin', '/usr/local/bin'];
  const folder = () => folders().find((one) => ['initdb', 'postgres'].every((name) => existsSync(join(one, name))));
  const elsewhere = 'elsewhere install PostgreSQL';
  needAll(
    [
      { name: 'postgres', debianPackage: 'postgresql', isThere: () => folder() !== undefined },
      { name: 'psql', debianPackage: 'postgresql-client' },
    ],
    elsewhere,
  );
  return folder();
}

async function startPostgres(programs) {
  const folder = join(scratch, 'postgres');
  mkdirSync(folder);
  // As root, the server runs as the user that its package made; root reads the socket all the same.
  const as = isRoot ? ['runuser', '-u', 'postgres', '--'] : [];
  if (isRoot) await succeed('chown', ['postgres', folder]);
  const data = join(folder, 'data');
  const [initdb, ...args] = [...as, join(programs, 'initdb'), '-D', data, '-U', 'person', '-A', 'trust', '-N'];
  await succeed(initdb, args);
  const port = await freePort();
  const options = ['-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', `unix_socket_directories=${folder}`];
  const [program, ...rest] = [...as, join(programs, 'postgres'), '-D', data, '-F', ...options];
  const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (log += text));
  for (const end = Date.now() + PATIENCE_MS; !log.includes('ready to accept connections'); await sleep(50)) {
    if (Date.now() > end || child.exitCode !== null) throw new Stop(`PostgreSQL does not start: ${log}`);
  }
  return { child, port, folder };
}

/** A page whose script fetches a hundred parts at once, and counts them in its title. */
async function startWeb() {
  const script = `
    const parts = Array.from({ length: 100 }, (_, i) => fetch('/part/' + i).then((part) => part.arrayBuffer()));
    Promise.all(parts).then((all) => {
      if (all.every((part) => part.byteLength === 100_000)) document.title = 'all parts have arrived';
    });`;
  const server = createServer((request, response) => {
    if (request.url.startsWith('/part/')) return response.end(randomBytes(100_000));
    response.setHeader('content-type', 'text/html');
    response.end(`<!doctype html><title>a page</title><p>A page of the far side.</p><script>${script}</script>`);
  });
  return { server, port: await listening(server) };
}

/** A repository that a plain web server offers (the dumb protocol). */
async function makeRepository() {
  const content = randomBytes(4_000_000);
  const work = join(scratch, 'work');
  const bare = join(scratch, 'web', 'repository.git');
  mkdirSync(join(scratch, 'web'));
  const git = (...args) => succeed('git', ['-c', 'user.name=person', '-c', 'user.email=person@example.com', ...args]);
  await git('init', '-q', work);
  writeFileSync(join(work, 'file'), content);
  await git('-C', work, 'add', 'file');
  await git('-C', work, 'commit', '-q', '-m', 'a file');
  await git('clone', '-q', '--bare', work, bare);
  await git('-C', bare, 'update-server-info');
  const server = createServer((request, response) => {
    const file = join(scratch, 'web', new URL(request.url, 'http://far').pathname);
    if (existsSync(file)) return response.end(readFileSync(file));
    response.statusCode = 404;
    response.end();
  });
  return { server, content, port: await listening(server) };
}

async function listening(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/** Runs a program to its end and resolves to what it printed. This process serves meanwhile. */
async function succeed(program, args) {
  const env = { ...process.env, HOME: scratch, PGCONNECT_TIMEOUT: '20' };
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, problems] = [[], []];
  child.stdout.on('data', (data) => out.push(data));
  child.stderr.on('data', (data) => problems.push(data));
  const [status, signal] = await once(child, 'close');
  if (status !== 0) throw new Stop(`${program} ended with ${signal ?? status}: ${Buffer.concat(problems)}`);
  return Buffer.concat(out).toString();
}

async function isRefused(port) {
  return fetch(`http://127.0.0.1:${port}/`).then(
    () => false,
    () => true,
  );
}
