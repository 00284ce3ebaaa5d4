// One measure after the other, and in each all contestants by turns, so that whatever the machine does meanwhile is done
// to all of them.

import { Stop } from '../../scripts/lib/repository.mjs';
import { Failed } from './contestant.mjs';
import { launch } from './measures.mjs';

/**
 * @typedef {object} Result
 * @property {number[]} values of all rounds
 * @property {number} failed of the answers in one round, at most
 * @property {boolean} cut whether output was
 * @property {string} [why] there are none, or no more
 */

/**
 * @param {{ title: string, contestant: import('./contestant.mjs').McpServer }[]} entries
 * @param {import('./measures.mjs').Measure} measure
 * @param {number} limitMs for one contestant in one round
 * @returns {Promise<Map<string, Result | undefined>>} by title; undefined for who has no such thing
 */
export async function contest(entries, measure, limitMs) {
  const results = new Map(entries.map(({ title }) => [title, nothingYet()]));
  for (let round = 0; round < measure.rounds; round++) {
    for (const { title, contestant } of byTurns(entries, round)) {
      const result = results.get(title);
      if (!result || result.why) continue;
      try {
        const sample = await within(limitMs, measure.take(contestant));
        if (sample) add(result, sample);
        else results.set(title, undefined);
      } catch (error) {
        if (!(error instanceof Stop)) throw error;
        result.why = error.message.trim().split('\n')[0];
        console.log(`  ${title}, ${measure.title}: ${result.why}`);
        await reopen(contestant);
      }
    }
  }
  return results;
}

/**
 * The same for programs that are started anew each time.
 *
 * @param {{ title: string, renewed: () => import('./contestant.mjs').McpServer }[]} entries
 * @param {number} rounds
 * @param {number} limitMs
 * @returns {Promise<Map<string, Map<string, Result | undefined>>>} by what was measured
 */
export async function launches(entries, rounds, limitMs) {
  const all = new Map(['start', 'memory', 'tools', 'connect'].map((id) => [id, new Map()]));
  for (let round = 0; round < rounds; round++) {
    for (const { title, renewed } of byTurns(entries, round)) {
      if (all.get('connect').get(title)?.why) continue;
      try {
        const samples = await within(limitMs, launch(renewed()));
        for (const [id, sample] of Object.entries(samples)) {
          if (!sample) continue;
          const results = all.get(id);
          if (!results.has(title)) results.set(title, nothingYet());
          add(results.get(title), sample);
        }
      } catch (error) {
        if (!(error instanceof Stop)) throw error;
        const why = error.message.trim().split('\n')[0];
        all.get('connect').set(title, { ...nothingYet(), why });
        console.log(`  ${title}: ${why}`);
      }
    }
  }
  return all;
}

/** Starts a contestant anew; if it does not connect, each question to it will fail. */
export async function reopen(contestant) {
  await contestant.stop();
  await contestant.open().catch((error) => {
    if (!(error instanceof Stop)) throw error;
  });
}

/** None is always the first. */
function byTurns(entries, round) {
  const first = round % entries.length;
  return [...entries.slice(first), ...entries.slice(0, first)];
}

function nothingYet() {
  return { values: [], failed: 0, cut: false };
}

function add(result, { values, failed = 0, cut = false }) {
  result.values.push(...values);
  result.failed = Math.max(result.failed, failed);
  result.cut ||= cut;
}

/** A `Failed` if it takes longer. */
export async function within(limitMs, work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Failed(`no answer in ${limitMs / 1000} s`)), limitMs);
  });
  // It goes on, and nobody waits for it any more.
  work.catch(() => {});
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
