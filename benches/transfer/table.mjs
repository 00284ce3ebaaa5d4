// What the bench has found, in Markdown.

import { factor, mebibytes, megabytes, round, table, time } from '../lib/markdown.mjs';

/** Where a report goes in docs/benchmarks.md. */
export const BEGIN = '<!-- npm run bench:transfer -- --write: begin -->';
export const END = '<!-- end -->';

/** What ours is to reach beside the others: so many times as fast. */
const GOALS = [
  { kind: 'file', roundTripMs: 0, peer: 'sftp', factor: 1.3 },
  { kind: 'file', roundTripMs: 40, peer: 'sftp', factor: 2.5 },
  { kind: 'tree', roundTripMs: 0, peer: 'scp -r', factor: 10 },
  { kind: 'tree', roundTripMs: 40, peer: 'scp -r', factor: 300 },
  ...['tar | ssh', 'rsync -a'].flatMap((peer) => [
    { kind: 'tree', roundTripMs: 0, peer, factor: 1.5 },
    { kind: 'tree', roundTripMs: 40, peer, factor: 1.2 },
  ]),
];

/** Memory may grow by so much while a file of any size goes. */
const MEMORY = 32 * 2 ** 20;

/**
 * @typedef {object} Task
 * @property {'file' | 'tree'} kind
 * @property {'up' | 'down'} direction
 * @property {string} title
 * @property {import('./files.mjs').Source} whole
 * @property {import('./contest.mjs').Result[]} results ours first
 *
 * @typedef {object} Section
 * @property {string} title
 * @property {number} roundTripMs
 * @property {import('../lib/lines.mjs').Line} line
 * @property {{ name: string, ms: number }[]} connects what a connection takes
 * @property {Task[]} tasks
 * @property {{ idle?: number, peak?: number }} memory ours
 */

/**
 * @param {string[]} facts what was measured, with what
 * @param {Section[]} sections
 */
export function report(facts, sections) {
  const parts = [
    facts.map((fact) => `- ${fact}`).join('\n'),
    ...sections.flatMap(sectionOf),
    '### Goals',
    goals(sections),
  ];
  return `${parts.join('\n\n')}\n`;
}

function sectionOf({ title, line, connects, tasks, memory }) {
  const names = tasks[0].results.map(({ name }) => name);
  const rows = names.map((name, row) => [
    row === 0 ? `**${name}**` : row === 1 ? name : `\`${name}\``.replace('|', '\\|'),
    ...tasks.map((task) => cell(task, row)),
  ]);
  const { roundTripMs, bytesPerSecond } = line.measured;
  const [one, four] = bytesPerSecond.map(megabytes);
  const remarks = [
    `Line: ${line.how}; round trip ${roundTripMs.toFixed(1)} ms; without SSH it carries ${one} over one connection, ` +
      `${four} over four.`,
    `A connection takes ${connects.map(({ name, ms }) => `${name} ${time(ms)}`).join(', ')}.`,
  ];
  const results = tasks.flatMap((task) => task.results);
  const spread = Math.max(...results.map(({ spread }) => spread ?? 1));
  if (spread > 1) remarks.push(`Of one transfer the slowest round took ${factor(spread)} the quickest at most.`);
  if (results.some(({ fromPart }) => fromPart)) {
    remarks.push('≈: too slow for all of it; computed from a hundredth of the files and from a single one.');
  }
  if (memory.peak) {
    const [idle, peak] = [memory.idle, memory.peak].map(mebibytes);
    remarks.push(`Memory of mcp-ssh-sessions: ${idle} before, at most ${peak} while the file went.`);
  }
  return [
    `### ${title[0].toUpperCase()}${title.slice(1)}`,
    table(['', ...tasks.map((task) => task.title)], rows, true),
    remarks.map((remark) => `- ${remark}`).join('\n'),
  ];
}

/** The time, the rate, and how many times as long as ours that is. */
function cell({ kind, whole, results }, row) {
  const { ms, fromPart, refused } = results[row];
  if (refused) return 'not supported';
  const rate = kind === 'file' ? megabytes((whole.bytes / ms) * 1000) : `${round((whole.files / ms) * 1000)} files/s`;
  const ours = results[0];
  const ratio = row > 1 && !ours.refused ? ` · **${factor(ms / ours.ms)}**` : '';
  return `${fromPart ? '≈ ' : ''}${time(ms)} · ${rate}${ratio}`;
}

function goals(sections) {
  const rows = sections.flatMap(({ title, roundTripMs, tasks, memory }) => [
    ...tasks.flatMap((task) =>
      GOALS.filter((goal) => goal.kind === task.kind && goal.roundTripMs === roundTripMs).map((goal) => {
        const [ours, warm] = task.results;
        const peer = task.results.find(({ name }) => name === goal.peer);
        const what = `${task.title}, ${title}: ${factor(goal.factor)} \`${goal.peer}\``.replace('|', '\\|');
        if (ours.refused || peer.refused) return [what, '', 'not met: not supported'];
        const reached = peer.ms / ours.ms;
        const beside = `${factor(reached)} (connected before: ${factor(peer.ms / warm.ms)})`;
        return [what, beside, reached >= goal.factor ? 'met' : '**not met**'];
      }),
    ),
    ...(memory.peak
      ? [
          [
            `memory for a file, ${title}: grows by ${mebibytes(MEMORY)} at most`,
            mebibytes(memory.peak - memory.idle),
            memory.peak - memory.idle <= MEMORY ? 'met' : '**not met**',
          ],
        ]
      : []),
  ]);
  return table(['at least', 'reached', ''], rows, false);
}
