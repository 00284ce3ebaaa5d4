// Asks a contestant all the questions.

import { Stop } from '../../scripts/lib/repository.mjs';
import { dropConnections } from '../../scripts/lib/sshd.mjs';
import { reopen, within } from './contest.mjs';
import { fileProbes } from './files.mjs';
import { CHANGED_KEY, UNKNOWN_KEY, probes, trustsChangedKey, trustsUnknownKey } from './probes.mjs';

/**
 * @typedef {object} Verdict
 * @property {string} title of the question
 * @property {string[]} ways in which it was asked; none: it has no such way
 * @property {Record<string, string>} wrong by way
 */

/**
 * @param {new (place: import('./contestant.mjs').Place) => import('./contestant.mjs').McpServer} Kind
 * @param {import('./stage.mjs').Stage} stage
 * @param {number} limitMs an answer that takes longer is wrong
 * @param {import('./files.mjs').RemoteFiles} remote
 * @returns {Promise<Verdict[]>}
 */
export async function examine(Kind, stage, limitMs, remote) {
  const sshd = await stage.sshd();
  const contestant = new Kind(stage.place(sshd, { probed: true }));
  await reopen(contestant);
  const verdicts = [];
  for (const { title, shellOnly, ask, patienceMs = limitMs } of probes) {
    const ways = ['exec', 'shell'].filter((way) => contestant[way] && !(shellOnly && way === 'exec'));
    const wrong = {};
    for (const way of ways) {
      const run = (command, bounds) => contestant[way](command, bounds);
      const problem = await asked(ask(run, { drop: () => dropConnections(sshd) }), patienceMs);
      if (!problem) continue;
      wrong[way] = problem;
      // What went wrong is not to disturb the next question.
      await reopen(contestant);
    }
    verdicts.push({ title, ways, wrong });
  }
  for (const { title, way, ask } of fileProbes) {
    const problem = contestant[way] && (await asked(ask(contestant, remote), limitMs));
    verdicts.push({ title, ways: contestant[way] ? [way] : [], wrong: problem ? { [way]: problem } : {} });
  }
  await contestant.stop();
  verdicts.push(await trust(UNKNOWN_KEY, new Kind(stage.place(sshd, { known: false })), trustsUnknownKey, limitMs));
  verdicts.push(await trust(CHANGED_KEY, new Kind(stage.place(sshd)), (one) => trustsChangedKey(one, sshd), limitMs));
  return verdicts;
}

async function trust(title, contestant, ask, limitMs) {
  const problem = await asked(ask(contestant), limitMs);
  await contestant.stop();
  return { title, ways: ['connect'], wrong: problem ? { connect: problem } : {} };
}

/** What is wrong, if anything: also that there was no answer. */
async function asked(answer, limitMs) {
  try {
    return await within(limitMs, answer);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return error.message.trim().split('\n')[0];
  }
}
