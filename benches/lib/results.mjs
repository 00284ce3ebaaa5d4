// What docs/benchmarks.md says, for charts and comparisons. Nothing is measured.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Stop, root } from '../../scripts/lib/repository.mjs';

export const OURS = 'mcp-ssh-sessions';

const BENCH = '<!-- npm run bench -- --write: begin -->';
const FORWARDS = '<!-- npm run bench -- --forward --write: begin -->';
const MANY = '<!-- npm run bench -- --many --write: begin -->';
const AGENTS = '<!-- npm run bench:agents -- --write: begin -->';
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

/** The medians of work on files over 40 ms, in the column that begins so. @returns {Result[]} */
export function fileTimes(page, begin) {
  const lines = page.split(BENCH)[1].split('### 40 ms\n')[1]?.split('\n### ')[0] ?? '';
  const files = lines.indexOf('| files |');
  if (files < 0) return [];
  return rowsOf(lines.slice(files).split('\n')).flatMap(({ name, cells }) => {
    const column = [...cells.keys()].find((title) => title.startsWith(begin));
    return durations(name, cells.get(column));
  });
}

/** A row of the forwards: mcp-ssh-sessions and `ssh -L`. @returns {Result[]} */
export function forwardSpeeds(page, row) {
  const found = tableAfter(page, FORWARDS, '').find(({ name }) => name === row);
  const names = { ours: OURS, 'ssh -L': 'ssh -L' };
  return Object.entries(names).map(([column, name]) => {
    const text = found.cells.get(column);
    return { name, value: Number(text.split(' ')[0].replaceAll(',', '')), text };
  });
}

/** The row of many hosts with such a name; none before it was measured for the first time. @returns {Result[]} */
export function manyTimes(page, pattern) {
  if (!page.split(MANY)[1]?.split('<!-- end -->')[0].includes('|')) return [];
  const row = tableAfter(page, MANY, '').find(({ name }) => pattern.test(name));
  return [...row.cells].flatMap(([column, text]) => durations(column.split(',')[0], text));
}

/** The seconds and the tokens of the tool sets in the work of an agent. @returns {Result[]} */
export function agentSeconds(page) {
  return ofToolSets(page, 'seconds, 40 ms').map(([name, text]) => ({ name, value: Number(text.split(' ')[0]), text: seconds(text) }));
}

export function agentTokens(page) {
  return ofToolSets(page, 'the tasks of every day').map(([name, text]) => {
    const [, written, read] = /([\d,]+) \+ ([\d,]+)/.exec(text).map((number) => Number(number.replaceAll(',', '')));
    return { name, value: written + read, text: (written + read).toLocaleString('en') };
  });
}

function ofToolSets(page, row) {
  const rows = tableAfter(page, AGENTS, 'calls · turns · tokens written + read\n');
  return [...rows.find(({ name }) => name === row).cells];
}

/** Some did not do all: `4.52 (17 of 18)`. */
function seconds(text) {
  const [number, ...rest] = text.split(' ');
  return [`${number} s`, ...rest].join(' ');
}

/** Cells such as `1.44 / 2.1 ms`, `395 ms` or `1.04 s`. */
function durations(name, text) {
  const [, number, unit] = /^([\d.,]+).*? (ms|s)\b/.exec(text ?? '') ?? [];
  if (!number) return [];
  const value = Number(number.replaceAll(',', '')) * (unit === 's' ? 1000 : 1);
  return [{ name, value, text: `${number} ${unit}` }];
}

/** Which answers were right: a row for each question, `✓` or `✗` in a column for each program. */
export function answers(page) {
  return tableAfter(page, BENCH, '### Right answers');
}

/** The rows of the first table after a mark and a heading. */
function tableAfter(page, mark, heading) {
  const results = page.split(mark)[1]?.split('<!-- end -->')[0];
  const rows = rowsOf(results?.split(`${heading}\n`).slice(1).join(`${heading}\n`).split('\n') ?? []);
  if (rows.length === 0) throw new Stop(`docs/benchmarks.md has no table below ${heading}`);
  return rows;
}

/** The rows of the first table in these lines. */
function rowsOf(lines) {
  const first = lines.findIndex((each) => each.startsWith('|'));
  if (first < 0) return [];
  const after = lines.findIndex((each, index) => index > first && !each.startsWith('|'));
  // A pipe in a cell has a backslash before it.
  const cellsOf = (row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.replaceAll(/\\(?=\|)|[`*]/g, '').trim());
  const [head, , ...rows] = lines.slice(first, after < 0 ? undefined : after).map(cellsOf);
  return rows.map(([name, ...cells]) => ({ name, cells: new Map(cells.map((cell, column) => [head[column + 1], cell])) }));
}
