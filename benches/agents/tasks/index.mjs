// The tasks, in the order of one conversation.
//
// A plan is the shortest honest way of a tool set to a task. `any` uses the verbs that every set has (`run`, `everywhere`,
// `upload`, `download`); `ours`, `ssh` `peer` or the id of a set stands for those that have a shorter way or need
// another one.

import { everyday } from './everyday.mjs';
import { further } from './further.mjs';

/**
 * @typedef {import('../agent.mjs').Agent} Agent
 * @typedef {import('../world.mjs').World} World
 * @typedef {(agent: Agent, set: object, world: World) => Promise<unknown>} Plan
 *
 * @typedef {object} Task
 * @property {string} id
 * @property {string} title
 * @property {boolean} [slow] its time is that of a program on the host
 * @property {Record<string, Plan>} plans
 * @property {(world: World, results: string, set: object) => string | undefined} check what is wrong in the end
 */

/** @type {Task[]} */
export const tasks = [...everyday, ...further];

/** @returns {Plan} the plan of a set */
export function planOf({ plans }, set) {
  return plans[set.constructor.id] ?? plans[set.kind] ?? plans.any;
}
