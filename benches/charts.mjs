// `node benches/charts.mjs`: draws the charts of docs/pictures from the tables in docs/benchmarks.md; it measures nothing.
//
//   node benches/charts.mjs --check    writes nothing; a chart that is not that of the tables is a failure

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { card, line } from '../scripts/lib/svg.mjs';
import { Stop, fail, root } from '../scripts/lib/repository.mjs';

const FOLDER = join(root, 'docs', 'pictures');
const OURS = 'mcp-ssh-sessions';
const BENCH = '<!-- npm run bench -- --write: begin -->';
const TRANSFER = '<!-- npm run bench:transfer -- --write: begin -->';

const WIDTH = 640;
const ROW = 24;
const HEAD = 34;
/** Where bars begin and how long they are at most; the rest is names on the left and numbers on the right. */
const [LEFT, LONGEST] = [190, 335];

/** The charts by the names of their files. */
const CHARTS = {
  'bench-commands': {
    title: 'Time of a command over 40 ms, and right answers: mcp-ssh-sessions beside ssh, ControlMaster and MCP servers',
    panels: (page) => [
      panel('One command, round trip 40 ms (less is better)', times(page, '### 40 ms', 'exec, p50 / p99', 'shell, p50 / p99')),
      panel('Right answers (more is better)', shares(page, '### Loopback', 'right answers')),
    ],
  },
  'bench-loopback': {
    title: 'Time of a command over loopback',
    panels: (page) => [
      panel('One command, loopback (less is better)', times(page, '### Loopback', 'exec, p50 / p99', 'shell, p50 / p99')),
    ],
  },
  'bench-transfers': {
    title: 'Transfers over 40 ms: mcp-ssh-sessions beside sftp, scp, rsync and tar',
    panels: (page) => [
      panel('1 GiB up, round trip 40 ms (more is better)', speeds(page, '1 GiB up', 'MB/s')),
      panel('10,000 files of 1 KiB up, round trip 40 ms (more is better)', speeds(page, '10,000 files up', 'files/s')),
    ],
  },
};

/**
 * Draws the charts, or checks that they are those of the tables.
 *
 * @param {boolean} write
 * @returns {string} what there was to draw
 */
export function charts(write) {
  const page = readFileSync(join(root, 'docs', 'benchmarks.md'), 'utf8');
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, { title, panels }] of Object.entries(CHARTS)) {
    const path = join(FOLDER, `${name}.svg`);
    const wanted = draw(title, panels(page));
    if (existsSync(path) && readFileSync(path, 'utf8') === wanted) continue;
    if (!write) throw new Stop(`${name}.svg is not the chart of docs/benchmarks.md; run node benches/charts.mjs`);
    writeFileSync(path, wanted);
  }
  return `${Object.keys(CHARTS).length} from docs/benchmarks.md`;
}

/** @typedef {{ name: string, value: number, text: string }} Bar */

function panel(title, bars) {
  return { title, bars };
}

/**
 * The medians of commands in a channel of their own, or in a shell where a server has nothing else.
 *
 * @returns {Bar[]}
 */
function times(page, heading, ...columns) {
  return tableAfter(page, BENCH, heading).flatMap((row) => {
    const column = columns.find((each) => /\d/.test(row.cells.get(each) ?? ''));
    const value = Number(row.cells.get(column)?.split(' / ')[0]);
    const kind = column === columns[0] ? '' : ' (shell)';
    return Number.isNaN(value) ? [] : [{ name: row.name, value, text: `${value} ms${kind}` }];
  });
}

/** Cells such as `12 of 14`. @returns {Bar[]} */
function shares(page, heading, column) {
  return tableAfter(page, BENCH, heading).map(({ name, cells }) => {
    const [right, asked] = cells.get(column).split(' of ').map(Number);
    return { name, value: right / asked, text: `${right} of ${asked}` };
  });
}

/** Cells such as `9.9 s · 108 MB/s · **2.35 ×**`. @returns {Bar[]} */
function speeds(page, column, unit) {
  return tableAfter(page, TRANSFER, '### 40 ms').flatMap(({ name, cells }) => {
    const speed = cells.get(column).match(new RegExp(`([\\d.,]+) ${unit}`))?.[1];
    return speed ? [{ name, value: Number(speed.replaceAll(',', '')), text: `${speed} ${unit}` }] : [];
  });
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

function draw(title, panels) {
  const body = [];
  let y = 16;
  for (const { title: name, bars } of panels) {
    body.push(line(20, y + 16, 15, 'text strong', name));
    y += HEAD;
    const longest = Math.max(...bars.map(({ value }) => value));
    for (const { name: who, value, text } of bars) {
      const isOurs = who.startsWith(OURS);
      const length = Math.max(2, Math.round((value / longest) * LONGEST));
      body.push(line(LEFT - 10, y + 13, 13, isOurs ? 'text strong' : 'muted', who.replace(`${OURS}, `, ''), 'end'));
      body.push(`<rect class="${isOurs ? 'accent' : 'bar'}" x="${LEFT}" y="${y}" width="${length}" height="17" rx="3"/>`);
      body.push(line(LEFT + length + 8, y + 13, 13, isOurs ? 'text strong' : 'muted', text));
      y += ROW;
    }
    y += 12;
  }
  return card({ width: WIDTH, height: y + 4, title, body });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(charts(!process.argv.includes('--check')));
  } catch (error) {
    fail('charts', error);
  }
}
