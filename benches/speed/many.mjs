// Many at once: a command and an upload for many hosts in one call, and a job that prints many lines. The hosts of the
// command are one sshd under many names, those of the upload are one sshd each, with a folder of its own.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { kill } from '../../scripts/lib/sshd.mjs';
import { median } from '../lib/numbers.mjs';
import { Failed } from './contestant.mjs';
import { PlainSsh } from './openssh.mjs';
import { Ours } from './ours.mjs';

const MIB = 2 ** 20;
/** What each host does: it waits, as hosts do that are not all this machine. */
const SLEEP = 'sleep 1';
/** Of `ssh` and `scp`, as `xargs -P` would run them. Ours logs in at as many hosts at a time, too. */
const AT_ONCE = 16;
/** How often the memory is looked at. */
const LOOK_MS = 20;
/** Each call for the job waits so long. */
const WAIT_MS = 1_000;

/**
 * @typedef {object} ManyResults
 * @property {{ count: number, firstMs: number, oneMs: number, allMs: number, sshMs: number, bytes: number }} fanOut
 * @property {{ count: number, mib: number, ms: number, scpMs: number, whole: number, bytes: number }} upload
 * @property {{ lines: number, lost: number, ms: number, calls: number, slowestCallMs: number }} follow
 */

/**
 * @param {import('./stage.mjs').Stage} stage over loopback
 * @param {{ fanOut: number, uploadHosts: number, uploadMib: number, lineSeconds: number, linesPerSecond: number }} sizes
 * @returns {Promise<ManyResults>}
 */
export async function manyResults(stage, sizes) {
  const fanOut = await commandForAll(stage, sizes.fanOut);
  console.log(`  fan-out: ${JSON.stringify(fanOut)}`);
  const upload = await uploadToAll(stage, sizes);
  console.log(`  upload: ${JSON.stringify(upload)}`);
  const follow = await followed(stage.place(await stage.sshd()), sizes);
  console.log(`  lines: ${JSON.stringify(follow)}`);
  return { fanOut, upload, follow };
}

/** One command for all hosts in one call, and by `ssh`. */
async function commandForAll(stage, count) {
  // `ssh` connects at sixteen hosts at a time.
  const sshd = await stage.sshd(() => ['MaxStartups 1000']);
  const place = stage.place(sshd);
  const names = named(count);
  configure(place, (text) => text.replace(/^Host .*/m, `Host ${names.join(' ')}`));

  const ours = new Ours(place);
  await ours.start();
  const run = (sessions) =>
    timed(async () => {
      const { meta } = await ours.use('ssh_exec', { command: SLEEP, sessions });
      const outcomes = meta['mcp-ssh-sessions/outcomes'];
      const right = outcomes.filter(({ exitCode }) => exitCode === 0);
      if (right.length !== sessions.length) throw new Failed(`right on ${right.length} of ${sessions.length} hosts`);
    });
  const { bytes, ms: firstMs } = await withMemory(ours, () => run(names));

  const [one, all] = [[], []];
  let most = bytes;
  for (let round = 0; round < 3; round++) {
    one.push(await run([names[round]]));
    const { bytes, ms } = await withMemory(ours, () => run(names));
    all.push(ms);
    most = Math.max(most, bytes);
  }
  await ours.stop();

  const plain = new PlainSsh(place);
  const sshMs = await timed(() =>
    forAll(names, async (name) => {
      const { status, stderr } = await plain.ssh([name, SLEEP]);
      if (status !== 0) throw new Failed(`ssh ${name}: ${stderr}`);
    }),
  );
  return { count, firstMs, oneMs: median(one), allMs: median(all), sshMs, bytes: most };
}

/** One file for all hosts in one call, and by `scp`. Nobody is connected before. */
async function uploadToAll(stage, { uploadHosts: count, uploadMib: mib }) {
  const names = named(count);
  const sshds = [];
  for (const _ of names) sshds.push(await stage.sshd((folder) => [`Subsystem sftp internal-sftp -d ${folder}`]));
  const folders = sshds.map(({ sshConfig }) => dirname(sshConfig));
  const place = stage.place(sshds[0]);
  const blocks = sshds.map(({ sshConfig }, number) =>
    readFileSync(sshConfig, 'utf8').replace(/^Host .*/m, `Host ${names[number]}`),
  );
  configure(place, () => blocks.join('\n'));
  const source = join(place.files, 'for-all');
  const content = Buffer.alloc(mib * MIB, 'all of it, ');
  writeFileSync(source, content);
  const wholeOf = (name) => folders.filter((folder) => readFileSync(join(folder, name)).equals(content)).length;

  const ours = new Ours(place);
  await ours.start();
  const upload = { localPath: source, remotePath: 'by-ours', sessions: names };
  const { bytes, ms } = await withMemory(ours, () =>
    timed(async () => {
      const { text, meta } = await ours.use('ssh_upload', upload);
      if (meta['mcp-ssh-sessions/result'].failed > 0) throw new Failed(text);
    }),
  );
  await ours.stop();

  const plain = new PlainSsh(place);
  const scpMs = await timed(() => forAll(names, (name) => plain.copy(source, `${name}:by-scp`)));
  for (const { child } of sshds) kill(child.pid);
  if (wholeOf('by-scp') !== count) throw new Failed('not all that scp has copied is whole');
  return { count, mib, ms, scpMs, whole: wholeOf('by-ours'), bytes };
}

/** A job that prints lines at a fixed rate, and whose output is asked for until it has ended. */
async function followed(place, { lineSeconds, linesPerSecond }) {
  const lines = lineSeconds * linesPerSecond;
  const ours = new Ours(place);
  await ours.open();
  const pause = `$left = $begun + ($n + 1) / ${linesPerSecond} - time; sleep $left if $left > 0`;
  const script = `$begun = time; for $n (0 .. ${lines - 1}) { print "line $n\\n"; if ($n % 1000 == 999) { ${pause} } }`;
  const command = `perl -MTime::HiRes=time,sleep -e '${script}'`;
  const begun = await ours.use('ssh_exec', { command, background: true });
  const { job } = begun.meta['mcp-ssh-sessions/outcome'];

  let [calls, slowestCallMs] = [0, 0];
  let outcome;
  do {
    const ms = await timed(async () => {
      ({ meta: { 'mcp-ssh-sessions/outcome': outcome } } = await ours.use('ssh_job', { job, waitMs: WAIT_MS }));
    });
    slowestCallMs = Math.max(slowestCallMs, ms - WAIT_MS);
    calls++;
  } while (outcome.status === 'running');

  // Everything that was printed is in the file, in order.
  const kept = readFileSync(outcome.outputFile, 'utf8').split('\n').slice(0, -1);
  const lost = lines - kept.filter((line, number) => line === `line ${number}`).length;
  await ours.stop();
  return { lines, lost, ms: outcome.durationMs, calls, slowestCallMs };
}

function named(count) {
  return Array.from({ length: count }, (_, number) => `h${number}`);
}

/** Changes the configuration of a place. */
function configure({ home }, change) {
  const path = join(home, '.ssh', 'config');
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

/** Does work, and looks at the memory of ours meanwhile; resolves to the largest that it saw. */
async function withMemory(ours, work) {
  let bytes = 0;
  // Without `ssh -G`, which reads the configuration of a host that is connected to.
  const look = () => (bytes = Math.max(bytes, ours.ownRss()));
  const timer = setInterval(look, LOOK_MS);
  const ms = await work().finally(() => clearInterval(timer));
  look();
  return { ms, bytes };
}

/** Does the same for all names, for a few at a time. */
async function forAll(names, work) {
  const left = [...names];
  const one = async () => {
    for (let name = left.shift(); name; name = left.shift()) await work(name);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

async function timed(work) {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}
