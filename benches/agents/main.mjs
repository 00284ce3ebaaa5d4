// `npm run bench:agents`: what everyday work on remote hosts costs an agent, by tool set: calls, turns, tokens and time,
// and whether the work was done. Each set follows the shortest honest plan for each task, against real sshds. Everything
// it needs it makes, and removes; the other servers are installed into target/, once. For Linux and macOS; as root on
// Linux the line with a delay is TCP between two network namespaces, else a proxy.
//
//   node benches/agents/main.mjs    builds the release program first
//     --binary PATH                 takes that program
//     --quick                       programs that take a minute take ten seconds
//     --seconds COUNT               or so many
//     --only LIST                   the tasks with these ids, such as edit,upload
//     --tools LIST                  the tool sets with these ids, such as ours,ssh
//     --show                        prints every call and the result
//     --write                       writes the table into docs/benchmarks.md

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { needProgram } from '../../scripts/lib/programs.mjs';
import { Stop, fail, seconds } from '../../scripts/lib/repository.mjs';
import { scratchFolder } from '../../scripts/lib/scratch.mjs';
import { distant, loopback } from '../lib/lines.mjs';
import { binaryOf, commandLine, machine, versions, write } from '../lib/run.mjs';
import { Agent } from './agent.mjs';
import { Ours } from './sets/ours.mjs';
import { peers } from './sets/peers.mjs';
import { ControlMaster, Shell } from './sets/shell.mjs';
import { BEGIN, END, report } from './table.mjs';
import { planOf, tasks as allTasks } from './tasks/index.mjs';
import { tokenizer } from './tokens.mjs';
import { World } from './world.mjs';

const SETS = [Ours, Shell, ControlMaster, ...peers];
const LINES = [
  { title: '0 ms', roundTripMs: 0, open: loopback },
  { title: '40 ms', roundTripMs: 40, open: () => distant(40) },
];
/** How long the build and the log run. */
const SLOW_SECONDS = { full: 60, quick: 10 };
/** Longer than the slowest task. */
const LIMIT_MS = 150_000;

const start = Date.now();
const scratch = scratchFolder('agents');

try {
  const options = {
    binary: { type: 'string' },
    quick: { type: 'boolean' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    tools: { type: 'string' },
    show: { type: 'boolean' },
    write: { type: 'boolean' },
  };
  const { values } = parseArgs({ options });
  if (values.write && (values.only || values.tools)) {
    throw new Stop('--write is for all of it: no --only, no --tools');
  }
  const tasks = allTasks.filter(({ id }) => values.only?.split(',').includes(id) ?? true);
  const kinds = SETS.filter(({ id }) => values.tools?.split(',').includes(id) ?? true);
  if (tasks.length === 0 || kinds.length === 0) throw new Stop('there is no such task or tool set');
  const programs = ['ssh', 'scp', 'ssh-keygen', 'ssh-keyscan'];
  for (const program of programs) needProgram(program, 'openssh-client');
  const sshd = needProgram('sshd', 'openssh-server');
  Ours.binary = binaryOf(values.binary);
  const context = {
    sshd,
    tasks,
    tokens: await tokenizer(),
    slowSeconds: Number(values.seconds ?? (values.quick ? SLOW_SECONDS.quick : SLOW_SECONDS.full)),
    show: values.show,
  };

  const columns = kinds.map(({ id, title }) => ({ id, title, definitionTokens: 0, lines: [] }));
  for (const [index, Kind] of kinds.entries()) {
    columns[index].absent = await problemOf(Kind.install());
  }
  for (const { title, roundTripMs, open } of LINES) {
    const line = { ...(await open()), roundTripMs };
    console.log(`\n── ${title}: ${line.how}`);
    for (const [index, column] of columns.entries()) {
      if (column.absent) continue;
      const folder = join(scratch, `${column.id}-${roundTripMs}`);
      column.absent = await problemOf(conversation(kinds[index], column, folder, line, context));
    }
  }

  const facts = [
    `${new Date().toISOString().slice(0, 10)}, \`${commandLine('bench:agents', values, ['quick', 'only', 'tools'])}\``,
    `${versions(Ours.binary, values)}; ${machine()}`,
    `one conversation for each tool set; a build and a log take ${context.slowSeconds} s, which is not in the seconds`,
  ];
  const results = report(facts, tasks, columns, LINES.map(({ title }) => title));
  console.log(`\n${results}\nDone in ${seconds(Date.now() - start)}.`);
  if (values.write) write(results, BEGIN, END);
  process.exit(0);
} catch (error) {
  fail('bench', error);
}

/** Carries out all tasks with a tool set, one after the other. */
async function conversation(Kind, column, folder, line, { sshd, tasks, tokens, slowSeconds, show }) {
  const world = await World.open(sshd, folder, line, slowSeconds);
  const set = new Kind(world);
  const outcomes = new Map();
  try {
    await set.open();
    const definitions = await set.definitions();
    column.definitionTokens = definitions ? tokens(definitions) : 0;
    for (const task of tasks) {
      const perform = async (tool, args) => {
        const result = await set.perform(tool, args);
        if (show) console.log(`\n> ${tool} ${JSON.stringify(args)}\n${result.text.trimEnd()}`);
        return result;
      };
      const agent = new Agent(perform, tokens, (text) => world.short(text));
      task.prepare?.(world);
      let problem = await problemOf(within(planOf(task, set)(agent, set, world)));
      problem ??= await problemOf((async () => check(task, world, agent.results.join('\n'), set))());
      problem &&= world.short(problem);
      outcomes.set(task.id, { counts: agent.counts, problem });
      const { calls, written, read, ms } = agent.counts;
      console.log(`  ${Kind.title}, ${task.id}: ${problem ?? `${calls} calls, ${written + read} tokens, ${Math.round(ms)} ms`}`);
    }
    column.lines.push(outcomes);
  } finally {
    await set.stop();
    world.close();
  }
}

function check(task, world, results, set) {
  const problem = task.check(world, results, set);
  if (problem) throw new Stop(problem);
}

/** The first line of what went wrong, if anything did. */
async function problemOf(work) {
  try {
    await work;
    return undefined;
  } catch (error) {
    // A file that a task should have made is not there, or an answer is no JSON.
    const expected = error instanceof Stop || error instanceof SyntaxError || error.code !== undefined;
    if (!expected) throw error;
    return error.message.trim().split('\n')[0];
  }
}

async function within(work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Stop(`no end in ${LIMIT_MS / 1000} s`)), LIMIT_MS);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
