// One measure after the other, and in each all contestants by turns, so that whatever the machine does meanwhile is done
// to all of them.

import { Failed } from './contestant.mjs';

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
        await contestant.start();
      }
    }
  }
  return results;
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
