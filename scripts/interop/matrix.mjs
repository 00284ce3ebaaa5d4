// The matrix, for a terminal and for the manual.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { table } from '../../benches/lib/markdown.mjs';
import { Stop, root } from '../lib/repository.mjs';

const PAGE = join(root, 'docs/interop.md');
const [BEGIN, END] = ['<!-- written by `npm run interop -- --write` -->', '<!-- the end of what is written -->'];
const MARKS = { right: '✓', refused: '–', wrong: '✗' };
/** Of an answer, in the manual. */
const SHOWN = 200;

/**
 * @typedef {object} Column what one server did
 * @property {string} name
 * @property {string} [identification] what it says it is
 * @property {string} [absent] why it is not here
 * @property {Map<string, { word: string, text: string }>} cells by the names of the rows
 */

/**
 * @param {Column[]} columns
 * @param {string[]} rows their names
 */
export function matrix(columns, rows) {
  const here = columns.filter(({ absent }) => !absent);
  const lines = here.map(({ name, identification, cells }) => {
    return [name, identification, ...rows.map((row) => MARKS[cells.get(row)?.word] ?? ' ')];
  });
  return table(['server', 'calls itself', ...rows], lines);
}

/** A line for each cell of that kind. */
export function remarks(columns, word) {
  const lines = [];
  for (const { name, cells } of columns) {
    for (const [row, cell] of cells) if (cell.word === word) lines.push(`- ${name}, ${row}: ${cell.text}`);
  }
  return lines;
}

export function absentLines(columns) {
  return columns.filter(({ absent }) => absent).map(({ name, absent }) => `- ${name}: ${absent}`);
}

/**
 * Writes all of it into the manual, where the lines of other servers stay.
 *
 * @param {Column[]} columns
 * @param {string[]} rows their names
 * @param {string[]} servers the names of all, in their order
 */
export function write(columns, rows, servers) {
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Stop(`${PAGE} has no place for the matrix`);
  const old = page.slice(begin, end).split('\n');
  const ran = new Set(columns.map(({ name }) => name));
  /** The new lines of the servers that were run, and the old lines of the others, in a part of the page. */
  const merged = (title, lines, mark) => {
    const from = title ? old.indexOf(`## ${title}`) : 0;
    const part = from < 0 ? [] : old.slice(from + 1);
    const next = part.findIndex((line) => line.startsWith('## '));
    const before = next < 0 ? part : part.slice(0, next);
    return servers.flatMap((name) => (ran.has(name) ? lines : before).filter((line) => line.startsWith(mark(name))));
  };
  const section = (title, lines) => {
    const all = merged(title, lines, (name) => `- ${name}: `);
    return all.length > 0 ? [`## ${title}`, all.join('\n')] : [];
  };
  const table = matrix(columns, rows).split('\n');
  const parts = [
    [...table.slice(0, 2), ...merged('', table, (name) => `| ${name} | `)].join('\n'),
    ...section('Wrong', groups(columns, 'wrong')),
    ...section('Refused', groups(columns, 'refused')),
    ...section('Not here', absentLines(columns)),
  ];
  writeFileSync(PAGE, `${page.slice(0, begin)}${BEGIN}\n\n${parts.join('\n\n')}\n\n${page.slice(end)}`);
}

/** A line for each server, with the first answer of that kind. */
function groups(columns, word) {
  return columns.flatMap(({ name, cells }) => {
    const those = [...cells].filter(([, cell]) => cell.word === word);
    if (those.length === 0) return [];
    return `- ${name}: ${those.map(([row]) => row).join(', ')}. ${those[0][0]}: \`${shown(those[0][1].text)}\``;
  });
}

/** Without what differs from run to run, and without what Markdown would take for its own. */
function shown(text) {
  // Behind output that is long, the end says something.
  const same = text
    .split(' … ')
    .at(-1)
    .replace(/session "[^"]*": /, '')
    .replaceAll(/\/tmp\/mcp-ssh-sessions-[^ ]*/g, '…')
    .replaceAll(/job [0-9a-f]{8}/g, 'job …')
    .replaceAll('`', "'");
  return same.length > SHOWN ? `${same.slice(0, SHOWN)} …` : same;
}
