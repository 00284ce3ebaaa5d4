// The servers, the cheapest first.

import { files } from './files.mjs';
import { libraries } from './libraries.mjs';
import { openssh } from './openssh.mjs';
import { small } from './small.mjs';

/**
 * @typedef {object} Server
 * @property {string} name
 * @property {(stage: import('../stage.mjs').Stage) => Promise<void>} start throws a Stop where it cannot be had
 * @property {() => string} [shell] the account's login shell; bash if not said
 * @property {import('../speech.mjs').Speech} [speech] what its commands are; those of a POSIX shell if not said
 * @property {string} [folder] where the account has its files, as its clients see it
 */

/** @type {Server[]} */
export const servers = [...openssh, ...small, ...libraries, ...files];
