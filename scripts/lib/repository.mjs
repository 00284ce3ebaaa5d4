// Where the repository is, and how a script ends when it cannot go on.

import { fileURLToPath } from 'node:url';

/** The folder with Cargo.toml, with a final slash. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** sysexits(3) EX_UNAVAILABLE: something this machine lacks, no fault of the code. */
export const UNAVAILABLE = 69;

/** An end that one line explains; anything else that is thrown is a defect of the script and shows its stack. */
export class Stop extends Error {
  /**
   * @param {string} message
   * @param {number} status the exit status
   */
  constructor(message, status = 1) {
    super(message);
    this.status = status;
  }
}

/**
 * Ends the process because of `error`.
 *
 * @param {string} script whose line it is
 * @param {unknown} error
 */
export function fail(script, error) {
  if (!(error instanceof Stop)) throw error;
  console.error(`${script}: ${error.message}`);
  process.exit(error.status);
}

/** @param {number} milliseconds */
export function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
