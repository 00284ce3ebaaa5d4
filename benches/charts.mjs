// `node benches/charts.mjs`: draws the charts of docs/pictures from the tables in docs/benchmarks.md; it measures nothing.
//
//   node benches/charts.mjs --check    writes nothing; a chart that is not that of the tables is a failure

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Stop, fail, root } from '../scripts/lib/repository.mjs';
import { card, line } from '../scripts/lib/svg.mjs';
import {
  OURS,
  agentSeconds,
  agentTokens,
  fileTimes,
  forwardSpeeds,
  manyTimes,
  published,
  shares,
  speeds,
  times,
} from './lib/results.mjs';

const FOLDER = join(root, 'docs', 'pictures');

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
      panel('One command, round trip 40 ms (less is better)', times(page, '### 40 ms')),
      panel('Right answers (more is better)', shares(page)),
    ],
  },
  'bench-loopback': {
    title: 'Time of a command over loopback',
    panels: (page) => [
      panel('One command, loopback (less is better)', times(page, '### Loopback')),
    ],
  },
  'bench-transfers': {
    title: 'Transfers over 40 ms: mcp-ssh-sessions beside sftp, scp, rsync and tar',
    panels: (page) => [
      panel('1 GiB up, round trip 40 ms (more is better)', speeds(page, '1 GiB up', 'MB/s')),
      panel('10,000 files of 1 KiB up, round trip 40 ms (more is better)', speeds(page, '10,000 files up', 'files/s')),
    ],
  },
  'bench-files': {
    title: 'Work on remote files over 40 ms: mcp-ssh-sessions beside ssh and ControlMaster',
    panels: (page) => [
      panel('Read 2,000 lines, round trip 40 ms (less is better)', fileTimes(page, 'read')),
      panel('Edit one line, round trip 40 ms (less is better)', fileTimes(page, 'edit')),
      panel('Search a tree, round trip 40 ms (less is better)', fileTimes(page, 'search')),
    ],
  },
  'bench-forwards': {
    title: 'Speed of a forwarded port: mcp-ssh-sessions beside ssh -L',
    panels: (page) => [
      panel('Down, loopback (more is better)', forwardSpeeds(page, 'down, loopback')),
      panel('Up, loopback (more is better)', forwardSpeeds(page, 'up, loopback')),
      panel('Down, round trip 40 ms (more is better)', forwardSpeeds(page, 'down, 40 ms')),
      panel('Up, round trip 40 ms (more is better)', forwardSpeeds(page, 'up, 40 ms')),
    ],
  },
  'bench-many': {
    title: 'Many hosts at once: one call of mcp-ssh-sessions beside ssh and scp, 16 at a time',
    panels: (page) => [
      panel('A command of one second on many hosts (less is better)', manyTimes(page, /^sleep 1 on /)),
      panel('A file to many hosts (less is better)', manyTimes(page, / MiB to /)),
    ],
  },
  'bench-agents': {
    title: 'The work of an agent: seconds and tokens by tool set',
    panels: (page) => [
      panel('Seconds for all tasks, round trip 40 ms (less is better)', agentSeconds(page)),
      panel('Tokens for the tasks of every day, without definitions (less is better)', agentTokens(page)),
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
  const page = published();
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, { title, panels }] of Object.entries(CHARTS)) {
    const path = join(FOLDER, `${name}.svg`);
    const drawn = panels(page).filter(({ bars }) => bars.length > 0);
    // What has not been measured yet.
    if (drawn.length === 0) continue;
    const wanted = draw(title, drawn);
    if (existsSync(path) && readFileSync(path, 'utf8') === wanted) continue;
    if (!write) throw new Stop(`${name}.svg is not the chart of docs/benchmarks.md; run node benches/charts.mjs`);
    writeFileSync(path, wanted);
  }
  return `${Object.keys(CHARTS).length} from docs/benchmarks.md`;
}

function panel(title, bars) {
  return { title, bars };
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
