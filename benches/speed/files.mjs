// Files of the other side: read, edited and searched, how fast, and whether what comes of it is right.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failed } from './contestant.mjs';
import { searchCommand } from './openssh.mjs';
import { Ours } from './ours.mjs';

/** A page of `ssh_read`. */
const LONG_LINES = 2_000;
const EDITED_LINES = 240;
const TAIL_LINES = 100;
const LOG_BYTES = 10e9;
const MATCHES = 50;
const SETTLED_MS = 1_000;
const WORD = 'needle';
/** The line that is edited, and what is there by turns. */
const EDITED = ['worker_connections 768;', 'worker_connections 1024;'];

/**
 * @typedef {object} RemoteFiles
 * @property {string} folder
 * @property {string} long a file of 2,000 lines
 * @property {string} config a file of 240 lines, one of which is edited
 * @property {string} log a file of 10 GB, most of it a hole
 * @property {string} tree a folder with many files
 */

/**
 * Makes them. The machine is the same on both sides of a line.
 *
 * @param {string} folder new
 * @param {number} count of the files in the tree
 * @returns {RemoteFiles}
 */
export function makeRemoteFiles(folder, count) {
  mkdirSync(folder);
  const [long, config, log, tree] = ['long', 'app.conf', 'log', 'tree'].map((name) => join(folder, name));
  writeFileSync(long, lines(LONG_LINES, 'key'));
  // Its beginning says that it is text.
  writeFileSync(log, lines(50_000));
  const end = openSync(log, 'r+');
  writeSync(end, `\n${lines(TAIL_LINES, 'logged')}`, LOG_BYTES);
  closeSync(end);

  const text = lines(10, 'a line of some file');
  for (let number = 0; number < count; number++) {
    const inside = join(tree, `${number % 100}`, `${Math.floor(number / 100) % 10}`);
    if (number < 1_000) mkdirSync(inside, { recursive: true });
    const match = number % (count / MATCHES) === 0 ? `${WORD} ${number / (count / MATCHES)}.\n` : '';
    writeFileSync(join(inside, `file-${number}.txt`), text + match);
  }
  return { folder, long, config, log, tree };
}

/**
 * @param {object} sizes as of `measures`
 * @param {RemoteFiles} files
 * @returns {import('./measures.mjs').Measure[]}
 */
export function fileMeasures({ latency, batch, batchMs, bulk }, files) {
  const repeated = (run) => async (one) => {
    if (!one.read) return undefined;
    const values = [];
    const begun = performance.now();
    for (let turn = 0; values.length < batch && performance.now() - begun < batchMs; turn++) {
      values.push(await run(one, turn));
    }
    return { values };
  };
  return [
    { id: 'read', title: `read ${LONG_LINES} lines`, rounds: latency, take: repeated((one) => read(one, files)) },
    { id: 'edit', title: 'edit one line', rounds: latency, take: repeated((one, turn) => edit(one, files, turn)) },
    { id: 'tail', title: 'the end of 10 GB', rounds: latency, take: repeated((one) => tail(one, files)) },
    {
      id: 'search',
      title: 'search the tree',
      rounds: bulk,
      take: async (one) => one.search && { values: [await search(one, files)] },
    },
  ];
}

/** What the host's own program takes to search the tree, in milliseconds, without a connection. */
export function hostSearch({ tree }) {
  const begun = performance.now();
  const { status, stdout, stderr } = spawnSync('sh', ['-c', searchCommand(WORD, tree)], { encoding: 'utf8' });
  const ms = performance.now() - begun;
  if (status !== 0) throw new Failed(`the host's own search failed: ${stderr}`);
  foundAll(stdout);
  return ms;
}

/**
 * The memory that ours takes after it has connected, read, edited and searched, beyond what it took after its start.
 *
 * @param {import('./stage.mjs').Stage} stage
 * @param {RemoteFiles} files
 * @returns {Promise<number>} bytes; NaN if something failed
 */
export async function memoryAfterFiles(stage, files) {
  const ours = new Ours(stage.place(await stage.sshd()));
  await ours.start();
  await sleep(SETTLED_MS);
  const idle = ours.rss();
  try {
    await ours.connect();
    for (let turn = 0; turn < 20; turn++) {
      await read(ours, files);
      await edit(ours, files, turn);
      await tail(ours, files);
    }
    await search(ours, files);
    await sleep(SETTLED_MS);
    return ours.rss() - idle;
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    console.log(`  memory after files: ${error.message}`);
    return NaN;
  } finally {
    await ours.stop();
  }
}

/**
 * Questions as in probes.mjs, each about one thing that a contestant does with files.
 *
 * @type {{ title: string, way: string, ask: (one: object, files: RemoteFiles) => Promise<string | undefined> }[]}
 */
export const fileProbes = [
  { title: 'a file of 2,000 lines is read whole', way: 'read', ask: (one, files) => right(read(one, files)) },
  { title: 'an edit keeps line ends and all other bytes', way: 'edit', ask: keepsBytes },
  { title: 'an edit keeps mode, owner and link', way: 'edit', ask: keepsFile },
  { title: 'text that is there twice is not edited', way: 'edit', ask: refusesTwo },
  { title: 'a search finds each match', way: 'search', ask: (one, files) => right(search(one, files)) },
];

async function right(work) {
  await work;
}

async function read(one, { long }) {
  const { ms, answer } = await timed(() => one.read(long));
  // Ours numbers the lines.
  const text = answer.text.replaceAll(/^ *\d+\t/gm, '');
  if (!text.startsWith(lines(LONG_LINES, 'key'))) throw new Failed(`what was read is wrong: ${text.slice(0, 100)} …`);
  return ms;
}

async function tail(one, { log }) {
  const { ms, answer } = await timed(() => one.tail(log, TAIL_LINES));
  const wanted = lines(TAIL_LINES, 'logged').trim().split('\n');
  const missing = wanted.find((line) => !answer.text.includes(line));
  if (missing) throw new Failed(`the end lacks ${missing}`);
  return ms;
}

async function edit(one, { config }, turn) {
  const [from, to] = turn % 2 === 0 ? EDITED : [...EDITED].reverse();
  if (turn === 0) writeFileSync(config, configText(from));
  const { ms } = await timed(() => one.edit(config, from, to));
  if (readFileSync(config, 'utf8') !== configText(to)) throw new Failed('the file is not as it was to be');
  return ms;
}

async function search(one, { tree }) {
  const { ms, answer } = await timed(() => one.search(WORD, tree));
  foundAll(answer.text);
  return ms;
}

function foundAll(text) {
  for (let number = 0; number < MATCHES; number++) {
    if (!text.includes(`${WORD} ${number}.`)) throw new Failed(`the search lacks ${WORD} ${number}`);
  }
}

async function keepsBytes(one, { folder }) {
  const path = join(folder, 'bytes');
  const rest = Buffer.from([0xe9, 0x0d, 0x0a, 0x6c, 0x0a, 0x78]);
  const content = (word) => Buffer.concat([Buffer.from(`\u{feff}${word}\r\n`), rest]);
  writeFileSync(path, content('old'));
  await one.edit(path, 'old', 'new');
  return readFileSync(path).equals(content('new')) ? undefined : 'other bytes changed';
}

async function keepsFile(one, { folder }) {
  const [path, link] = ['kept', 'link'].map((name) => join(folder, name));
  writeFileSync(path, 'old\n');
  chmodSync(path, 0o4750);
  rmSync(link, { force: true });
  symlinkSync(path, link);
  const before = statSync(path);
  await one.edit(link, 'old', 'new');
  if (!lstatSync(link).isSymbolicLink()) return 'the link is gone';
  const after = statSync(path);
  if (readFileSync(path, 'utf8') !== 'new\n') return 'it is not edited';
  return ['mode', 'uid', 'gid'].map((key) => (before[key] === after[key] ? '' : `${key} changed`)).join('') || undefined;
}

async function refusesTwo(one, { folder }) {
  const path = join(folder, 'twice');
  writeFileSync(path, 'old\nold\n');
  await one.edit(path, 'old', 'new').catch((error) => {
    if (!(error instanceof Failed)) throw error;
  });
  return readFileSync(path, 'utf8') === 'old\nold\n' ? undefined : 'it changed';
}

function lines(count, text = 'server_name example.com; # line') {
  return Array.from({ length: count }, (_, index) => `${text} ${index + 1}\n`).join('');
}

function configText(changed) {
  const all = lines(EDITED_LINES).split('\n');
  all[EDITED_LINES / 2] = `    ${changed}`;
  return all.join('\n');
}

/** The milliseconds that it takes, unless it knows better, and the answer. */
async function timed(work) {
  const begun = performance.now();
  const answer = await work();
  return { ms: answer.ms ?? performance.now() - begun, answer };
}
