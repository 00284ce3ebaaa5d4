// What one more connection of ours takes while nothing happens on it.

import { setTimeout as sleep } from 'node:timers/promises';
import { Ours } from './ours.mjs';

/** sshd refuses some when more than ten are logging in at once. */
const AT_ONCE = 4;
const SETTLED_MS = 3_000;

/**
 * @param {import('./stage.mjs').Stage} stage
 * @param {number} count of connections
 * @returns {Promise<{ count: number, bytes: number }>} for each of them
 */
export async function perConnection(stage, count) {
  const ours = new Ours(stage.place(await stage.sshd()));
  await ours.open();
  await sleep(SETTLED_MS);
  const before = ours.rss();
  let next = 0;
  const connect = async () => {
    while (next < count) await ours.connect(`session-${next++}`);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, connect));
  await sleep(SETTLED_MS);
  const bytes = (ours.rss() - before) / count;
  await ours.stop();
  return { count, bytes };
}
