// One transfer, by each contender in turn, so that whatever the machine does meanwhile is done to all of them.

import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Stop, seconds } from '../../scripts/lib/repository.mjs';
import { median, medianOf } from '../lib/numbers.mjs';
import { arrived } from './files.mjs';

/**
 * @typedef {import('./files.mjs').Source} Source
 *
 * @typedef {object} Contender
 * @property {string} name
 * @property {() => Promise<number>} connect in milliseconds
 * @property {() => Promise<unknown>} [prepare] before each transfer, and not counted
 * @property {(direction: 'up' | 'down', source: Source, folder: string) => Promise<number>} transfer into a folder on
 *   the other side; in milliseconds
 *
 * @typedef {object} Result
 * @property {string} name
 * @property {number} [ms] the median
 * @property {number} [spread] the longest in proportion to the shortest
 * @property {boolean} [fromPart] `ms` follows from a part of the whole
 * @property {string} [refused] why there is none
 */

/** A contender does not do this. */
export class Refused extends Stop {}

/**
 * @param {Contender[]} contenders
 * @param {object} task
 * @param {'up' | 'down'} task.direction
 * @param {Source} task.whole
 * @param {Source} [task.part] of the whole; with `one` of its files it tells who does it in time
 * @param {Source} [task.one]
 * @param {string} task.folder empty
 * @param {{ rounds: number, limitMs: number }} options who would take longer for the whole is given the part
 * @returns {Promise<Result[]>}
 */
export async function contest(contenders, task, { rounds, limitMs }) {
  const { direction, whole, part, one, folder } = task;
  const entries = contenders.map((contender) => ({ contender, source: whole, times: [] }));
  const once = async ({ contender, source }) => {
    await contender.prepare?.();
    try {
      const milliseconds = await contender.transfer(direction, source, folder);
      if (!arrived(source, folder)) throw new Stop(`${contender.name}: what arrived is not what was sent`);
      return milliseconds;
    } finally {
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
    }
  };
  // What a single file takes is the connection, above all, and is needed once.
  const inFull = (partMs, oneMs) => oneMs + (Math.max(0, partMs - oneMs) * (whole.files - 1)) / (part.files - 1);
  if (part) {
    for (const entry of entries) {
      try {
        entry.oneMs = await medianOf(3, () => once({ ...entry, source: one }));
        const tooLong = async () => inFull(await once({ ...entry, source: part }), entry.oneMs) > limitMs;
        // Any delay counts a hundred times: it has to happen again.
        if ((await tooLong()) && (await tooLong())) entry.source = part;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        entry.refused = error.message;
        console.log(`  ${entry.contender.name}: ${error.message}`);
      }
    }
  }
  for (let round = 0; round < rounds; round++) {
    // None is always the first.
    const order = [...entries.slice(round % entries.length), ...entries.slice(0, round % entries.length)];
    for (const entry of order.filter(({ refused }) => !refused)) {
      entry.times.push(await once(entry));
      const what = entry.source === part ? ' for a part' : '';
      console.log(`  ${entry.contender.name}: ${seconds(entry.times.at(-1))}${what}`);
    }
  }
  return entries.map(({ contender: { name }, source, times, oneMs, refused }) => {
    if (refused) return { name, refused };
    const fromPart = source === part;
    const ms = fromPart ? inFull(median(times), oneMs) : median(times);
    return { name, ms, fromPart, spread: Math.max(...times) / Math.min(...times) };
  });
}
