// One measure after the other, and in each all contestants by turns, so that whatever the machine does meanwhile is done
// to all of them.

import { Stop } from '../../scripts/lib/repository.mjs';
import { Failed } from './contestant.mjs';
import { launch } from './measures.mjs';

/**
 * @typedef {object} Result
 * @property {number[]} values of all rounds
 * @property {string} [note] what is to be known of them
 * @property {string} [why] there are none, or no more
 */

/**
 * @param {{ title: string, contestant: import('./contestant.mjs').McpServer }[]} entries
 * @param {import('./measures.mjs').Measure} measure
 * @param {number} limitMs for one contestant in one round
 * @returns {Promise<Map<string, Result | undefined>>} by title; undefined for who has no such thing
 */
export async function contest(entries, measure, limitMs) {
  const results = new Map(entries.map(({ title }) => [title, { values: [] }]));
  for (let round = 0; round < measure.rounds; round++) {
    // None is always the first.
    const turn = round % entries.length;
    for (const { title, contestant } of [...entries.slice(turn), ...entries.slice(0, turn)]) {
      const result = results.get(title);
      if (!result || result.why) continue;
      try {
        const sample = await within(limitMs, measure.take(contestant));
        if (!sample) results.set(title, undefined);
        else result.values.push(...sample.values);
        if (sample?.note) result.note = sample.note;
      } catch (error) {
        if (!(error instanceof Failed)) throw error;
        result.why = error.message.trim().split('\n')[0];
        console.log(`  ${title}, ${measure.title}: ${result.why}`);
        await contestant.stop();
        await contestant.open();
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
    for (const { title, renewed } of entries) {
      try {
        const samples = await within(limitMs, launch(renewed()));
        for (const [id, sample] of Object.entries(samples)) {
          if (!sample) continue;
          const result = all.get(id).get(title) ?? { values: [] };
          result.values.push(...sample.values);
          all.get(id).set(title, result);
        }
      } catch (error) {
        if (!(error instanceof Stop)) throw error;
        console.log(`  ${title}: ${error.message.trim().split('\n')[0]}`);
      }
    }
  }
  return all;
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
