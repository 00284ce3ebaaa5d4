// What ours is to reach, and whether it did in this run.

import { table } from '../lib/markdown.mjs';
import { median } from '../lib/numbers.mjs';
import { ControlMaster, PlainSsh } from './openssh.mjs';
import { Ours } from './ours.mjs';

const MIB = 2 ** 20;

/** Who is slower by no more is level. */
const LEVEL = 1.1;

/**
 * @param {import('./table.mjs').Section[]} sections loopback and 40 ms
 * @param {import('./table.mjs').Further} further
 * @param {{ near: { id: string, title: string }[], far: { id: string, title: string }[] }} columns
 */
export function goals([loopback, distant], further, { near, far }) {
  const { verdicts, perConnection, binaryBytes } = further;
  const behind = [...notFirst(loopback, [...near, ...far]), ...notFirst(distant, far)];
  const wrong = verdicts[0].verdicts.filter((one) => Object.keys(one.wrong).length > 0);
  const rows = [
    atLeast('exec, loopback', of(loopback, 'exec', ControlMaster) / ours(loopback, 'exec'), 6, '× ControlMaster'),
    atLeast('shell, loopback', of(loopback, 'exec', ControlMaster) / ours(loopback, 'shell'), 20, '× ControlMaster'),
    atMost('exec, 40 ms', ours(distant, 'exec'), 52, 'ms'),
    atMost('shell, 40 ms', ours(distant, 'shell'), 44, 'ms'),
    ...[
      [loopback, 'loopback', 0.25],
      [distant, '40 ms', 0.62],
    ].map(([section, where, goal]) =>
      atMost(
        `connect + first command, ${where}`,
        ours(section, 'connect') / of(section, 'connect', PlainSsh),
        goal,
        '× `ssh`',
      ),
    ),
    atMost('start', ours(loopback, 'start'), 4, 'ms'),
    atMost('idle memory', ours(loopback, 'memory') / MIB, 6.4, 'MiB'),
    atMost(`each of ${perConnection.count} further idle connections`, perConnection.bytes / 1e3, 100, 'kB'),
    atMost('the program', binaryBytes / 1e6, 8.5, 'MB'),
    [
      'first or level (within 10 %) in every column',
      behind.length > 0 ? `behind in ${behind.join('; ')}` : '',
      met(behind.length === 0),
    ],
    ...fileRows([loopback, distant], further),
    ['no wrong answer', wrong.map(({ title }) => title).join('; '), met(wrong.length === 0)],
  ];
  return table(['goal', 'reached', ''], rows, false);
}

/** The goals of a run with files alone. */
export function fileGoals(sections, further) {
  return table(['goal', 'reached', ''], fileRows(sections, further), false);
}

/** The goals of a run with forwards alone. */
export function forwardGoals([near, far]) {
  const speed = ({ results: { medians } }, id) => medians[id].ssh / medians[id].ours;
  const { first } = far.results.medians;
  const { streams, kills } = near.results;
  const rows = [
    ...['down', 'up'].flatMap((id) => [
      atLeast(`${id}, loopback`, speed(near, id), 1, '× `ssh -L`'),
      atLeast(`${id}, 40 ms`, speed(far, id), 1.3, '× `ssh -L`'),
    ]),
    atMost('time to first byte, 40 ms', first.ours / first.ssh, 1.05, '× `ssh -L`'),
    atLeast('streams at once that were whole', streams.whole, streams.count, ''),
    atMost('`ssh_exec` meanwhile', streams.meanwhileMs / streams.idleMs, 2, '× idle'),
    atMost('requests lost after a reconnect', kills.lost, 0, ''),
    atMost('wrong lists', kills.wrongLists, 0, ''),
  ];
  return table(['goal', 'reached', ''], rows, false);
}

/** The goals of many at once. */
export function manyGoals({ fanOut, upload, follow }) {
  const rows = [
    atMost(`a command for ${fanOut.count} hosts`, fanOut.allMs / fanOut.oneMs, 2, '× the slowest host'),
    atMost(`memory with ${fanOut.count} hosts`, fanOut.bytes / 1e6, 60, 'MB'),
    atLeast(`hosts of ${upload.count} with the whole file`, upload.whole, upload.count, ''),
    atMost('an upload to all of them', upload.ms / upload.scpMs, 1, '× `scp`'),
    atLeast('lines that are followed', follow.lines / (follow.ms / 1000) / 1000, 99, 'thousand a second'),
    atMost('lines that are lost', follow.lost, 0, ''),
  ];
  return table(['goal', 'reached', ''], rows, false);
}

/** The goals of what the settings cost. */
export function settingsGoals({ exec, hook, verify }) {
  const rows = [
    atMost('`ssh_exec`, growth by an audit log', exec.audit - exec.none, 0.1, 'ms'),
    atMost('decision of the hook, beyond the start of the process', hook.hookMs - hook.versionMs, 5, 'ms'),
    atMost(`check of ${verify.calls.toLocaleString('en')} calls`, verify.ms / 1000, 1, 's'),
  ];
  return table(['goal', 'reached', ''], rows, false);
}

function fileRows([loopback, distant], { hostSearchMs, memoryAfterFiles }) {
  // The host's own program takes as long wherever it is asked from.
  const search = (section) => ours(section, 'search') / (hostSearchMs + 2 * section.line.measured.roundTripMs);
  const ownSearch = "× the host's own search and 2 round trips";
  return [
    atMost('read 2,000 lines, loopback', ours(loopback, 'read'), 3, 'ms'),
    atMost('read 2,000 lines, 40 ms', ours(distant, 'read'), 135, 'ms'),
    atMost('edit one line, loopback', ours(loopback, 'edit'), 10, 'ms'),
    atMost('edit one line, 40 ms', ours(distant, 'edit'), 260, 'ms'),
    atMost('the end of 10 GB, 40 ms', ours(distant, 'tail'), 175, 'ms'),
    atMost('search, loopback', search(loopback), LEVEL, ownSearch),
    atMost('search, 40 ms', search(distant), LEVEL, ownSearch),
    atMost('memory that work on files adds', memoryAfterFiles / 1e6, 8, 'MB'),
  ];
}

/** The columns in which somebody else, whose answers were complete, is better. */
function notFirst({ title, results }, columns) {
  return columns.flatMap(({ id, title: what }) => {
    const all = [...(results.get(id) ?? [])].filter(
      ([, result]) => result && !result.why && !result.failed && !result.cut,
    );
    const mine = all.find(([name]) => name === Ours.title)?.[1];
    const [best] = all.sort(([, one], [, other]) => middle(one) - middle(other));
    if (!best) return [];
    return mine && middle(mine) <= middle(best[1]) * LEVEL ? [] : [`${what}, ${title} (first: ${best[0]})`];
  });
}

function ours(section, id) {
  return of(section, id, Ours);
}

function of({ results }, id, Kind) {
  return middle(results.get(id).get(Kind.title));
}

function middle(result) {
  return result?.values.length > 0 ? median(result.values) : NaN;
}

function atLeast(what, reached, goal, unit) {
  return [`${what}: at least ${goal} ${unit}`, `${reached.toFixed(2)} ${unit}`, met(reached >= goal)];
}

function atMost(what, reached, goal, unit) {
  return [`${what}: at most ${goal} ${unit}`, `${reached.toFixed(2)} ${unit}`, met(reached <= goal)];
}

function met(yes) {
  return yes ? 'met' : '**not met**';
}
