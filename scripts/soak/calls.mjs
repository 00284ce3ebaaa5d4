// Calls whose answers are judged: each must come in time, and be right, or say honestly that the link was lost.

import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { Stop } from '../lib/repository.mjs';

/** How long an answer may take, on a machine that does much else. Time in which this process stood still does not count. */
const DEADLINE_S = 90;
/** How long a client waits itself, so that the deadline is ours. */
const NEVER_MS = 24 * 60 * 60_000;

/** What commands may have done, by what was answered. */
const ALLOWED = { done: [1], cut: [0, 1], refused: [0] };

export class Calls {
  /** How many were answered rightly, were cut by a drop and say so, were cancelled. */
  counts = { right: 0, cut: 0, cancelled: 0 };
  /** What went wrong, in words. */
  wrong = [];

  #words = new Map();

  /**
   * @param {import('./link.mjs').Link} link
   * @param {string} file where commands write that they have run
   */
  constructor(link, file) {
    Object.assign(this, { link, file });
  }

  /** A shell command that leaves a mark; what is known of it is told by `ran`. */
  mark() {
    const word = randomUUID();
    this.#words.set(word, ALLOWED.cut);
    return { word, command: `echo ${word} >> '${this.file}'` };
  }

  /**
   * Calls a tool. Undefined: the link was cut, and the answer says so.
   *
   * @param {{ request: Function }} client
   * @param {string} tool
   * @param {object} args
   * @param {{ word?: string }} [options] the mark that the call's command leaves
   * @returns {Promise<{ text: string, blocks: string[], outcome?: object, facts?: object } | undefined>}
   */
  async call(client, tool, args, { word } = {}) {
    const begin = Date.now();
    const result = await answered(client.request('tools/call', { name: tool, arguments: args }, NEVER_MS), tool);
    const blocks = result.content.map((block) => block.text);
    const outcome = result._meta?.['mcp-ssh-sessions/outcome'];
    const lost = outcome?.status === 'connectionLost';
    if (!lost && !result.isError) {
      if (word && outcome.status === 'exited') this.#words.set(word, ALLOWED.done);
      return { text: blocks.join(''), blocks, outcome, facts: result._meta?.['mcp-ssh-sessions/result'] };
    }
    if (word && !lost) this.#words.set(word, ALLOWED.refused);
    if (this.link.wasCutSince(begin)) this.counts.cut += 1;
    else this.fail(`${tool} ${JSON.stringify(args).slice(0, 200)}: ${blocks.join(' | ').slice(-600)}`);
    return undefined;
  }

  /** The same for what must succeed, with as many calls as that takes. */
  async insist(client, tool, args) {
    for (;;) {
      const answer = await this.call(client, tool, args);
      if (answer) return answer;
    }
  }

  /** Counts an answer, which is as it should be, or not. */
  judge(isRight, words) {
    if (isRight) this.counts.right += 1;
    else this.fail(words());
  }

  fail(words) {
    this.wrong.push(words);
    if (this.wrong.length <= 20) console.log(`WRONG, ${new Date().toISOString()}: ${words}`);
  }

  /** Whether each command has run as often as its answer says. */
  compare() {
    const times = new Map();
    const lines = existsSync(this.file) ? readFileSync(this.file, 'utf8').trimEnd().split('\n') : [];
    for (const word of lines) times.set(word, (times.get(word) ?? 0) + 1);
    for (const [word, allowed] of this.#words) {
      const ran = times.get(word) ?? 0;
      if (!allowed.includes(ran)) this.fail(`${word} ran ${ran} times, and should have ${allowed.join(' or ')}`);
    }
    const often = [...times.values()].filter((ran) => ran > 1).length;
    return `${this.#words.size} commands left ${lines.length} marks, ${often} of them more than one`;
  }
}

/** What comes of it, or a Stop when it takes too long. */
export async function answered(call, what) {
  let [left, timer] = [DEADLINE_S];
  const late = new Promise((_, reject) => {
    timer = setInterval(() => --left > 0 || reject(new Stop(`${what}: no answer in ${DEADLINE_S} s`)), 1_000);
  });
  return Promise.race([call, late]).finally(() => clearInterval(timer));
}
