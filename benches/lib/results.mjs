// What docs/benchmarks.md says, for charts and comparisons. Nothing is measured.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Stop, root } from '../../scripts/lib/repository.mjs';

export const OURS = 'mcp-ssh-sessions';

const BENCH = '<!-- npm run bench -- --write: begin -->';
const TRANSFER = '<!-- npm run bench:transfer -- --write: begin -->';

/** @typedef {{ name: string, value: number, text: string }} Result */

/** The page with the results. */
export function published() {
  return readFileSync(join(root, 'docs', 'benchmarks.md'), 'utf8');
}

/**
 * The medians of commands in a channel of their own, or in a shell where a server has nothing else.
 *
 * @param {string} page
 * @param {string} heading of the table
 * @returns {Result[]}
 */
export function times(page, heading) {
  const columns = ['exec, p50 / p99', 'shell, p50 / p99'];
  return tableAfter(page, BENCH, heading).flatMap((row) => {
    const column = columns.find((each) => /\d/.test(row.cells.get(each) ?? ''));
    const value = Number(row.cells.get(column)?.split(' / ')[0]);
    const kind = column === columns[0] ? '' : ' (shell)';
    return Number.isNaN(value) ? [] : [{ name: row.name, value, text: `${value} ms${kind}` }];
  });
}

/** How many answers were right, as `12 of 14`. @returns {Result[]} */
export function shares(page) {
  return tableAfter(page, BENCH, '### Loopback').map(({ name, cells }) => {
    const [right, asked] = cells.get('right answers').split(' of ').map(Number);
    return { name, value: right / asked, text: `${right} of ${asked}` };
  });
}

/** Speeds over 40 ms, in cells such as `9.9 s · 108 MB/s · **2.35 ×**`. @returns {Result[]} */
export function speeds(page, column, unit) {
  return tableAfter(page, TRANSFER, '### 40 ms').flatMap(({ name, cells }) => {
    const speed = cells.get(column).match(new RegExp(`([\\d.,]+) ${unit}`))?.[1];
    return speed ? [{ name, value: Number(speed.replaceAll(',', '')), text: `${speed} ${unit}` }] : [];
  });
}

/** Which answers were right: a row for each question, `✓` or `✗` in a column for each program. */
export function answers(page) {
  return tableAfter(page, BENCH, '### Right answers');
}

/** The rows of the first table after a mark and a heading. */
function tableAfter(page, mark, heading) {
  const results = page.split(mark)[1]?.split('<!-- end -->')[0];
  const lines = results?.split(`${heading}\n`)[1]?.split('\n') ?? [];
  const first = lines.findIndex((each) => each.startsWith('|'));
  if (first < 0) throw new Stop(`docs/benchmarks.md has no table below ${heading}`);
  const after = lines.findIndex((each, index) => index > first && !each.startsWith('|'));
  // A pipe in a cell has a backslash before it.
  const cellsOf = (row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.replaceAll(/\\(?=\|)|[`*]/g, '').trim());
  const [head, , ...rows] = lines.slice(first, after).map(cellsOf);
  return rows.map(([name, ...cells]) => ({ name, cells: new Map(cells.map((cell, column) => [head[column + 1], cell])) }));
}
