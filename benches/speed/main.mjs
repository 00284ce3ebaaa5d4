// `npm run bench`: how fast commands are answered, and whether the answers are right: ours beside `ssh`, ControlMaster and
// other MCP servers for SSH, in one run, over loopback and over a line with a round trip of 40 ms. Everything it needs it
// makes, and removes; the other servers are installed into target/, once, from npm, PyPI and the Rust registry. For Linux
// and macOS; as root on Linux the line is TCP between two network namespaces, else a proxy.
//
//   node benches/speed/main.mjs     builds the release program first; half an hour, once the others are installed
//     --binary PATH                 takes that program
//     --quick                       fewer rounds, and less in bulk: three minutes
//     --only TEXT                   of the others those whose name holds it
//     --files                       only what is measured of files, and no right answers
//     --forward                     only what is measured of forwarded ports, beside `ssh -L`
//     --settings                    only what the settings, the audit log and the hook cost
//     --write                       writes the results into docs/benchmarks.md; also with --forward and --settings

import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { needProgram } from '../../scripts/lib/programs.mjs';
import { Stop, fail, seconds } from '../../scripts/lib/repository.mjs';
import { scratchFolder } from '../../scripts/lib/scratch.mjs';
import { distant, loopback } from '../lib/lines.mjs';
import { medianOf } from '../lib/numbers.mjs';
import { binaryOf, commandLine, machine, versions, write } from '../lib/run.mjs';
import { contest, launches } from './contest.mjs';
import { examine } from './examination.mjs';
import { fileMeasures, hostSearch, makeRemoteFiles, memoryAfterFiles } from './files.mjs';
import { forwardResults } from './forwards.mjs';
import { makeSource, measures } from './measures.mjs';
import { ControlMaster, PlainSsh } from './openssh.mjs';
import { Ours } from './ours.mjs';
import { ExeckitMcp } from './peers/execkit-mcp.mjs';
import { FastMcpSsh } from './peers/fast-mcp-ssh.mjs';
import { McpSshGateway } from './peers/mcp-ssh-gateway.mjs';
import { McpSshManager } from './peers/mcp-ssh-manager.mjs';
import { SshMcp } from './peers/ssh-mcp.mjs';
import { perConnection } from './sessions.mjs';
import { settingsResults } from './settings.mjs';
import { Stage } from './stage.mjs';
import {
  BEGIN,
  BEGIN_FORWARDS,
  BEGIN_SETTINGS,
  END,
  report,
  reportOfFiles,
  reportOfForwards,
  reportOfSettings,
} from './table.mjs';

const PEERS = [FastMcpSsh, ExeckitMcp, McpSshGateway, SshMcp, McpSshManager];

/** Rounds of each kind, and at most `limitMs` for a contestant in one; at most `probeMs` for an answer. */
const FULL = {
  launch: 7,
  latency: 10,
  batch: 30,
  batchMs: 4_000,
  parallel: 3,
  bulk: 3,
  mib: 64,
  treeFiles: 100_000,
  sessions: 1000,
  forwardMib: 128,
  forwardRounds: 5,
  firstBytes: 20,
  streams: 200,
  streamMib: 10,
  kills: 100,
  launches: 50,
  limitMs: 110_000,
  probeMs: 10_000,
};
const QUICK = {
  launch: 1,
  latency: 2,
  batch: 8,
  batchMs: 500,
  parallel: 1,
  bulk: 1,
  mib: 2,
  treeFiles: 2_000,
  sessions: 20,
  forwardMib: 32,
  forwardRounds: 3,
  firstBytes: 5,
  streams: 20,
  streamMib: 2,
  kills: 5,
  launches: 10,
  limitMs: 6_000,
  probeMs: 7_000,
};

const start = Date.now();
const scratch = scratchFolder('speed');

try {
  const options = {
    binary: { type: 'string' },
    quick: { type: 'boolean' },
    only: { type: 'string', default: '' },
    files: { type: 'boolean' },
    forward: { type: 'boolean' },
    settings: { type: 'boolean' },
    write: { type: 'boolean' },
  };
  const { values } = parseArgs({ options });
  const isPart = values.quick || values.only || values.files;
  if (values.write && isPart) throw new Stop('--write is for all of it: no --quick, no --only, no --files');
  const sizes = values.quick ? QUICK : FULL;
  for (const program of ['ssh', 'scp', 'ssh-keygen']) needProgram(program, 'openssh-client');
  const sshd = needProgram('sshd', 'openssh-server');
  Ours.binary = binaryOf(values.binary);
  if (values.forward) {
    await forwards(values, sizes, sshd);
    process.exit(0);
  }
  if (values.settings) {
    await settings(values, sizes, sshd);
    process.exit(0);
  }
  const peers = values.files ? [] : PEERS.filter(({ title }) => title.includes(values.only));
  const { kinds, absent } = await takingPart(peers);

  const files = join(scratch, 'files');
  mkdirSync(files, { mode: 0o700 });
  makeSource(files, sizes.mib);
  const remote = makeRemoteFiles(join(scratch, 'remote'), sizes.treeFiles);
  const places = [
    { title: 'loopback', roundTripMs: 0, open: loopback },
    { title: '40 ms', roundTripMs: 40, open: () => distant(40) },
  ];
  const sections = [];
  const further = { treeFiles: sizes.treeFiles };
  for (const { title, roundTripMs, open } of places) {
    const line = await open();
    console.log(`\n── ${title}: ${line.how}`);
    const stage = new Stage(sshd, join(scratch, `line-${roundTripMs}`), line, files);
    const wanted = [...(values.files ? [] : measures(sizes, { files })), ...fileMeasures(sizes, remote)];
    const results = await measured(title, stage, kinds, sizes, wanted, !values.files);
    sections.push({ title, line, results });
    if (roundTripMs === 0) {
      further.hostSearchMs = await medianOf(sizes.bulk, () => hostSearch(remote));
      further.memoryAfterFiles = await memoryAfterFiles(stage, remote);
    }
    if (roundTripMs === 0 && !values.files) {
      console.log('right answers …');
      further.verdicts = await Promise.all(
        kinds.map(async (Kind) => ({ title: Kind.title, verdicts: await examine(Kind, stage, sizes.probeMs, remote) })),
      );
      console.log(`${sizes.sessions} connections …`);
      further.perConnection = await perConnection(stage, sizes.sessions);
    }
    stage.close();
  }
  further.binaryBytes = statSync(Ours.binary).size;

  const render = values.files ? reportOfFiles : report;
  const results = render(facts(values, sizes, absent), sections, further, sizes);
  console.log(`\n${results}\nDone in ${seconds(Date.now() - start)}.`);
  if (values.quick) console.log('A quick run compares little: the goals are about the full one.');
  if (values.write) write(results, BEGIN, END);
  // What is still waited for would keep it alive.
  process.exit(0);
} catch (error) {
  fail('bench', error);
}

/** What is measured of forwards alone. */
async function forwards(values, sizes, sshd) {
  const sections = [];
  const files = join(scratch, 'files');
  mkdirSync(files);
  for (const [title, open] of [
    ['loopback', loopback],
    ['40 ms', () => distant(40)],
  ]) {
    const line = await open();
    console.log(`\n── ${title}: ${line.how}`);
    const stage = new Stage(sshd, join(scratch, `line-${sections.length}`), line, files);
    const results = await forwardResults(stage, line, sizes, sections.length === 0);
    sections.push({ title, line, results });
    stage.close();
  }

  const facts = [
    `${new Date().toISOString().slice(0, 10)}, \`${commandLine('bench', values, ['quick', 'forward', 'write'])}\``,
    `${versions(Ours.binary, values)}; ${machine()}`,
    `medians of ${sizes.forwardRounds} transfers of ${sizes.forwardMib} MiB, by turns`,
  ];
  const results = reportOfForwards(facts, sections, sizes);
  console.log(`\n${results}\nDone in ${seconds(Date.now() - start)}.`);
  if (values.write) write(results, BEGIN_FORWARDS, END);
}

/** What the settings cost. */
async function settings(values, sizes, sshd) {
  const files = join(scratch, 'files');
  mkdirSync(files);
  const stage = new Stage(sshd, join(scratch, 'line'), await loopback(), files);
  const found = await settingsResults(stage, sizes);
  stage.close();

  const facts = [
    `${new Date().toISOString().slice(0, 10)}, \`${commandLine('bench', values, ['quick', 'settings', 'write'])}\``,
    `${versions(Ours.binary, values)}; ${machine()}`,
    `medians; commands one after the other, by turns: ${sizes.latency} rounds of ${sizes.batch}`,
  ];
  const results = reportOfSettings(facts, found);
  console.log(`\n${results}\nDone in ${seconds(Date.now() - start)}.`);
  if (values.write) write(results, BEGIN_SETTINGS, END);
}

/** Those that can be installed, besides what is there in any case. */
async function takingPart(peers) {
  const kinds = [Ours, PlainSsh, ControlMaster];
  const absent = [];
  for (const Kind of peers) {
    try {
      await Kind.install();
      kinds.push(Kind);
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      absent.push(`${Kind.title} is left out: ${error.message}`);
      console.log(absent.at(-1));
    }
  }
  return { kinds, absent };
}

/** The measures that are wanted over one line, and perhaps the start of each program. */
async function measured(title, stage, kinds, sizes, wanted, startsAnew) {
  const sshd = await stage.sshd();
  const results = new Map();
  if (startsAnew) {
    console.log(`${title}: from the start to the first command`);
    // The place stays, so that from the second round on a program may use what it remembers.
    const newOnes = kinds.map((Kind) => {
      const place = stage.place(sshd);
      return { title: Kind.title, renewed: () => new Kind(place) };
    });
    for (const [id, found] of await launches(newOnes, sizes.launch, sizes.limitMs)) results.set(id, found);
  }

  const entries = [];
  for (const Kind of kinds) {
    const contestant = new Kind(stage.place(sshd));
    entries.push({ title: Kind.title, contestant });
    await contestant.open().catch((error) => {
      if (!(error instanceof Stop)) throw error;
      entries.pop();
      console.log(`  ${Kind.title}: ${error.message.trim().split('\n')[0]}`);
    });
  }
  for (const measure of wanted) {
    console.log(`${title}: ${measure.title}`);
    results.set(measure.id, await contest(entries, measure, sizes.limitMs));
  }
  for (const { contestant } of entries) await contestant.stop();
  return results;
}

function facts(options, sizes, absent) {
  return [
    `${new Date().toISOString().slice(0, 10)}, \`${commandLine('bench', options, ['quick', 'only', 'files', 'write'])}\``,
    `${versions(Ours.binary, options)}, Node ${process.versions.node} for those that need it; ${machine()}`,
    `medians; commands one after the other: ${sizes.latency} rounds of ${sizes.batch}, or of ${sizes.batchMs / 1000} s`,
    ...absent,
  ];
}
