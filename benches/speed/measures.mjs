// What is measured of each contestant.

import { randomFillSync } from 'node:crypto';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failed } from './contestant.mjs';

/**
 * @typedef {import('./contestant.mjs').McpServer} Contestant
 *
 * @typedef {object} Sample
 * @property {number[]} values
 * @property {number} [failed] of the answers
 * @property {boolean} [cut] output was
 *
 * @typedef {object} Measure
 * @property {string} id
 * @property {string} title
 * @property {number} rounds
 * @property {(contestant: Contestant) => Promise<Sample | undefined>} take undefined if it has no such thing
 */

/** A started program has done by then what it does without being asked. */
const SETTLED_MS = 500;

/**
 * @param {{ latency: number, batch: number, batchMs: number, parallel: number, bulk: number, mib: number }} sizes rounds
 *   of each kind; commands of a batch, or how long it may take; and how much goes in bulk
 * @param {{ files: string }} folders
 * @returns {Measure[]}
 */
export function measures(sizes, { files }) {
  const { latency, parallel, bulk, mib } = sizes;
  return [
    { id: 'exec', title: 'exec', rounds: latency, take: (one) => oneByOne(one, one.exec, sizes) },
    { id: 'shell', title: 'shell', rounds: latency, take: (one) => oneByOne(one, one.shell, sizes) },
    ...[15, 100].map((count) => ({
      id: `parallel${count}`,
      title: `${count} at once`,
      rounds: parallel,
      take: (one) => atOnce(one, count),
    })),
    { id: 'output', title: `${mib} MiB of output`, rounds: bulk, take: (one) => output(one, mib * 2 ** 20) },
    { id: 'up', title: `${mib} MiB up`, rounds: bulk, take: (one) => moved(one, one.upload, files) },
    { id: 'down', title: `${mib} MiB down`, rounds: bulk, take: (one) => moved(one, one.download, files) },
  ];
}

/** Makes the file that is moved. */
export function makeSource(files, mib) {
  writeFileSync(join(files, 'source'), randomFillSync(Buffer.alloc(mib * 2 ** 20)));
}

/**
 * A program from its start to the end of its first command.
 *
 * @param {Contestant} contestant
 * @returns {Promise<Record<'start' | 'memory' | 'tools' | 'connect', Sample | undefined>>}
 */
export async function launch(contestant) {
  try {
    const start = await contestant.start();
    const server = start !== undefined;
    const tools = server ? await contestant.toolsBytes() : undefined;
    if (server) await sleep(SETTLED_MS);
    const memory = server ? contestant.rss() : undefined;
    const connect = await timed(async () => succeeded(await contestant.first()));
    const sample = (value) => value && { values: [value] };
    return { start: sample(start), memory: sample(memory), tools: sample(tools), connect: sample(connect) };
  } finally {
    await contestant.stop();
  }
}

async function oneByOne(contestant, run, { batch, batchMs }) {
  if (!run) return undefined;
  const values = [];
  const begun = performance.now();
  while (values.length < batch && performance.now() - begun < batchMs) {
    values.push(await timed(async () => succeeded(await run.call(contestant, 'true'))));
  }
  return { values };
}

async function atOnce(contestant, count) {
  let failed = 0;
  const one = async (number) => {
    const answer = await contestant.beside(`echo answer ${number}`).catch((error) => {
      if (!(error instanceof Failed)) throw error;
    });
    if (answer?.stdout.trim() !== `answer ${number}`) failed += 1;
  };
  const begun = performance.now();
  await Promise.all(Array.from({ length: count }, (_, number) => one(number)));
  return { values: [performance.now() - begun], failed };
}

async function output(contestant, bytes) {
  const command = `yes '${'0123456789'.repeat(6)}ab' | head -c ${bytes}`;
  if (contestant.discard) return { values: [await contestant.discard(command)] };
  let answer;
  const ms = await timed(async () => {
    answer = succeeded(await (contestant.exec ?? contestant.shell).call(contestant, command));
  });
  const { stdout, file } = answer;
  const size = file ? statSync(file).size : Buffer.byteLength(stdout);
  if (file) rmSync(file);
  // A terminal ends lines in its own way, and the last one here has no end.
  return { values: [ms], cut: size < bytes * 0.98 };
}

/** @param {string} files has `source` in it */
async function moved(contestant, move, files) {
  if (!move) return undefined;
  const [from, to] = ['source', 'target'].map((name) => join(files, name));
  rmSync(to, { force: true });
  const ms = await timed(() => move.call(contestant, from, to));
  if (!readFileSync(from).equals(readFileSync(to))) throw new Failed('what arrived is not what was sent');
  rmSync(to);
  return { values: [ms] };
}

/** The milliseconds that it takes, unless it knows better. */
async function timed(work) {
  const begun = performance.now();
  const answer = await work();
  return answer?.ms ?? performance.now() - begun;
}

function succeeded(answer) {
  if (answer.timedOut || answer.status !== 0)
    throw new Failed(`the command failed: ${JSON.stringify(answer).slice(0, 300)}`);
  return answer;
}
