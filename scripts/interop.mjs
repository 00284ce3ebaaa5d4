// `npm run interop`: other SSH servers, each installed from where it comes from, and how this program works with them beside
// plain `ssh`, `sftp` and `scp`. Every cell of the matrix is a look at content. For Debian and its kin, as root: accounts
// with other login shells exist only in a namespace of the server. It is no part of the check, because it needs the
// registries, a quarter of an hour, and programs that nothing else needs.
//
//   node scripts/interop.mjs                     builds the program first
//   node scripts/interop.mjs --binary PATH       takes that program
//   node scripts/interop.mjs --only NAME         only servers, or else only rows, of that name; may be given several times
//   node scripts/interop.mjs --write             writes the matrix into docs/interop.md; with --only, the lines of those servers

import { mkdirSync, writeFileSync, chmodSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { absentLines, matrix, remarks, write } from './interop/matrix.mjs';
import { Ours } from './interop/ours.mjs';
import { Plain } from './interop/plain.mjs';
import { rows } from './interop/rows.mjs';
import { servers } from './interop/servers/index.mjs';
import { posix, fits } from './interop/speech.mjs';
import { HOME, Stage } from './interop/stage.mjs';
import { judge } from './interop/verdict.mjs';
import { buildForDevelopment, needCargo } from './lib/cargo.mjs';
import { needProgram } from './lib/programs.mjs';
import { Stop, UNAVAILABLE, fail, seconds } from './lib/repository.mjs';
import { scratchFolder } from './lib/scratch.mjs';

/** A row that takes longer is shown with its time. */
const SLOW_MS = 5_000;

const scratch = scratchFolder('interop');

try {
  const { values } = parseArgs({
    options: { binary: { type: 'string' }, only: { type: 'string', multiple: true, default: [] }, write: { type: 'boolean' } },
  });
  if (process.platform !== 'linux' || process.getuid() !== 0) throw new Stop('it needs Linux, and root', UNAVAILABLE);
  const [chosen, asked] = choice(values.only);
  if (values.write && asked.length < rows.length) throw new Stop('--write needs all rows, and --only leaves out some', 2);
  needProgram('ssh', 'openssh-client');
  const binary = values.binary ? resolve(values.binary) : built();
  // Servers look for files of the account there, as the account.
  chmodSync(scratch, 0o711);
  const columns = [];
  for (const server of chosen) columns.push(await column(server, binary, asked));
  const names = asked.map(({ name }) => name);
  console.log(`\n${matrix(columns, names)}\n\n✓ right   – refused clearly, as by plain ssh   ✗ wrong`);
  for (const [title, lines] of [
    ['Wrong', remarks(columns, 'wrong')],
    ['Refused', remarks(columns, 'refused')],
    ['Not here', absentLines(columns)],
  ]) {
    if (lines.length > 0) console.log(`\n${title}:\n${lines.join('\n')}`);
  }
  if (values.write) write(columns, names, servers.map(({ name }) => name));
  process.exit(remarks(columns, 'wrong').length > 0 ? 1 : 0);
} catch (error) {
  fail('interop', error);
}

/** The servers and the rows that are asked for. */
function choice(names) {
  const named = (list) => list.filter(({ name }) => names.includes(name));
  const unknown = names.filter((name) => ![...servers, ...rows].some((one) => one.name === name));
  if (unknown.length > 0) {
    const known = [servers, rows].map((list) => list.map(({ name }) => name).join(', '));
    throw new Stop(`there is no ${unknown.join(', ')}; servers: ${known[0]}; rows: ${known[1]}`, 2);
  }
  return [servers, rows].map((list) => (named(list).length > 0 ? named(list) : list));
}

/** Runs the rows with one server. */
async function column(server, binary, asked) {
  const { name, speech = posix, folder: below = '' } = server;
  const start = Date.now();
  const cells = new Map();
  let stage;
  let ours;
  process.stdout.write(`${name}:`);
  try {
    stage = new Stage(join(scratch, slug(name)), slug(name), server.shell?.() ?? '/bin/bash');
    const local = join(stage.home, below || 'files');
    mkdirSync(local);
    writeFileSync(join(local, 'reached'), 'reached\n');
    stage.own();
    // A program that fails while it is set up is one that cannot be had.
    await server.start(stage).catch((error) => {
      throw error instanceof Stop ? error : new Stop(error.message.trim());
    });
    ours = await Ours.start(binary, stage);
    const plain = new Plain(stage);
    if (!(await plain.connects())) throw new Stop('plain ssh does not connect to it either');
    const execWorks = once(async () => {
      const { command, input, stdout } = speech.exec;
      return fits(stdout, (await plain.ssh([command], { input })).stdout.toString());
    });
    const host = { ours, plain, stage, speech, execWorks, local, folder: below || server.home?.(stage) || `${HOME}/files` };
    // Whatever is asked for, a session has to be there.
    if (!asked.some((row) => row.name === 'connect')) await ours.call('ssh_connect');
    for (const row of asked) {
      const begun = Date.now();
      const cell = await judge(await row.ours(host), () => row.plain(host));
      const took = Date.now() - begun;
      const word = cell.word === 'right' ? '' : ` ${cell.word.toUpperCase()}`;
      process.stdout.write(` ${row.name}${word}${took > SLOW_MS ? ` ${seconds(took)}` : ''}`);
      cells.set(row.name, cell);
    }
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    console.log(` not here: ${error.message}`);
    return { name, absent: error.message, cells };
  } finally {
    ours?.close();
    stage?.stop();
  }
  console.log(` (${seconds(Date.now() - start)})`);
  return { name, identification: stage.identification, cells };
}

function once(ask) {
  let answer;
  return () => (answer ??= ask());
}

function slug(name) {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replace(/-$/, '');
}

function built() {
  needCargo();
  return buildForDevelopment().program;
}
