// How the demo looks in a terminal.

import { Stop } from '../lib/repository.mjs';

const coloured = process.stdout.isTTY && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
const style = (code) => (text) => (coloured ? `\x1b[${code}m${text}\x1b[0m` : text);
const [bold, dim, red, green, cyan] = ['1', '2', '31', '32', '36'].map(style);

/** Longer answers are shown by their beginning and end. */
const SHOWN_LINES = 14;
const KEPT_LINES = 5;
/** Longer lines are broken between words. */
const COLUMNS = Math.max(60, Math.min(process.stdout.columns ?? 110, 110)) - 6;
const SECRETS = ['password', 'passphrase'];

let steps = 0;
let facts = 0;

/** A line about the build, in which cargo shows how far it is. */
export function prologue() {
  console.log(dim('Building the program and the SSH server for the demo. The first time that takes about six minutes on two cores …'));
}

/** Starts a step. */
export function title(text, remark) {
  steps += 1;
  console.log(`\n${bold(`${String(steps).padStart(2)}  ${text}`)}`);
  if (remark) for (const line of remark.split('\n')) console.log(`    ${dim(line)}`);
}

/** A call, as one would write it; its answer completes the line. */
export function call(tool, params) {
  const shown = Object.entries(params).map(([name, value]) => {
    const text = SECRETS.includes(name) ? '"••••••••"' : JSON.stringify(value);
    return `${name}: ${typeof value === 'string' ? text.replaceAll('\\n', '\n        ') : text}`;
  });
  process.stdout.write(`    ${cyan('→')} ${cyan(bold(tool))}${cyan(`(${shown.join(', ')})`)}`);
}

/** What came back, and how long it took. */
export function answer(text, milliseconds) {
  console.log(`  ${dim(`${Math.round(milliseconds)} ms`)}`);
  const lines = text.replace(/\n$/, '').split('\n');
  const shown =
    lines.length > SHOWN_LINES
      ? [...lines.slice(0, KEPT_LINES), `⋮  ${lines.length - 2 * KEPT_LINES} more lines`, ...lines.slice(-KEPT_LINES)]
      : lines;
  for (const line of shown) {
    const paint = /^(\[.*\]|⋮.*)$/.test(line) ? dim : (same) => same;
    for (const part of wrap(line)) console.log(`      ${paint(part)}`);
  }
}

/**
 * Shows a fact that has been checked, or ends the demo where it is not one.
 *
 * @param {string} text the fact
 * @param {boolean} holds
 * @param {unknown} seen what was there instead
 */
export function fact(text, holds, seen) {
  if (!holds) {
    const found = seen === undefined ? '' : `; what was there: ${JSON.stringify(seen)}`;
    throw new Stop(`step ${steps}: this does not hold: ${text}${found}`);
  }
  facts += 1;
  console.log(`    ${green('✓')} ${text}`);
}

/** Runs something and returns its result with the milliseconds it took. */
export async function timed(work) {
  const start = performance.now();
  const result = await work;
  return [result, performance.now() - start];
}

function wrap(line) {
  return (
    line
      .match(new RegExp(`.{1,${COLUMNS}}(?= |$)|.{${COLUMNS}}`, 'gu'))
      ?.map((part, index) => (index ? `  ${part.trimStart()}` : part)) ?? ['']
  );
}

/** The end of a demo that went well, unless something remains. */
export function epilogue(duration, remains) {
  if (remains.length > 0) throw new Stop(`left behind: ${remains.join('; ')}`);
  console.log(bold(`\n${green('✓')} ${steps} steps, ${facts} facts checked, ${duration}; nothing was left behind.`));
}

/** What may help to understand the line that follows: where the story broke off, and the program's log. */
export function complain(log) {
  if (steps > 0) console.error(red(`\n✗ The demo stopped in step ${steps}.`));
  if (log.trim()) console.error(`The program's log:\n${log.trimEnd()}`);
}
