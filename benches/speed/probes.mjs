// Whether answers are right. Each question is asked in each way in which a contestant runs commands: a channel for each
// (exec), and a shell that stays.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { all } from '../../npm/processes.mjs';
import { kill } from '../../scripts/lib/sshd.mjs';
import { Failed, TIMEOUT_MS } from './contestant.mjs';

/**
 * @typedef {(command: string, bounds?: import('./contestant.mjs').Bounds) => Promise<import('./contestant.mjs').Answer>} Run
 *
 * @typedef {object} Probe
 * @property {string} title
 * @property {boolean} [shellOnly]
 * @property {number} [patienceMs] for an answer that may take long
 * @property {(run: Run, sshd: object) => Promise<string | undefined>} ask what is wrong with the answer, if anything
 */

/** What was stopped is gone by then. */
const GONE_MS = 3_000;
/** A lost link is noticed by then. */
const NOTICED_MS = 500;
const LINES = 450_000;

/** @type {Probe[]} */
export const probes = [
  {
    title: 'quotes, `$`, backslashes',
    ask: (run) =>
      prints(run, String.raw`printf '%s|' "it's" 'say "hi"' \$HOME '\n'; echo`, String.raw`it's|say "hi"|$HOME|\n|`),
  },
  { title: 'a comment at the end', ask: (run) => prints(run, 'echo done # not: done', 'done') },
  {
    title: 'several lines, a heredoc',
    ask: (run) => prints(run, "cat <<'END'\none\n  two\nEND\necho three", 'one\n  two\nthree'),
  },
  { title: 'a quote that never ends', ask: (run) => goesOn(run, 'echo "never', ({ status }) => status !== 0) },
  { title: '`cat` without input ends', ask: (run) => prints(run, 'cat; echo after', 'after') },
  { title: 'exit status', ask: (run) => goesOn(run, '(exit 7)', ({ status }) => status === 7) },
  { title: '`exit 3`, and on', ask: (run) => goesOn(run, 'exit 3', ({ status }) => status === 3) },
  {
    title: 'stderr apart',
    ask: async (run) => {
      const { stdout, stderr } = await run('echo out; echo err >&2');
      return stdout.trim() === 'out' && stderr?.trim() === 'err'
        ? undefined
        : `stdout ${short(stdout)}, stderr ${short(stderr)}`;
    },
  },
  { title: '3 MB of output, all of it', ask: wholeOutput, patienceMs: 60_000 },
  { title: 'directory and variables kept', shellOnly: true, ask: keepsState },
  {
    title: 'killed after a timeout',
    ask: (run) => stops(run, (command) => run(command, { timeoutMs: TIMEOUT_MS })),
  },
  {
    title: 'killed after a cancel',
    ask: (run) =>
      stops(run, async (command) => {
        const abort = new AbortController();
        const answer = run(command, { signal: abort.signal }).catch(() => {});
        await sleep(TIMEOUT_MS / 2);
        abort.abort();
        // Whether a call that was cancelled is answered is nobody's business here.
        await Promise.race([answer, sleep(GONE_MS)]);
        return { timedOut: true };
      }),
  },
  {
    title: 'the link is lost: the next call works',
    ask: async (run, { drop }) => {
      await run('true');
      drop();
      await sleep(NOTICED_MS);
      return prints(run, 'echo back', 'back');
    },
  },
];

async function prints(run, command, expected) {
  const { stdout, status } = await run(command);
  return stdout.trim() === expected && status === 0 ? undefined : `status ${status}, ${short(stdout)}`;
}

/** Whether its end is told, and the next command is not disturbed by it. */
async function goesOn(run, command, right) {
  const answer = await run(command);
  const next = await prints(run, 'echo next', 'next');
  return right(answer) && !answer.timedOut ? next && `afterwards: ${next}` : `status ${answer.status}`;
}

async function wholeOutput(run) {
  const expected = Array.from({ length: LINES }, (_, index) => index + 1).join('\n');
  const { stdout, file } = await run(`seq ${LINES}`);
  const text = file ? readFileSync(file, 'utf8') : stdout;
  const wrong = text.trim() === expected ? undefined : `${text.trim().length} of ${expected.length} bytes`;
  return wrong ?? prints(run, 'echo next', 'next');
}

async function keepsState(run) {
  await run('cd /usr/bin; export WORD=kept');
  return prints(run, 'echo $PWD $WORD', '/usr/bin kept');
}

/** Whether a command that is stopped in some way says so, is gone on the other side, and leaves room for the next. */
async function stops(run, stop) {
  // No other process is called so.
  const command = `sleep ${1000 + Math.random()}`;
  const running = () => all().filter((one) => one.command === command);
  const { timedOut } = await stop(command);
  let left = running();
  for (const end = Date.now() + GONE_MS; left.length > 0 && Date.now() < end; left = running()) await sleep(50);
  for (const { pid } of left) kill(pid);
  if (left.length > 0) return 'it still runs';
  if (!timedOut) return 'the answer does not say so';
  const next = await prints(run, 'echo next', 'next');
  return next && `afterwards: ${next}`;
}

function short(text) {
  return text === undefined ? 'not there' : JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

/** Whether a key that is not known is refused, or the person is asked. */
export const UNKNOWN_KEY = 'an unknown host key is not trusted in silence';

/** Whether a key that is another one than before is refused, after a restart of the program too. */
export const CHANGED_KEY = 'a changed host key is refused';

/**
 * @param {import('./contestant.mjs').McpServer} contestant where the key is not known
 * @returns {Promise<string | undefined>} what is wrong
 */
export async function trustsUnknownKey(contestant) {
  await contestant.start();
  return (await refused(() => contestant.first())) ? undefined : 'it connected';
}

/**
 * @param {import('./contestant.mjs').McpServer} contestant where the key is known
 * @param {import('../../scripts/lib/sshd.mjs').Sshd} sshd
 */
export async function trustsChangedKey(contestant, sshd) {
  await contestant.start();
  await contestant.first();
  await sshd.changeHostKey();
  const again = () => (contestant.exec ?? contestant.shell).call(contestant, 'true');
  if (!(await refused(again))) return 'it connected';
  await contestant.stop();
  await contestant.start();
  return (await refused(() => contestant.first())) ? undefined : 'it connected, started anew';
}

async function refused(call) {
  try {
    await call();
    return false;
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    return true;
  }
}
