// The lines over which the bench transfers: loopback, and one with a delay.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { run } from '../../npm/peer.mjs';
import { needProgram } from '../../scripts/lib/programs.mjs';
import { Stop, fail } from '../../scripts/lib/repository.mjs';

/**
 * @typedef {object} Line
 * @property {string} how what it is made of
 * @property {string[]} near the command before those on the near side
 * @property {string[]} far the command before sshd
 * @property {string} address sshd's
 * @property {(port: number) => Promise<number>} reach to which port of the address one connects for this one
 * @property {{ roundTripMs: number, bytesPerSecond: number[] }} measured without SSH: by one connection, by four
 */

/** Kept free for benchmarks (RFC 2544, RFC 6890), and inside the namespaces anyway. */
const [NEAR, FAR] = ['198.18.0.1', '198.18.0.2'];

/** What is sent to measure a line, by each connection. */
const PROBE_MIB = 64;

/** @returns {Promise<Line>} */
export async function loopback() {
  const line = { how: 'loopback', near: [], far: [], address: '127.0.0.1', reach: async (port) => port };
  return { ...line, measured: await measured(line) };
}

/**
 * A line with such a round trip: between two network namespaces where this process may make them, else a proxy.
 *
 * @param {number} roundTripMs
 * @returns {Promise<Line>}
 */
export async function distant(roundTripMs) {
  const line = (await namespaces(roundTripMs / 2)) ?? proxied(roundTripMs / 2);
  const result = { ...line, measured: await measured(line) };
  const actual = result.measured.roundTripMs;
  if (actual < roundTripMs || actual > roundTripMs * 1.25) {
    throw new Stop(`${line.how}: the round trip is ${actual.toFixed(1)} ms, and should be ${roundTripMs} ms`);
  }
  return result;
}

/** Undefined where they are not to be had. */
async function namespaces(delayMs) {
  if (process.platform !== 'linux' || process.getuid() !== 0) return undefined;
  try {
    needProgram('ip', 'iproute2');
  } catch {
    return undefined;
  }
  const [near, far] = ['near', 'far'].map((side) => `bench-${side}-${process.pid}`);
  process.on('exit', () => [near, far].forEach((name) => ip('netns', 'del', name)));
  if (!ip('netns', 'add', near) || !ip('netns', 'add', far)) return undefined;
  const how = netem(near, far, delayMs) ?? (await tun(near, far, delayMs));
  if (!how) return undefined;
  // Forwards listen there, and a machine reaches its own address over it.
  for (const name of [near, far]) ip('-n', name, 'link', 'set', 'lo', 'up');
  for (const [name, address] of [
    [near, NEAR],
    [far, FAR],
  ]) {
    const steps = [
      ['addr', 'add', `${address}/30`, 'dev', 'line'],
      // The default is shorter than what some programs send at once.
      ['link', 'set', 'line', 'txqueuelen', '10000', 'up'],
    ];
    for (const step of steps) if (!ip('-n', name, ...step)) throw new Stop(`ip ${step.join(' ')} fails`);
  }
  const inside = (name) => ['ip', 'netns', 'exec', name];
  return { how, near: inside(near), far: inside(far), address: FAR, reach: async (port) => port };
}

/** Two ends of a veth pair, each with a queue that delays: many kernels are built without it. */
function netem(near, far, delayMs) {
  if (!ip('-n', near, 'link', 'add', 'line', 'type', 'veth', 'peer', 'name', 'line', 'netns', far)) return undefined;
  const queue = ['qdisc', 'add', 'dev', 'line', 'root', 'netem', 'delay', `${delayMs}ms`, 'limit', '100000'];
  const delayed = [near, far].every((name) => works('tc', '-n', name, ...queue));
  if (delayed) return 'two network namespaces, joined by a veth pair with netem';
  ip('-n', near, 'link', 'del', 'line');
  return undefined;
}

/** The same by a program of ours. */
async function tun(near, far, delayMs) {
  const devices = ['n', 'f'].map((side) => `bench${process.pid}${side}`);
  const said = await firstLine(['python3', beside('line.py'), ...devices, String(delayMs)]);
  if (said !== 'up') return undefined;
  const moved = [near, far].every((name, side) => ip('link', 'set', devices[side], 'netns', name, 'name', 'line'));
  return moved ? 'two network namespaces, joined by a program that delays packets' : undefined;
}

/** For those who may not make namespaces. */
function proxied(delayMs) {
  const reach = async (port) => Number(await firstLine(node('proxy.mjs', String(port), String(delayMs))));
  return { how: 'a proxy that delays what it carries', near: [], far: [], address: '127.0.0.1', reach };
}

async function measured({ near, far, address, reach }) {
  const port = await reach(Number(await firstLine([...far, ...node('probe.mjs', 'serve', address)])));
  const results = [];
  for (const connections of [1, 4]) {
    const numbers = [port, connections, PROBE_MIB].map(String);
    const [command, ...args] = [...near, ...node('probe.mjs', 'measure', address, ...numbers)];
    const { status, stdout, stderr } = await run({ command, args }, {});
    if (status !== 0) throw new Stop(`the line cannot be measured: ${stderr}`);
    results.push(JSON.parse(stdout));
  }
  return { roundTripMs: results[0].roundTripMs, bytesPerSecond: results.map(({ bytesPerSecond }) => bytesPerSecond) };
}

function node(script, ...args) {
  return [process.execPath, beside(script), ...args];
}

function beside(script) {
  return fileURLToPath(new URL(script, import.meta.url));
}

/** Starts what is to run until this process ends, and resolves to the first line that it prints; undefined if none. */
async function firstLine([command, ...args]) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const failed = once(child, 'close').then(
    () => [],
    () => [],
  );
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), failed]);
  // Without it the transfers would wait for long.
  if (line) child.on('exit', () => fail('bench', new Stop(`${[command, ...args].join(' ')} has ended`)));
  return line;
}

function ip(...args) {
  return works('ip', ...args);
}

function works(program, ...args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}
