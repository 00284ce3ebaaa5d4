// The rows of the matrix: what is done with each host, and how plain `ssh` does the same.

import { commands } from './rows/commands.mjs';
import { files } from './rows/files.mjs';
import { sessions } from './rows/sessions.mjs';

/**
 * @typedef {object} Host
 * @property {import('./ours.mjs').Ours} ours
 * @property {import('./plain.mjs').Plain} plain
 * @property {import('./stage.mjs').Stage} stage
 * @property {import('./speech.mjs').Speech} speech
 * @property {string} folder on the host, where files go; `local` is the same as this machine sees it
 * @property {string} local
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {(host: Host) => Promise<import('./verdict.mjs').Seen>} ours
 * @property {(host: Host) => Promise<import('./verdict.mjs').Reference>} plain
 */

/** @type {Row[]} in the order in which they are run */
export const rows = [sessions.connect, ...commands, ...files, sessions.reconnect, sessions.doctor];
