// `npm run soak`: many clients at once on one daemon, in all dialects of HTTP, against the real sshd; then many that
// come and go, some of them without a word; then one that runs command after command over one session. No answer may be
// lost or be another's, no command run twice, no memory leak. Takes a few minutes, and no network. For Linux and macOS.
//
//   node scripts/soak.mjs                  builds the release program first
//   node scripts/soak.mjs --binary PATH    takes that program
//   node scripts/soak.mjs --minutes 60     instead, for so long: everything at once over a link that is cut all the time,
//                                          and a table of what the daemon takes, minute by minute; for Linux
//   node scripts/soak.mjs --kills 1000     instead: kills our process, the server's session or its sftp-server at so many
//                                          random moments of an edit, and looks at the file; for Linux

import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { tree } from '../npm/processes.mjs';
import { build, needCargo } from './lib/cargo.mjs';
import { Daemon, privateEnv } from './lib/daemon.mjs';
import { Legacy, Sessionful, Stateless } from './lib/mcp/http.mjs';
import { needProgram } from './lib/programs.mjs';
import { Stop, fail, root, seconds } from './lib/repository.mjs';
import { scratchFolder } from './lib/scratch.mjs';
import { startSshd } from './lib/sshd.mjs';
import { mixed } from './soak/mixed.mjs';

const NAME = 'mcp-ssh-sessions';

/** At once, each with so many commands one after the other. */
const CLIENTS = 200;
const COMMANDS = 50;
/** What OpenSSH allows by default: the session opens further connections. */
const MAX_SESSIONS = 10;

/** One after the other, so many at once. */
const VISITORS = 1000;
const VISITORS_AT_ONCE = 20;
/**
 * The first of them, which all have sessions and leave them behind: more than the daemon keeps, an hour long, for clients
 * that come back. From then on its memory must be flat.
 */
const DESERTERS = 300;
/** One after the other over one session, while so many others run side by side on channels of their own. */
const SHELL_COMMANDS = 10_000;
const EXECS = 2_000;
const EXECS_AT_ONCE = 4;

/** From the middle to the end of the visitors, and of the commands, the memory may grow by so much. */
const GROWTH_MB = 4;

/** All of it takes a fifth. */
const PATIENCE_MS = 20 * 60_000;

const start = Date.now();
const scratch = scratchFolder('soak');

try {
  const text = { type: 'string' };
  const { values } = parseArgs({ options: { binary: text, minutes: text, kills: text } });
  needProgram('ssh', 'openssh-client');
  const sshdProgram = needProgram('sshd', 'openssh-server');
  if (values.kills) {
    killEdits(values.kills);
    process.exit(0);
  }
  const binary = values.binary ? resolve(values.binary) : built();
  if (values.minutes) {
    await mixed(binary, sshdProgram, scratch, Number(values.minutes));
    process.exit(0);
  }
  const sshd = await startSshd(sshdProgram, join(scratch, 'sshd'), { host: 'soak', maxSessions: MAX_SESSIONS });
  const env = { ...privateEnv(join(scratch, 'home')), MCP_SSH_CONFIG: sshd.sshConfig };
  const late = new Promise((_, reject) => {
    const stop = new Stop(`not done after ${seconds(PATIENCE_MS)}`);
    setTimeout(() => reject(stop), PATIENCE_MS).unref();
  });
  // What the first part has freed would hide what the second one takes.
  for (const part of [manyCommands, manyVisitors, oneSession]) {
    const daemon = await Daemon.start(binary, env);
    await Promise.race([late, part(daemon)]);
    const { code, signal } = await daemon.stop();
    const how = signal ?? `status ${code}`;
    if (code !== 0) throw new Stop(`the daemon has ended with ${how}: ${daemon.log.slice(-2000)}`);
  }
  sshd.child.kill();
  console.log(`Nothing was lost in ${seconds(Date.now() - start)}.`);
  // What is still waited for would keep it alive.
  process.exit(0);
} catch (error) {
  fail('soak', error);
}

function built() {
  needCargo();
  return build(['--release', '--bin', NAME]).get(NAME);
}

/** The test of that has a quick form in every check. */
function killEdits(count) {
  needCargo();
  const args = ['test', '--locked', '--test', 'it', 'killed_edits', '--', '--nocapture'];
  const { status } = spawnSync('cargo', args, { cwd: root, env: { ...process.env, EDIT_KILLS: count }, stdio: 'inherit' });
  if (status !== 0) throw new Stop('an edit that was interrupted has damaged a file');
}

async function manyCommands(daemon) {
  const clients = Array.from({ length: CLIENTS }, (_, index) => newClient(index, daemon.url));
  await Promise.all(clients.map((client) => client.open()));
  const connected = await clients[0].request('tools/call', { name: 'ssh_connect', arguments: { host: 'soak' } });
  if (connected.isError) throw new Stop(textOf(connected));
  const file = join(scratch, 'ran');
  const wrong = [];
  const begun = Date.now();
  await Promise.all(
    clients.map(async (client, number) => {
      for (let index = 0; index < COMMANDS; index++) {
        const word = `client-${number}-command-${index}`;
        const command = `echo ${word}; echo ${word} >> '${file}'`;
        const call = client.request('tools/call', { name: 'ssh_exec', arguments: { command } });
        const text = await call.then(textOf, (error) => `${client.constructor.name}: ${error.message}`);
        if (!text.startsWith(`${word}\n[exit 0 `)) wrong.push(`${word}: ${text}`);
      }
    }),
  );
  const took = Date.now() - begun;
  const total = CLIENTS * COMMANDS;
  const shown = wrong.slice(0, 5).join('\n');
  if (wrong.length > 0) throw new Stop(`${wrong.length} of ${total} answers are wrong:\n${shown}`);
  const ran = readFileSync(file, 'utf8').trimEnd().split('\n');
  const once = ran.length === total && new Set(ran).size === total;
  if (!once) throw new Stop(`${total} commands left ${ran.length} lines, ${new Set(ran).size} different ones`);
  const rate = Math.round((total / took) * 1000);
  console.log(`${CLIENTS} clients, ${COMMANDS} commands each: ${total} answers, each its own, each command run once,`);
  console.log(`in ${seconds(took)}, ${rate} a second; the daemon: ${state(daemon)}`);
  await Promise.all(clients.map((client) => client.leave(true)));
}

async function manyVisitors(daemon) {
  const memory = [];
  console.log(`\n${VISITORS} clients that connect, list the tools and leave, a third of them without a word:`);
  for (let number = 0; number < VISITORS; number += VISITORS_AT_ONCE) {
    const visits = Array.from({ length: VISITORS_AT_ONCE }, (_, index) => visit(daemon.url, number + index));
    await Promise.all(visits);
    const done = number + VISITORS_AT_ONCE;
    if (done % 100 !== 0) continue;
    memory[done] = rss(daemon);
    console.log(`${String(done).padStart(6)}: ${state(daemon)}`);
  }
  const growth = memory[VISITORS] - memory[VISITORS / 2];
  console.log(`from ${VISITORS / 2} to ${VISITORS}: ${growth.toFixed(1)} MB`);
  if (growth >= GROWTH_MB) throw new Stop(`the daemon has grown by more than ${GROWTH_MB} MB`);
}

async function visit(url, number) {
  const deserts = number < DESERTERS;
  const client = deserts ? new Sessionful(url) : newClient(number, url);
  await client.open();
  const { tools } = await client.request('tools/list', {});
  if (!tools.some(({ name }) => name === 'ssh_exec')) throw new Stop(`visitor ${number}: ${tools.length} tools`);
  // Later every third of each dialect.
  await client.leave(!deserts && Math.floor(number / 3) % 3 !== 0);
}

async function oneSession(daemon) {
  const client = new Sessionful(daemon.url);
  await client.open();
  const call = (tool, args) => client.request('tools/call', { name: tool, arguments: args }).then(textOf);
  const expect = async (tool, command, stdout) => {
    const text = await call(tool, { command });
    if (!text.startsWith(`${stdout}[exit 0 `)) throw new Stop(`${tool} ${command}: ${text}`);
  };
  await call('ssh_connect', { host: 'soak' });
  await expect('ssh_shell', 'n=0', '');
  console.log(`\n${SHELL_COMMANDS} shell commands and ${EXECS} others over one session:`);
  const [memory, files] = [[], []];
  const begun = Date.now();
  const shell = async () => {
    for (let number = 1; number <= SHELL_COMMANDS; number++) {
      // A third of them long enough for a file of its own, and some of them fail.
      const more = number % 3 === 0 ? '; seq 1000 >&2' : number % 7 === 0 ? '; no-such-command 2>/dev/null; true' : '';
      const text = await call('ssh_shell', { command: `n=$((n+1)); echo $n${more}` });
      if (!text.startsWith(`${number}\n`) || !/\[exit 0 [^\n]*$/.test(text)) throw new Stop(`command ${number}: ${text}`);
      if (number % (SHELL_COMMANDS / 10) === 0) {
        memory[number] = rss(daemon);
        files[number] = openFiles(daemon);
        console.log(`${String(number).padStart(6)}: ${state(daemon)}`);
      }
    }
  };
  let next = 0;
  const execs = async () => {
    for (let number = next++; number < EXECS; number = next++) await expect('ssh_exec', `echo exec ${number}`, `exec ${number}\n`);
  };
  await Promise.all([shell(), ...Array.from({ length: EXECS_AT_ONCE }, execs)]);
  const growth = memory[SHELL_COMMANDS] - memory[SHELL_COMMANDS / 2];
  console.log(`in ${seconds(Date.now() - begun)}; from the middle to the end: ${growth.toFixed(1)} MB`);
  if (growth >= GROWTH_MB) throw new Stop(`the daemon has grown by more than ${GROWTH_MB} MB`);
  const more = files[SHELL_COMMANDS] - files[SHELL_COMMANDS / 2];
  // As many as there are commands and connections at work, a few more or fewer.
  if (more > 2 * EXECS_AT_ONCE) throw new Stop(`the daemon has ${more} more files open than in the middle`);
  await client.leave(true);
}

function newClient(number, url) {
  return new [Legacy, Sessionful, Stateless][number % 3](url);
}

function textOf({ content }) {
  return content.map((block) => block.text).join('');
}

function rss(daemon) {
  return tree(daemon.pid)[0].rss / 1024;
}

function state(daemon) {
  const files = process.platform === 'linux' ? `, ${openFiles(daemon)} open files` : '';
  return `${rss(daemon).toFixed(1)} MB${files}`;
}

/** 0 where they are not known. */
function openFiles(daemon) {
  return process.platform === 'linux' ? readdirSync(`/proc/${daemon.pid}/fd`).length : 0;
}
