// Runs programs, and says how they ended and how long they took; one JSON message a line. Ends with its stdin.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const running = new Map();

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, kill, ...what } = JSON.parse(line);
    if (kill) running.get(id)?.kill();
    else start(id, what);
  })
  .on('close', () => process.exit());

function start(id, { command: [program, ...args], timeoutMs, discard }) {
  const output = discard ? 'ignore' : 'pipe';
  const begun = performance.now();
  // In a session of its own it has no terminal to ask questions at.
  const child = spawn(program, args, { stdio: ['ignore', output, 'pipe'], timeout: timeoutMs, detached: true });
  running.set(id, child);
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream]?.setEncoding('utf8').on('data', (text) => (printed[stream] += text));
  }
  const report = (end) => {
    if (!running.delete(id)) return;
    console.log(JSON.stringify({ id, ms: performance.now() - begun, ...end, ...printed }));
  };
  child.on('error', ({ message }) => report({ status: null, signal: message }));
  child.on('close', (status, signal) => report({ status, signal }));
  // A master of ssh's keeps the pipes of a client that was ended.
  child.on('exit', (status, signal) => child.killed && report({ status, signal }));
}
