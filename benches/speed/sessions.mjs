// What one more connection of ours takes while nothing happens on it.

import { setTimeout as sleep } from 'node:timers/promises';
import { Failed } from './contestant.mjs';
import { Ours } from './ours.mjs';

/** sshd refuses some when more than ten are logging in at once. */
const AT_ONCE = 4;
const SETTLED_MS = 3_000;

/**
 * @param {import('./stage.mjs').Stage} stage
 * @param {number} wanted how many
 * @returns {Promise<{ count: number, bytes: number }>} how many there were, and bytes for each of them
 */
export async function perConnection(stage, wanted) {
  const ours = new Ours(stage.place(await stage.sshd()));
  await ours.open();
  await sleep(SETTLED_MS);
  const before = ours.rss();
  let [next, count] = [0, 0];
  const connect = async () => {
    for (; next < wanted; count++) await ours.connect(`session-${next++}`);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, connect)).catch((error) => {
    if (!(error instanceof Failed)) throw error;
    // The system allows no more open files, say.
    next = wanted;
    console.log(`  no more than ${count}: ${error.message}`);
  });
  await sleep(SETTLED_MS);
  const bytes = (ours.rss() - before) / count;
  await ours.stop();
  return { count, bytes };
}
