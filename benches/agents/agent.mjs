// An agent without a model: it carries out plans, and counts what a model would write and read.

import { setTimeout as sleep } from 'node:timers/promises';

/** A model takes longer for a turn; some servers refuse a dozen calls a second. */
const THOUGHT_MS = 300;

/**
 * @typedef {object} Counts
 * @property {number} calls
 * @property {number} turns answers of the model that contain calls
 * @property {number} written tokens of the names and arguments
 * @property {number} read tokens of the results
 * @property {number} characters of the results
 * @property {number} ms until the results are there
 */

export class Agent {
  /** @type {Counts} */
  counts = { calls: 0, turns: 0, written: 0, read: 0, characters: 0, ms: 0 };
  /** Every result of the current task. */
  results = [];

  #perform;
  #tokens;
  #short;

  /**
   * @param {(tool: string, args: object) => Promise<{ text: string }>} perform makes a call
   * @param {(text: string) => number} tokens
   * @param {(text: string) => string} short replaces long paths of this run, whose length says nothing
   */
  constructor(perform, tokens, short) {
    this.#perform = perform;
    this.#tokens = tokens;
    this.#short = short;
  }

  /** Makes one call in a turn of its own, and returns the result. */
  async call(tool, args = {}) {
    return (await this.together([[tool, args]]))[0];
  }

  /**
   * Makes several calls in one turn.
   *
   * @param {[tool: string, args: object][]} calls
   */
  async together(calls) {
    await sleep(THOUGHT_MS);
    const begun = performance.now();
    const results = await Promise.all(calls.map(([tool, args]) => this.#perform(tool, args)));
    this.counts.ms += performance.now() - begun;
    this.counts.turns += 1;
    this.counts.calls += calls.length;

    for (const [tool, args] of calls) this.counts.written += this.#count(`${tool} ${JSON.stringify(args)}`);
    for (const { text } of results) {
      this.counts.read += this.#count(text);
      this.counts.characters += this.#short(text).length;
    }
    this.results.push(...results.map(({ text }) => text));
    return results;
  }

  #count(text) {
    return this.#tokens(this.#short(text));
  }
}
