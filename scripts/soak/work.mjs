// What the clients of the mixed load do, each again and again.
//
// Each is given the `stage` (clients, calls, folders) and its number, and does one round.

import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { answered } from './calls.mjs';
import { remoteProcesses } from './gauge.mjs';

/** What commands that are to be stopped would take otherwise: those that a cut takes from us end by themselves. */
const LONG_S = 60;
/** How long a stopped process may go on: INT, TERM and KILL take their time. */
const STOPPED_WITHIN_MS = 30_000;

let last = 0;

/** Commands with input, with much output, with little, and some that fail. */
export async function exec({ calls, client }) {
  const { word, command } = calls.mark();
  const number = ++last;
  const input = randomBytes(100 * (1 + (number % 1000))).toString('hex');
  const [args, isRight] = [
    [{ command: `echo ${word}; ${command}` }, ({ blocks }) => blocks[0] === `${word}\n`],
    [{ command: `${command}; sha256sum`, stdin: input }, ({ text }) => text.startsWith(`${sha256(input)}  -\n[exit 0 `)],
    [
      { command: `${command}; echo ${word} >&2; exit 3` },
      ({ blocks, outcome }) => blocks[0] === `[stderr]\n${word}\n` && outcome.exitCode === 3,
    ],
    [{ command: `${command}; seq 100000`, stdin: '' }, ({ outcome }) => isWhole(outcome, 100_000)],
  ][number % 10 === 0 ? 3 : number % 3];
  const answer = await calls.call(client, 'ssh_exec', { session: 'exec', ...args }, { word });
  if (answer) calls.judge(isRight(answer), () => `exec ${args.command}: ${answer.text.slice(-400)}`);
  await sleep(50);
}

/** Whether all that `seq` prints is in the file; which is removed, because nobody else will look at it. */
function isWhole({ stdoutBytes, outputFile }, count) {
  const text = Array.from({ length: count }, (_, index) => `${index + 1}\n`).join('');
  const there = readFileSync(outputFile, 'latin1');
  rmSync(outputFile);
  return there === text && stdoutBytes === text.length;
}

/** A shell that keeps its variable and its directory, whatever becomes of its connection. */
export async function shell({ calls, client, remote }, number) {
  const args = { session: 'shells', shell: `shell-${number}` };
  const folder = join(remote, `shell-${number}`);
  mkdirSync(folder, { recursive: true });
  await calls.insist(client, 'ssh_shell', { ...args, command: `cd '${folder}' && kept='kept by ${number}'` });
  // The state is saved a quarter of a second after a command.
  await sleep(1_000);
  for (let round = 0; round < 100; round++) {
    const { word, command } = calls.mark();
    const wanted = `kept by ${number} in ${folder}: ${word}\n`;
    const print = `${command}; echo "$kept in $PWD: ${word}"`;
    const answer = await calls.call(client, 'ssh_shell', { ...args, command: print }, { word });
    if (answer) calls.judge(answer.blocks[0] === wanted, () => `shell ${args.shell}, ${round}: ${answer.text}`);
    await sleep(50);
  }
}

/** A file or a folder there and back. What fails leaves the old one whole. */
export async function transfer({ calls, client, local, remote }, number) {
  const isFolder = ++last % 4 === 0;
  const [from, there, back] = [join(local, `from-${number}`), join(remote, `there-${number}`), join(local, `back-${number}`)];
  rmSync(from, { recursive: true, force: true });
  if (isFolder) {
    mkdirSync(from);
    for (let file = 0; file < 20; file++) writeFileSync(join(from, `file ${file}`), randomBytes(20_000));
  } else {
    writeFileSync(from, randomBytes(last % 4 === 1 ? 16_000_000 : 1_000_000));
  }
  const [to, arrived] = isFolder ? [`${there}-folder`, `${back}-folder`] : [there, back];
  if (isFolder) for (const path of [to, arrived]) rmSync(path, { recursive: true, force: true });
  for (const [tool, source, target] of [
    ['ssh_upload', from, to],
    ['ssh_download', to, arrived],
  ]) {
    const before = contentOf(target);
    const [localPath, remotePath] = tool === 'ssh_upload' ? [source, target] : [target, source];
    const answer = await calls.call(client, tool, { session: 'files', localPath, remotePath });
    const after = contentOf(target);
    const isSame = after === contentOf(source);
    if (answer) calls.judge(isSame && answer.facts.files > 0, () => `${tool}: the copy differs: ${answer.text}`);
    else if (!isFolder && !isSame && after !== before) calls.fail(`${tool} has failed and left neither the old nor the new file`);
    if (!answer) return;
  }
  await sleep(200);
}

/** Of a file, or of all files in a folder; undefined where nothing is. */
function contentOf(path) {
  try {
    return sha256(readFileSync(path));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    return readdirSync(path).sort().map((name) => `${name} ${contentOf(join(path, name))}`).join();
  }
}

/** One that is waited for, one that is stopped, one that lives through whatever happens. */
export async function jobs({ calls, client }) {
  const session = 'jobs';
  const begin = async (command, more) => {
    const mark = calls.mark();
    const all = { session, background: true, ...more, command: command.replace('MARK', mark.command) };
    const answer = await calls.call(client, 'ssh_exec', all, mark);
    return answer?.outcome.job && { job: answer.outcome.job, word: mark.word };
  };
  const waited = await begin('echo one; sleep 2; MARK; echo two');
  const detached = await begin('sleep 5; MARK; seq 1000; echo last', { detach: true });
  if (waited) {
    const answer = await calls.call(client, 'ssh_job', { job: waited.job, waitMs: 30_000 }, waited);
    if (answer) calls.judge(answer.text.includes('two\n[exit 0 '), () => `job ${waited.job}: ${answer.text}`);
  }
  const tag = `${LONG_S}.${++last}`;
  const stopped = await begin(`MARK; sleep ${tag}`);
  if (stopped) {
    const answer = await calls.call(client, 'ssh_job', { job: stopped.job, signal: 'TERM', waitMs: 30_000 });
    if (answer) {
      const { status, processGone } = answer.outcome;
      calls.judge(status !== 'running' && processGone !== false, () => `stopped job ${stopped.job}: ${answer.text}`);
    }
  }
  if (!detached) return;
  for (;;) {
    const args = { job: detached.job, session, waitMs: 30_000 };
    const { blocks, outcome } = await calls.insist(client, 'ssh_job', args);
    if (outcome.status === 'running') continue;
    const isRight = outcome.exitCode === 0 && blocks[0].endsWith('\n1000\nlast\n');
    calls.judge(isRight, () => `detached job ${detached.job}: ${blocks.join('').slice(-400)}`);
    return;
  }
}

/** A session from its beginning to its end. */
export async function sessions({ calls, client }, number) {
  const session = `guest-${number}-${++last}`;
  const stateOf = async () => {
    const { facts } = await calls.insist(client, 'ssh_sessions', {});
    return facts.sessions.find(({ name }) => name === session)?.state;
  };
  const exec = async () => {
    const { word, command } = calls.mark();
    const answer = await calls.call(client, 'ssh_exec', { session, command: `${command}; echo hello` }, { word });
    if (answer) calls.judge(answer.text.startsWith('hello\n[exit 0 '), () => `exec in ${session}: ${answer.text}`);
  };
  await calls.insist(client, 'ssh_connect', { host: 'soak', name: session });
  await exec();
  await calls.insist(client, 'ssh_disconnect', { session });
  const state = await stateOf();
  calls.judge(state === 'disconnected' || state === 'saved', () => `${session} is ${state} after ssh_disconnect`);
  await exec();
  await calls.insist(client, 'ssh_reconnect', { session });
  await exec();
  await calls.insist(client, 'ssh_disconnect', { session, forget: true });
  const after = await stateOf();
  calls.judge(after === undefined, () => `${session} is ${after} after it was forgotten`);
  await sleep(500);
}

/** A call that its client takes back: its process ends. */
export async function cancel({ calls, client, link, remoteHome }) {
  const tag = `${LONG_S}.${++last}`;
  const { command } = calls.mark();
  const [begin, abort] = [Date.now(), new AbortController()];
  const args = { session: 'exec', command: `${command}; sleep ${tag}` };
  const call = client.request('tools/call', { name: 'ssh_exec', arguments: args }, undefined, abort.signal);
  setTimeout(() => abort.abort(), 300 + Math.random() * 700);
  // What a client has taken back is not answered.
  const answer = await answered(call, 'a cancelled call').catch((error) => {
    if (!error.message.endsWith(': cancelled')) throw error;
  });
  const runs = () => remoteProcesses(remoteHome).some((one) => one.includes(`sleep ${tag}`));
  for (const end = Date.now() + STOPPED_WITHIN_MS; runs() && Date.now() < end; ) await sleep(500);
  calls.counts.cancelled += 1;
  if (runs() && !link.wasCutSince(begin)) calls.fail(`sleep ${tag} still runs after its call was cancelled`);
  if (answer && !link.wasCutSince(begin)) calls.fail(`a call that was to be cancelled: ${JSON.stringify(answer)}`);
}

/** A client of any kind that comes, looks, runs a command and goes, some without a word, some in the middle of a call. */
export async function visit(stage) {
  const number = ++last;
  const client = await look(stage, number % 4);
  if (number % 5 === 0) {
    const cut = { session: 'exec', command: `${stage.calls.mark().command}; sleep 5` };
    // Nobody waits for the answer.
    client.request('tools/call', { name: 'ssh_exec', arguments: cut }).catch(() => {});
    await sleep(100);
  }
  await stage.leave(client, number % 3 !== 0 && number % 5 !== 0);
  await sleep(300);
}

/** A new client that has seen the tools and run a command. */
export async function look({ calls, newClient }, kind) {
  const client = await newClient(kind);
  const { tools } = await answered(client.request('tools/list', {}), 'tools/list');
  calls.judge(tools.some(({ name }) => name === 'ssh_exec'), () => `a visitor sees ${tools.length} tools`);
  const { word, command } = calls.mark();
  const args = { session: 'exec', command: `${command}; echo ${word}` };
  const answer = await calls.call(client, 'ssh_exec', args, { word });
  if (answer) calls.judge(answer.text.startsWith(`${word}\n[exit 0 `), () => `visitor: ${answer.text}`);
  return client;
}

function sha256(content) {
  return createHash('sha256').update(content).digest('hex');
}
