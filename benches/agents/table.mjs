// What the bench has found, in Markdown.

import { table } from '../lib/markdown.mjs';
import { everyday } from './tasks/everyday.mjs';

/** Where a report goes in docs/benchmarks.md. */
export const BEGIN = '<!-- npm run bench:agents -- --write: begin -->';
export const END = '<!-- end -->';

/** Goals for the thirteen tasks of every day, without the definitions. */
const GOALS = { calls: 14, tokens: 3000 };
/** For the task that finds, changes and checks a line. */
const EDIT = { id: 'find-edit', calls: 2, characters: 900 };

/**
 * @typedef {object} Outcome of a task
 * @property {import('./agent.mjs').Counts} counts
 * @property {string} [problem] why the end state is not as wanted
 *
 * @typedef {object} Column of a tool set
 * @property {string} id
 * @property {string} title
 * @property {number} definitionTokens
 * @property {Map<string, Outcome>[]} lines by task, for each line
 * @property {string} [absent] why there are no outcomes
 */

/**
 * @param {string[]} facts
 * @param {import('./tasks/index.mjs').Task[]} tasks
 * @param {Column[]} columns
 * @param {string[]} lineTitles
 */
export function report(facts, tasks, columns, lineTitles) {
  const present = columns.filter(({ absent }) => !absent);
  const sums = (title, some) => [title, ...present.map((column) => sumOf(column, some))];
  const first = tasks.filter((task) => everyday.includes(task));
  const rest = tasks.filter((task) => !everyday.includes(task));
  const rows = [
    ...tasks.map((task) => [task.title, ...present.map(({ lines }) => cell(lines[0].get(task.id)))]),
    ...(first.length > 0 ? [sums('**the tasks of every day**', first)] : []),
    ...(rest.length > 0 ? [sums('**the further tasks**', rest)] : []),
    ['definitions and instructions, tokens', ...present.map(({ definitionTokens }) => count(definitionTokens))],
    ['turns for the search of tools', ...present.map(({ definitionTokens }) => (definitionTokens > 0 ? '1' : '0'))],
    ...lineTitles.map((title, line) => [`seconds, ${title}`, ...present.map(({ lines }) => seconds(lines[line], tasks))]),
  ];
  const parts = [
    [...facts, ...columns.filter(({ absent }) => absent).map(({ title, absent }) => `${title} is left out: ${absent}`)]
      .map((fact) => `- ${fact}`)
      .join('\n'),
    'calls · turns · tokens written + read',
    table(['', ...present.map(({ title }) => title)], rows, true),
    problems(present, tasks, lineTitles),
    goals(present[0], first),
  ];
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

function cell({ counts, problem }) {
  return problem ? 'no' : numbers(counts);
}

/** Tasks that were not done count as nothing: their number is named instead. */
function sumOf({ lines: [outcomes] }, tasks) {
  const done = tasks.map(({ id }) => outcomes.get(id)).filter(({ problem }) => !problem);
  const total = (name) => done.reduce((sum, { counts }) => sum + counts[name], 0);
  const names = ['calls', 'turns', 'written', 'read'];
  const sum = numbers(Object.fromEntries(names.map((name) => [name, total(name)])));
  return done.length < tasks.length ? `${sum} (${done.length} of ${tasks.length})` : sum;
}

function numbers({ calls, turns, written, read }) {
  return `${calls} · ${turns} · ${count(written)} + ${count(read)}`;
}

/** The time of all tasks that were done, but for those that last as long as a program on the host. */
function seconds(outcomes, tasks) {
  const timed = tasks.filter(({ slow }) => !slow);
  const done = timed.filter(({ id }) => !outcomes.get(id).problem);
  const sum = (done.reduce((total, { id }) => total + outcomes.get(id).counts.ms, 0) / 1000).toFixed(2);
  return done.length < timed.length ? `${sum} (${done.length} of ${timed.length})` : sum;
}

function problems(columns, tasks, lineTitles) {
  const lines = columns.flatMap(({ title, lines: all }) =>
    all.flatMap((outcomes, line) =>
      tasks
        .filter(({ id }) => outcomes.get(id).problem)
        .map(({ id, title: what }) => `- ${title}, ${lineTitles[line]}, ${what}: ${outcomes.get(id).problem}`),
    ),
  );
  return lines.length > 0 ? `What was not done:\n\n${lines.join('\n')}` : '';
}

/** Those of the tasks that were done; of the tasks of every day if all were. */
function goals(column, tasks) {
  if (column?.id !== 'ours') return '';
  const [outcomes] = column.lines;
  const total = (name) => tasks.reduce((sum, task) => sum + outcomes.get(task.id).counts[name], 0);
  const row = (what, reached, goal) => [
    `${what}: at most ${count(goal)}`,
    count(reached),
    reached <= goal ? 'met' : '**not met**',
  ];
  const rows = [];
  if (tasks.length === everyday.length && tasks.every(({ id }) => !outcomes.get(id).problem)) {
    rows.push(row('calls of the tasks of every day', total('calls'), GOALS.calls));
    rows.push(row('tokens of the tasks of every day', total('written') + total('read'), GOALS.tokens));
  }
  const edit = outcomes.get(EDIT.id);
  if (edit && !edit.problem) {
    rows.push(row('calls to find, change and check a line', edit.counts.calls, EDIT.calls));
    rows.push(row('characters of the answers to them', edit.counts.characters, EDIT.characters));
  }
  return rows.length > 0 ? table(['goal', 'reached', ''], rows, false) : '';
}

function count(number) {
  return number.toLocaleString('en');
}
