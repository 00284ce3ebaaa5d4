// Ports of the other side, forwarded by ours and by `ssh -L`: how fast, how many at once, and over links that are killed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { dropConnections, kill } from '../../scripts/lib/sshd.mjs';
import { Stop } from '../../scripts/lib/repository.mjs';
import { median } from '../lib/numbers.mjs';
import { Ours } from './ours.mjs';
import { PlainSsh } from './openssh.mjs';

const MIB = 2 ** 20;
const SSH_L = '`ssh -L`';
/** Lanes are dialled meanwhile. */
const SETTLED_MS = 2_000;
const PATIENCE_MS = 20_000;

/**
 * @typedef {object} ForwardResults
 * @property {Record<string, { ours: number, ssh: number }>} medians milliseconds by measure
 * @property {{ whole: number, count: number, ms: number, sshMs: number, idleMs: number, meanwhileMs: number } | undefined} streams
 * @property {{ kills: number, requests: number, lost: number, wrongLists: number } | undefined} kills
 */

/**
 * Everything that is measured of forwards over one line. Ours and `ssh -L` by turns.
 *
 * @param {import('./stage.mjs').Stage} stage
 * @param {import('../lib/lines.mjs').Line} line
 * @param {{ forwardMib: number, forwardRounds: number, firstBytes: number, streams: number, streamMib: number, kills: number }} sizes
 * @param {boolean} isNear many streams and kills are measured there
 * @returns {Promise<ForwardResults>}
 */
export async function forwardResults(stage, line, sizes, isNear) {
  const sshd = await stage.sshd();
  const far = Number(await firstLine([...line.far, ...node('far-end.mjs', line.address)]));
  const ours = new Ours(stage.place(sshd));
  await ours.start();
  await ours.connect();
  const ports = { ours: await ours.forward(`${line.address}:${far}`) };
  const ssh = await forwardedBySsh(new PlainSsh(stage.place(sshd)), `${line.address}:${far}`);
  ports.ssh = ssh.port;
  await sleep(SETTLED_MS);

  const medians = {};
  const bytes = sizes.forwardMib * MIB;
  for (const [id, args, rounds] of [
    ['down', ['down', bytes], sizes.forwardRounds],
    ['up', ['up', bytes], sizes.forwardRounds],
    ['first', ['first', sizes.firstBytes], 3],
  ]) {
    const values = { ours: [], ssh: [] };
    for (let round = 0; round < rounds; round++) {
      for (const who of round % 2 === 0 ? ['ours', 'ssh'] : ['ssh', 'ours']) {
        const found = await client(line, ports[who], ...args);
        values[who].push(...(found.values ?? [found.ms]));
      }
    }
    medians[id] = { ours: median(values.ours), ssh: median(values.ssh) };
    console.log(`  ${id}: ours ${medians[id].ours.toFixed(1)} ms, ${SSH_L} ${medians[id].ssh.toFixed(1)} ms`);
  }

  const results = { medians };
  if (isNear) {
    results.streams = await manyStreams(line, ours, ports, sizes);
    results.kills = await kills(line, ours, ports.ours, sshd, sizes.kills);
  }
  kill(ssh.child.pid);
  await ours.stop();
  return results;
}

/** Many streams at once, and how fast commands are answered before and meanwhile. */
async function manyStreams(line, ours, ports, { streams, streamMib }) {
  const args = ['streams', streams, streamMib * MIB];
  const commands = async (isOver) => {
    const values = [];
    while (!isOver(values.length)) {
      const begun = performance.now();
      await ours.exec('true');
      values.push(performance.now() - begun);
    }
    return median(values);
  };
  const idleMs = await commands((count) => count >= 100);
  let over = false;
  const streaming = client(line, ports.ours, ...args).finally(() => (over = true));
  const meanwhileMs = await commands((count) => over && count > 0);
  const { whole, ms } = await streaming;
  const { ms: sshMs } = await client(line, ports.ssh, ...args);
  const result = { whole, count: streams, ms, sshMs, idleMs, meanwhileMs };
  console.log(`  streams: ${JSON.stringify(result)}`);
  return result;
}

/** Kills the link again and again, while a client asks one request after the other. */
async function kills(line, ours, port, sshd, count) {
  const asking = spawnNear(line, node('near-end.mjs', port, 'ask'), 'pipe');
  const answers = [];
  createInterface({ input: asking.stdout }).on('line', (text) => answers.push(JSON.parse(text)));
  const answeredAfter = async (moment) => {
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(10)) {
      const one = answers.find(({ begun, answered }) => answered && begun > moment);
      if (one) return one.begun;
    }
    throw new Stop('no request was answered after the link was killed');
  };

  let wrongLists = 0;
  const restored = [];
  let reconnected = await answeredAfter(0);
  for (let number = 0; number < count; number++) {
    const killed = Date.now();
    restored.push([reconnected, killed]);
    dropConnections(sshd);
    reconnected = await answeredAfter(killed);
    const { text } = await ours.use('ssh_forward', {});
    if (!text.includes('f1 ·') || /reconnecting|refuses/.test(text)) wrongLists++;
  }
  asking.stdin.end();
  await once(asking, 'exit');

  // One that began before the link was killed may be lost with it.
  const lost = answers.filter(({ begun, answered }, index) => {
    const until = answers[index + 1]?.begun ?? Infinity;
    return !answered && restored.some(([from, to]) => begun >= from && until < to);
  });
  const result = { kills: count, requests: answers.length, lost: lost.length, wrongLists };
  console.log(`  kills: ${JSON.stringify(result)}`);
  return result;
}

/** `ssh -L` at a free port. */
async function forwardedBySsh(plain, to) {
  const { place } = plain;
  const port = 20_000 + (process.pid % 20_000);
  const args = [...plain.options(), '-N', '-o', 'ExitOnForwardFailure=yes', '-L', `127.0.0.1:${port}:${to}`, place.host];
  const [program, ...rest] = [...place.near, 'ssh', ...args];
  const child = spawn(program, rest, { stdio: 'ignore', env: place.env });
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(100)) {
    if (child.exitCode !== null) throw new Stop('`ssh -L` has ended');
    const asked = spawnNear({ near: place.near }, node('near-end.mjs', port, 'first', 1));
    const [status] = await once(asked, 'exit');
    if (status === 0) return { child, port };
  }
  throw new Stop('`ssh -L` does not listen');
}

async function client(line, port, ...args) {
  const child = spawnNear(line, node('near-end.mjs', port, ...args));
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (printed += text));
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Stop(`a client of a forward failed: ${args.join(' ')}`);
  return JSON.parse(printed);
}

function spawnNear({ near }, command, stdin = 'ignore') {
  const [program, ...args] = [...near, ...command];
  return spawn(program, args, { stdio: [stdin, 'pipe', stdin === 'ignore' ? 'ignore' : 'inherit'] });
}

function node(script, ...args) {
  return [process.execPath, fileURLToPath(new URL(script, import.meta.url)), ...args.map(String)];
}

/** Starts what runs until this process ends, and resolves to the first line that it prints. */
async function firstLine([program, ...args]) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return line;
}
