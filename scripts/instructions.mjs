// `npm run instructions`: counts the instructions of the work that every command or connection takes, under valgrind, and
// compares them with `benches/instructions.json`. The check does the same. A time depends on what else the machine does,
// a number of instructions hardly does.
//
// The counts are those of the development build, which the tests have made before: our own code is not optimised there.
// They depend on the compiler and the C library, which the baseline names; with others nothing is compared.
//
//   node scripts/instructions.mjs            compares
//     --write                                writes the counts of this machine as the baseline
//     --only CASE                            one case

import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, needCargo } from './lib/cargo.mjs';
import { needProgram } from './lib/programs.mjs';
import { Stop, fail, root, seconds } from './lib/repository.mjs';

const BASELINE = join(root, 'benches', 'instructions.json');
/** What callgrind has written of the last run, for callgrind_annotate. */
const FOLDER = join(root, 'target', 'instructions');

/**
 * The cases of `benches/instructions.rs`. Each is run `few` times and `many` times: the difference leaves out the start of
 * the program, and the connection. `tolerance` is the part of the baseline by which a count may grow. The pure cases do
 * not vary at all. The whole call varies by 1 % or 2 %, as its tasks are woken by processes, pipes and sockets.
 */
const CASES = {
  decoder: { few: 0, many: 1, tolerance: 0.02 },
  decoder_marks: { few: 0, many: 1, tolerance: 0.02 },
  capture: { few: 0, many: 1, tolerance: 0.02 },
  edit: { few: 0, many: 1, tolerance: 0.02 },
  known_hosts: { few: 0, many: 1, tolerance: 0.02 },
  known_hosts_hashed: { few: 0, many: 1, tolerance: 0.02 },
  ssh_exec: { few: 5, many: 45, tolerance: 0.05 },
};

/**
 * Compares the counts with the baseline.
 *
 * @returns {Promise<string | undefined>} what is to be said of it, such as why nothing was compared; a Stop if a count
 * has grown
 */
export async function instructions() {
  const baseline = JSON.parse(readFileSync(BASELINE, 'utf8'));
  const other = differences(baseline.environment);
  if (other) return `SKIPPED, the baseline is of another environment: ${other}`;

  const counts = await countAll(Object.keys(CASES));
  const grown = [];
  const shrunk = [];
  for (const [name, count] of Object.entries(counts)) {
    const before = baseline.instructions[name];
    if (before === undefined) throw new Stop(`the baseline lacks ${name}; ${ACCEPT}`);
    const change = count / before - 1;
    const { tolerance } = CASES[name];
    if (change > tolerance) grown.push(`${name}: ${number(count)}, ${percent(change)} more than ${number(before)} (allowed: ${percent(tolerance)})`);
    if (change < -tolerance) shrunk.push(`${name} by ${percent(-change)}`);
  }

  if (grown.length > 0) {
    const [first] = grown[0].split(':');
    throw new Stop(
      `these take more instructions than the baseline:\n  ${grown.join('\n  ')}\n` +
        `What takes them: callgrind_annotate ${join(FOLDER, `${first}-${CASES[first].many}.out`)}\nIf that is meant: ${ACCEPT}`,
    );
  }
  return shrunk.length > 0 ? `fewer than the baseline: ${shrunk.join(', ')}; ${ACCEPT}` : undefined;
}

const ACCEPT = 'npm run instructions -- --write makes a new baseline, to be committed with the reason';

/** Writes the counts as the baseline. */
async function write() {
  const found = { environment: environment(), instructions: await countAll(Object.keys(CASES)) };
  writeFileSync(BASELINE, `${JSON.stringify(found, undefined, 2)}\n`);
  console.log(`written to ${BASELINE}`);
}

/** What the counts depend on besides our code. */
function environment() {
  const rustc = words('rustc', '-vV');
  return {
    rustc: /^release: (.*)$/m.exec(rustc)?.[1],
    target: /^host: (.*)$/m.exec(rustc)?.[1],
    libc: words('getconf', 'GNU_LIBC_VERSION'),
    valgrind: process.platform === 'linux' ? words(needProgram('valgrind', 'valgrind', 'the package valgrind'), '--version') : '',
    // Searches and copies are done with it where it is there.
    avx2: /^flags\s*:.*\bavx2\b/m.test(words('cat', '/proc/cpuinfo')),
  };
}

/** How this environment differs from that of the baseline; empty if it does not. */
function differences(wanted) {
  const here = environment();
  const names = Object.keys(here).filter((name) => here[name] !== wanted[name]);
  return names.map((name) => `${name} ${here[name] || '–'} instead of ${wanted[name]}`).join(', ');
}

/** The instructions that each case takes once. */
async function countAll(names) {
  const program = build(['--bench', 'instructions']).get('instructions');
  const valgrind = needProgram('valgrind', 'valgrind', 'the package valgrind');
  mkdirSync(FOLDER, { recursive: true });
  const counts = {};
  for (const name of names) {
    const start = Date.now();
    const { few, many } = CASES[name];
    const [less, more] = await Promise.all([few, many].map((times) => count(valgrind, program, name, times)));
    counts[name] = Math.round((more - less) / (many - few));
    console.log(`  ${name.padEnd(20)} ${number(counts[name]).padStart(12)}  ${seconds(Date.now() - start)}`);
  }
  return counts;
}

/** The instructions of the whole program, with all its threads and without the programs that it starts. */
async function count(valgrind, program, name, times) {
  const out = join(FOLDER, `${name}-${times}.out`);
  const args = ['--tool=callgrind', `--callgrind-out-file=${out}`, program, name, String(times)];
  const [error, stderr] = await new Promise((resolve) => {
    execFile(valgrind, args, { maxBuffer: 1 << 26 }, (error, _, stderr) => resolve([error, stderr]));
  });
  const total = /Collected : (\d+)/.exec(stderr)?.[1];
  if (error || !total) throw new Stop(`${name} failed under valgrind: ${stderr.trim().split('\n').slice(-20).join('\n')}`);
  return Number(total);
}

function words(program, ...args) {
  const { stdout } = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  return stdout?.trim() ?? '';
}

function number(count) {
  return count.toLocaleString('en');
}

function percent(part) {
  return `${(part * 100).toFixed(1)} %`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { values } = parseArgs({ options: { write: { type: 'boolean' }, only: { type: 'string' } } });
    if (values.only && !CASES[values.only]) throw new Stop(`the cases are ${Object.keys(CASES).join(', ')}`);
    needCargo();
    if (values.write) await write();
    else if (values.only) await countAll([values.only]);
    else console.log((await instructions()) ?? 'no more than the baseline');
  } catch (error) {
    fail('instructions', error);
  }
}
