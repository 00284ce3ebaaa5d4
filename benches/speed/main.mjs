// `npm run bench`: how fast commands are answered, and whether the answers are right: ours beside `ssh`, ControlMaster and
// other MCP servers for SSH, in one run, over loopback and over a line with a round trip of 40 ms. Everything it needs it
// makes, and removes; the other servers are installed into target/, once, from npm, PyPI and the Rust registry. For Linux
// and macOS; as root on Linux the line is TCP between two network namespaces, else a proxy.
//
//   node benches/speed/main.mjs     builds the release program first, and installs the others once
//     --binary PATH                 takes that program
//     --quick                       fewer rounds, less in bulk, and no other servers but those of --only
//     --write                       writes the results into docs/benchmarks.md
//
// It has these parts, one after the other; one that is named is measured alone:
//     --commands                    commands, connecting, transfers and files, beside all others, and right answers
//       --only TEXT                 of the others those whose name holds it; no other part, and not to be written
//     --files                       the files of the first part, without the other servers; not to be written
//     --forward                     forwarded ports, beside `ssh -L`
//     --many                        a command and an upload for many hosts, and a job that prints many lines
//     --settings                    what the settings, the audit log and the hook cost
//     --agents                      the work of an agent: benches/agents/main.mjs

import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
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
import { makeSource, measures } from './measures.mjs';
import { ControlMaster, PlainSsh } from './openssh.mjs';
import { Ours } from './ours.mjs';
import { ExeckitMcp } from './peers/execkit-mcp.mjs';
import { FastMcpSsh } from './peers/fast-mcp-ssh.mjs';
import { McpSshGateway } from './peers/mcp-ssh-gateway.mjs';
import { McpSshManager } from './peers/mcp-ssh-manager.mjs';
import { SshMcp } from './peers/ssh-mcp.mjs';
import { forwards, many, settings } from './parts.mjs';
import { perConnection } from './sessions.mjs';
import { Stage } from './stage.mjs';
import { BEGIN, END, report, reportOfFiles } from './table.mjs';

const PEERS = [FastMcpSsh, ExeckitMcp, McpSshGateway, SshMcp, McpSshManager];

/** Rounds of each kind, and at most `limitMs` for a contestant in one; at most `probeMs` for an answer. */
const FULL = {
  launch: 7,
  latency: 10,
  batch: 30,
  batchMs: 4_000,
  parallel: 5,
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
  fanOut: 200,
  uploadHosts: 50,
  uploadMib: 10,
  lineSeconds: 10,
  linesPerSecond: 100_000,
  limitMs: 110_000,
  probeMs: 10_000,
};
const QUICK = {
  launch: 1,
  latency: 1,
  batch: 8,
  batchMs: 300,
  parallel: 1,
  bulk: 1,
  mib: 2,
  treeFiles: 2_000,
  sessions: 10,
  forwardMib: 16,
  forwardRounds: 1,
  firstBytes: 3,
  streams: 5,
  streamMib: 2,
  kills: 1,
  launches: 5,
  fanOut: 10,
  uploadHosts: 3,
  uploadMib: 1,
  lineSeconds: 1,
  linesPerSecond: 100_000,
  limitMs: 6_000,
  probeMs: 5_000,
};

const AGENTS = fileURLToPath(new URL('../agents/main.mjs', import.meta.url));

const start = Date.now();
const scratch = scratchFolder('speed');

try {
  const flags = ['quick', 'commands', 'files', 'forward', 'many', 'settings', 'agents', 'write'];
  const options = {
    binary: { type: 'string' },
    only: { type: 'string', default: '' },
    ...Object.fromEntries(flags.map((flag) => [flag, { type: 'boolean' }])),
  };
  const { values } = parseArgs({ options });
  if (values.write && (values.quick || values.only || values.files)) {
    throw new Stop('--write is for all of a part: no --quick, no --only, no --files');
  }
  for (const program of ['ssh', 'scp', 'ssh-keygen']) needProgram(program, 'openssh-client');
  const run = {
    values,
    sizes: values.quick ? QUICK : FULL,
    sshd: needProgram('sshd', 'openssh-server'),
    scratch,
  };
  Ours.binary = binaryOf(values.binary);

  const parts = { commands, forward: forwards, many, settings, agents };
  const named = Object.keys(parts).filter((name) => values[name]);
  const alone = values.only || values.files ? ['commands'] : named;
  for (const [name, part] of Object.entries(parts)) {
    if (alone.length > 0 && !alone.includes(name)) continue;
    const begun = Date.now();
    run.scratch = join(scratch, name);
    mkdirSync(run.scratch, { mode: 0o700 });
    await part(run);
    console.log(`${name}: ${seconds(Date.now() - begun)}\n`);
  }
  console.log(`Done in ${seconds(Date.now() - start)}.`);
  if (values.quick) console.log('A quick run compares little: the goals are about the full one.');
  // What is still waited for would keep it alive.
  process.exit(0);
} catch (error) {
  fail('bench', error);
}

/** Commands, connecting, transfers and files, beside all others. */
async function commands({ values, sizes, sshd, scratch }) {
  const withoutPeers = values.files || (values.quick && !values.only);
  const peers = withoutPeers ? [] : PEERS.filter(({ title }) => title.includes(values.only));
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
  console.log(`\n${results}`);
  if (values.write) write(results, BEGIN, END);
}

/** The work of an agent. A quick run has only our tool set, and tasks that last two seconds at most. */
async function agents({ values }) {
  const quick = ['--quick', '--tools', 'ours', '--seconds', '2'];
  const args = [AGENTS, '--binary', Ours.binary, ...(values.quick ? quick : []), ...(values.write ? ['--write'] : [])];
  const { status } = spawnSync(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Stop('the work of an agent was not measured; its own messages are above');
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
    `${new Date().toISOString().slice(0, 10)}, \`${commandLine('bench', options, ['quick', 'commands', 'only', 'files', 'write'])}\``,
    `${versions(Ours.binary, options)}, Node ${process.versions.node} for those that need it; ${machine()}`,
    `medians; commands one after the other: ${sizes.latency} rounds of ${sizes.batch}, or of ${sizes.batchMs / 1000} s`,
    ...absent,
  ];
}
