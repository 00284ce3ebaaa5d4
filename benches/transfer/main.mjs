// `npm run bench:transfer`: how fast files and trees go up and down, ours beside OpenSSH's programs, rsync and tar, in
// one run, over loopback and over a line with a round trip of 40 ms. Everything it needs it makes, and removes. For
// Linux and macOS; as root on Linux the line is TCP between two network namespaces, else a proxy.
//
//   node benches/transfer/main.mjs     builds the release program first; three quarters of an hour, 4 GB in TMPDIR
//     --binary PATH                    takes that program
//     --quick                          a small file, few of them, one round: a few minutes, and nothing to compare
//     --rounds N                       of which the median counts; default 3
//     --only TEXT                      the transfers whose title holds it, such as 'up' or '40 ms: 1 GiB'
//     --write                          writes the results into docs/benchmarks.md

import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { privateEnv } from '../../scripts/lib/daemon.mjs';
import { needProgram } from '../../scripts/lib/programs.mjs';
import { Stop, fail, seconds } from '../../scripts/lib/repository.mjs';
import { scratchFolder } from '../../scripts/lib/scratch.mjs';
import { startSshd } from '../../scripts/lib/sshd.mjs';
import { distant, loopback } from '../lib/lines.mjs';
import { medianOf } from '../lib/numbers.mjs';
import { binaryOf, commandLine, firstLine, machine, versions, write } from '../lib/run.mjs';
import { contest } from './contest.mjs';
import { makeSources } from './files.mjs';
import { Ours } from './ours.mjs';
import { cipher, needPeers, peers } from './peers.mjs';
import { BEGIN, END, report } from './table.mjs';

const NAME = 'mcp-ssh-sessions';
const HOST = 'bench';

/** Who would take longer than `limitMs` for the tree is given a part of it. */
const FULL = { mib: 1024, files: 10_000, rounds: 3, limitMs: 60_000 };
const QUICK = { mib: 64, files: 1_000, rounds: 1, limitMs: 10_000 };

const start = Date.now();
const scratch = scratchFolder('bench');

try {
  const options = {
    binary: { type: 'string' },
    quick: { type: 'boolean' },
    rounds: { type: 'string' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean' },
  };
  const { values } = parseArgs({ options });
  if (values.write && (values.quick || values.only)) throw new Stop('--write is for all of it: no --quick, no --only');
  const size = values.quick ? QUICK : FULL;
  const rounds = Number(values.rounds ?? size.rounds);
  if (!(Number.isInteger(rounds) && rounds > 0)) throw new Stop(`--rounds ${values.rounds}: a number from 1`);
  needPeers();
  const sshd = needProgram('sshd', 'openssh-server');
  const binary = binaryOf(values.binary);
  needRoom(3 * size.mib * 2 ** 20);

  const sources = makeSources(join(scratch, 'sources'), size);
  const folder = join(scratch, 'target');
  mkdirSync(folder);
  const wanted = ({ title }) => title.includes(values.only);
  const sections = [];
  for (const place of [
    { title: 'loopback', roundTripMs: 0, open: loopback },
    { title: '40 ms', roundTripMs: 40, open: () => distant(40) },
  ]) {
    const tasks = tasksOf(sources, size).filter(({ title }) => wanted({ title: `${place.title}: ${title}` }));
    if (tasks.length > 0) sections.push(await measured(place, tasks, { sshd, binary, folder, rounds, ...size }));
  }
  if (sections.length === 0) throw new Stop(`no transfer's title holds ${values.only}`);

  const results = report(facts(binary, values, rounds, sections[0].cipher), sections);
  console.log(`\n${results}\nDone in ${seconds(Date.now() - start)}.`);
  if (values.quick) console.log('A quick run compares nothing: the goals are about the full sizes.');
  if (values.write) write(results, BEGIN, END);
  // What is still waited for would keep it alive.
  process.exit(0);
} catch (error) {
  fail('bench', error);
}

function needRoom(bytes) {
  const { bavail, bsize } = statfsSync(scratch);
  if (bavail * bsize < bytes)
    throw new Stop(`no room for ${bytes / 1e9} GB in ${scratch}; TMPDIR names another folder`);
}

function tasksOf({ file, tree, part, one }, { mib, files }) {
  const sizes = mib >= 1024 ? `${mib / 1024} GiB` : `${mib} MiB`;
  return ['file', 'tree'].flatMap((kind) =>
    ['up', 'down'].map((direction) =>
      kind === 'file'
        ? { kind, direction, title: `${sizes} ${direction}`, whole: file }
        : { kind, direction, title: `${files.toLocaleString('en')} files ${direction}`, whole: tree, part, one },
    ),
  );
}

/** All tasks over one line. */
async function measured({ title, roundTripMs, open }, tasks, { sshd, binary, folder, rounds, limitMs }) {
  const line = await open();
  console.log(`\n── ${title}: ${line.how}`);
  const { near, far: prefix, address, reach } = line;
  const own = join(scratch, `line-${roundTripMs}`);
  mkdirSync(own);
  const { sshConfig } = await startSshd(sshd, join(own, 'sshd'), { host: HOST, address, prefix, reach });
  const env = { ...privateEnv(join(own, 'home')), MCP_SSH_CONFIG: sshConfig };
  const ours = await Ours.start([...near, binary], env, HOST);
  const contenders = [...ours.contenders(), ...peers(near, { sshConfig, host: HOST, scratch: own })];
  const connects = [
    { name: NAME, ms: await medianOf(3, contenders[0].connect) },
    { name: '`ssh`', ms: await medianOf(3, contenders.at(-1).connect) },
  ];
  for (const task of tasks) {
    console.log(`\n${title}: ${task.title}`);
    task.results = await contest(contenders, { ...task, folder }, { rounds, limitMs });
  }
  await ours.stop();
  const chosen = await cipher(near, sshConfig, HOST);
  return { title, roundTripMs, line, connects, tasks, memory: ours.memory, cipher: chosen };
}

function facts(binary, options, rounds, cipher) {
  const rsync = firstLine('rsync', '--version')
    .replace(/\s+protocol.*/, '')
    .replace(/\s+/g, ' ');
  const command = commandLine('bench:transfer', options, ['quick', 'rounds', 'only', 'write']);
  return [
    `${new Date().toISOString().slice(0, 10)}, \`${command}\``,
    `${versions(binary, options)}, ${rsync}, ${firstLine('tar', '--version')}`,
    machine(),
    `medians of ${rounds}; the peers chose the cipher ${cipher} by themselves, ours prefers aes128-gcm@openssh.com`,
  ];
}
