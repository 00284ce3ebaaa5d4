// What the bench has found, in Markdown.

import { hostname, tmpdir } from 'node:os';
import { factor, mebibytes, megabytes, round, table, time } from '../lib/markdown.mjs';
import { median, percentile } from '../lib/numbers.mjs';
import { fileGoals, forwardGoals, goals, manyGoals, settingsGoals } from './goals.mjs';

/** Where a report goes in docs/benchmarks.md. */
export const BEGIN = '<!-- npm run bench -- --write: begin -->';
export const BEGIN_FORWARDS = '<!-- npm run bench -- --forward --write: begin -->';
export const BEGIN_SETTINGS = '<!-- npm run bench -- --settings --write: begin -->';
export const BEGIN_MANY = '<!-- npm run bench -- --many --write: begin -->';
export const END = '<!-- end -->';

/**
 * @typedef {object} Section
 * @property {string} title
 * @property {import('../lib/lines.mjs').Line} line
 * @property {Map<string, Map<string, import('./contest.mjs').Result | undefined>>} results by measure and contestant
 *
 * @typedef {object} Further
 * @property {{ title: string, verdicts: import('./examination.mjs').Verdict[] }[]} verdicts
 * @property {{ count: number, bytes: number }} perConnection
 * @property {number} binaryBytes
 * @property {number} treeFiles
 * @property {number} hostSearchMs the host's own search of the tree, without a connection
 * @property {number} memoryAfterFiles more than when idle, in bytes
 */

/** Of commands one after the other the slowest count, too. */
const latency = ({ values }) => `${round(median(values))} / ${round(percentile(values, 99))} ms`;
const whole = ({ values }) => time(median(values));

/** What is measured once, wherever the other side is. */
const NEAR = [
  { id: 'start', title: 'start', cell: whole },
  { id: 'memory', title: 'idle memory', cell: ({ values }) => mebibytes(median(values)) },
  { id: 'tools', title: '`tools/list`', cell: ({ values }) => `${round(median(values) / 1000)} kB` },
];

/** @param {number} mib what goes in bulk */
const columns = (mib) => [
  { id: 'connect', title: 'connect + first command', cell: whole },
  { id: 'exec', title: 'exec, p50 / p99', cell: latency },
  { id: 'shell', title: 'shell, p50 / p99', cell: latency },
  { id: 'parallel15', title: '15 at once', cell: whole },
  { id: 'parallel100', title: '100 at once', cell: whole },
  { id: 'output', title: `${mib} MiB of output`, cell: whole },
  { id: 'up', title: `${mib} MiB up`, cell: whole },
  { id: 'down', title: `${mib} MiB down`, cell: whole },
];

/** What is measured of files, of those that have a way to it. */
const fileColumns = (count) => [
  { id: 'read', title: 'read 2,000 lines, p50 / p99', cell: latency },
  { id: 'edit', title: 'edit one line, p50 / p99', cell: latency },
  { id: 'tail', title: 'last 100 lines of 10 GB, p50 / p99', cell: latency },
  { id: 'search', title: `search ${count.toLocaleString('en')} files`, cell: whole },
];

/**
 * @param {string[]} facts what was measured, with what
 * @param {Section[]} sections the first one is loopback
 * @param {Further} further
 * @param {{ mib: number }} sizes
 */
export function report(facts, sections, further, { mib }) {
  const measured = sections.flatMap((section, index) =>
    sectionOf(section, columns(mib), index === 0, further),
  );
  const parts = [
    facts.map((fact) => `- ${fact}`).join('\n'),
    ...measured,
    '### Right answers',
    answers(further.verdicts),
    wrongOnes(further.verdicts),
    '### Goals',
    goals(sections, further, { near: NEAR, far: columns(mib) }),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** The same for a run with files alone. */
export function reportOfFiles(facts, sections, further) {
  const wanted = fileColumns(further.treeFiles);
  const parts = [
    facts.map((fact) => `- ${fact}`).join('\n'),
    ...sections.flatMap((section) => [heading(section), fileTable(section, wanted), remarks(section, wanted)]),
    '### Goals',
    fileGoals(sections, further),
  ];
  return `${parts.join('\n\n')}\n`;
}

/**
 * The same for a run with forwards alone.
 *
 * @param {string[]} facts
 * @param {{ title: string, line: import('../lib/lines.mjs').Line, results: import('./forwards.mjs').ForwardResults }[]} sections
 * @param {{ forwardMib: number, streamMib: number }} sizes
 */
export function reportOfForwards(facts, sections, { forwardMib, streamMib }) {
  const speed = (ms) => megabytes((forwardMib * 2 ** 20 * 1000) / ms);
  const rows = sections.flatMap(({ title, results: { medians } }) => [
    ...['down', 'up'].map((id) => {
      const { ours, ssh } = medians[id];
      return [`${id}, ${title}`, speed(ours), speed(ssh), factor(ssh / ours)];
    }),
    [`first byte, ${title}`, time(medians.first.ours), time(medians.first.ssh), factor(medians.first.ours / medians.first.ssh)],
  ]);
  const { streams, kills } = sections[0].results;
  const { ms, sshMs } = streams;
  rows.push([`${streams.count} streams of ${streamMib} MiB at once, loopback`, time(ms), time(sshMs), factor(ms / sshMs)]);
  const parts = [
    facts.map((fact) => `- ${fact}`).join('\n'),
    table(['', '**ours**', '`ssh -L`', 'ours / `ssh -L`'], rows, true),
    [
      ...sections.map(({ title, line: { how, measured } }) => {
        const [speed] = measured.bytesPerSecond;
        return `- ${title}: ${how}; round trip ${measured.roundTripMs.toFixed(1)} ms, ${megabytes(speed)} without SSH.`;
      }),
      `- ${streams.count} streams at once: ${streams.whole} whole; \`ssh_exec\` took ` +
        `${time(streams.idleMs)} before and ${time(streams.meanwhileMs)} meanwhile (p50).`,
      `- ${kills.kills} kills of the link: ${kills.requests} requests, ${kills.lost} lost after a reconnect; the list was ` +
        `wrong ${kills.wrongLists} times.`,
    ].join('\n'),
    '### Goals of forwards',
    forwardGoals(sections),
  ];
  return `${parts.join('\n\n')}\n`;
}

/**
 * The same for many at once.
 *
 * @param {string[]} facts
 * @param {import('./many.mjs').ManyResults} results
 */
export function reportOfMany(facts, results) {
  const { fanOut, upload, follow } = results;
  const rows = [
    [`\`sleep 1\` on ${fanOut.count} hosts, connecting first`, time(fanOut.firstMs), time(fanOut.sshMs)],
    [`the same, connected before`, time(fanOut.allMs), '–'],
    ['the same on one host, connected before', time(fanOut.oneMs), '–'],
    [`${upload.mib} MiB to ${upload.count} hosts, connecting first`, time(upload.ms), time(upload.scpMs)],
  ];
  const perSecond = follow.lines / (follow.ms / 1000);
  const parts = [
    facts.map((fact) => `- ${fact}`).join('\n'),
    table(['', 'mcp-ssh-sessions, one call', '`ssh` or `scp`, 16 at a time'], rows, true),
    [
      `- Memory of mcp-ssh-sessions: at most ${mebibytes(fanOut.bytes)} with ${fanOut.count} hosts, ` +
        `${mebibytes(upload.bytes)} during the upload.`,
      `- ${follow.lines.toLocaleString('en')} lines of a job, ${round(perSecond)} a second, in ${follow.calls} calls of ` +
        `\`ssh_job\`: ${follow.lost} lost; the slowest call took ${time(Math.max(0, follow.slowestCallMs))} more than its wait.`,
    ].join('\n'),
    '### Goals of many at once',
    manyGoals(results),
  ];
  return `${parts.join('\n\n')}\n`;
}

/**
 * The same for what the settings cost.
 *
 * @param {string[]} facts
 * @param {import('./settings.mjs').SettingsResults} results
 */
export function reportOfSettings(facts, results) {
  const { exec, hook, verify } = results;
  const ms = (value) => `${value.toFixed(2)} ms`;
  const rows = [
    ['`ssh_exec` without a settings file', ms(exec.none)],
    ['`ssh_exec` with a settings file', ms(exec.rules)],
    ['`ssh_exec` with an audit log', ms(exec.audit)],
    ['`ssh_exec` with `required = true`', ms(exec.required)],
    ['`mcp-ssh-sessions hook`, the whole process', ms(hook.hookMs)],
    ['`mcp-ssh-sessions --version`, the whole process', ms(hook.versionMs)],
    [`\`mcp-ssh-sessions audit verify\` of ${verify.calls.toLocaleString('en')} calls`, ms(verify.ms)],
  ];
  const parts = [
    facts.map((fact) => `- ${fact}`).join('\n'),
    table(['', 'median'], rows, true),
    '### Goals of settings',
    settingsGoals(results),
  ];
  return `${parts.join('\n\n')}\n`;
}

function sectionOf(section, far, near, { verdicts, treeFiles }) {
  const wanted = near ? [...NEAR, ...far] : far;
  const files = fileColumns(treeFiles);
  const rows = verdicts.map(({ title: name, verdicts: all }, row) => [
    row === 0 ? `**${name}**` : name,
    ...(near ? [tally(all)] : []),
    ...wanted.map((column) => cell(section.results.get(column.id).get(name), column)),
  ]);
  return [
    heading(section),
    table(['', ...(near ? ['right answers'] : []), ...wanted.map((column) => column.title)], rows, true),
    fileTable(section, files),
    remarks(section, [...wanted, ...files]),
  ];
}

function heading({ title }) {
  return `### ${title[0].toUpperCase()}${title.slice(1)}`;
}

/** Only those that have such things. */
function fileTable({ results }, wanted) {
  const [first, ...others] = [...results.get('read')].filter(([, result]) => result).map(([name]) => name);
  const rows = [first, ...others].map((name) => [
    name === first ? `**${name}**` : name,
    ...wanted.map((column) => cell(results.get(column.id).get(name), column)),
  ]);
  return table(['files', ...wanted.map((column) => column.title)], rows, true);
}

function remarks({ line, results }, wanted) {
  const failures = wanted.flatMap(({ id, title: what }) =>
    [...results.get(id)]
      .filter(([, result]) => result?.why)
      .map(([name, { why }]) => `${name}, ${what}: ${short(why)}`),
  );
  const all = [
    `Line: ${line.how}; round trip ${line.measured.roundTripMs.toFixed(1)} ms.`,
    ...(failures.length > 0 ? [`Failed: ${failures.join('; ')}`] : []),
  ];
  return all.map((remark) => `- ${remark}`).join('\n');
}

function cell(result, column) {
  if (!result) return '–';
  if (result.why) return 'failed';
  return [
    column.cell(result),
    ...(result.failed ? [`${result.failed} failed`] : []),
    ...(result.cut ? ['cut off'] : []),
  ].join(', ');
}

function tally(verdicts) {
  const asked = verdicts.filter(({ ways }) => ways.length > 0);
  return `${asked.filter(({ wrong }) => Object.keys(wrong).length === 0).length} of ${asked.length}`;
}

function answers(contestants) {
  const [{ verdicts: questions }] = contestants;
  const rows = questions.map(({ title }, row) => [title, ...contestants.map(({ verdicts }) => mark(verdicts[row]))]);
  return table(['', ...contestants.map(({ title }) => title)], rows, false);
}

/** Where only one way is wrong, which. */
function mark({ ways, wrong }) {
  if (ways.length === 0) return '–';
  const bad = Object.keys(wrong);
  if (bad.length === 0) return '✓';
  return bad.length === ways.length ? '✗' : `✗ ${bad.join()}`;
}

function wrongOnes(contestants) {
  const lines = contestants.flatMap(({ title, verdicts }) => {
    const wrong = verdicts.flatMap(({ title: question, wrong }) =>
      Object.entries(wrong).map(([way, problem]) => `${question} (${way}): ${short(problem)}`),
    );
    return wrong.length > 0 ? [`- ${title}: ${wrong.join('; ')}`] : [];
  });
  return lines.length > 0 ? `What was wrong:\n\n${lines.join('\n')}` : 'Nothing was wrong.';
}

/** Others' words, in short, without what is of this machine alone. */
function short(text) {
  const general = text.replaceAll(hostname(), 'host').replaceAll(new RegExp(`${tmpdir()}[^\\s"]*`, 'g'), '…');
  return general.length > 100 ? `${general.slice(0, 100)}…` : general;
}
