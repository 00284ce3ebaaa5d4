// The matrix, for a terminal and for the manual.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { table } from '../../benches/lib/markdown.mjs';
import { root } from '../lib/repository.mjs';

const PAGE = join(root, 'docs/interop.md');
const [BEGIN, END] = ['<!-- written by `npm run interop -- --write` -->', '<!-- the end of what is written -->'];
const MARKS = { right: '✓', refused: '–', wrong: '✗' };

/**
 * @typedef {object} Column what one server did
 * @property {string} name
 * @property {string} [version]
 * @property {string} [absent] why it is not here
 * @property {Map<string, { word: string, text: string }>} cells by the names of the rows
 */

/**
 * @param {Column[]} columns
 * @param {string[]} rows their names
 */
export function matrix(columns, rows) {
  const here = columns.filter(({ absent }) => !absent);
  const lines = here.map(({ name, cells }) => [name, ...rows.map((row) => MARKS[cells.get(row)?.word] ?? ' ')]);
  return table(['server', ...rows], lines);
}

export function absentLines(columns) {
  return columns.filter(({ absent }) => absent).map(({ name, absent }) => `- ${name}: ${absent}`);
}

/** What is refused, and for whom. */
export function remarks(columns, word) {
  const lines = [];
  for (const { name, cells } of columns) {
    for (const [row, cell] of cells) if (cell.word === word) lines.push(`- ${name}, ${row}: ${cell.text}`);
  }
  return lines;
}
