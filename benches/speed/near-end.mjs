// A client of a forward, on the near side of a line: prints what it found as JSON.
//
//   node near-end.mjs PORT down BYTES          milliseconds
//   node near-end.mjs PORT up BYTES            milliseconds
//   node near-end.mjs PORT first COUNT         milliseconds to the first byte of each of so many connections
//   node near-end.mjs PORT streams COUNT BYTES milliseconds, and how many of so many connections at once were whole
//   node near-end.mjs PORT ask                 a line for each request, one after the other, until stdin ends

import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const PIECE = Buffer.alloc(256 * 1024, '.');
const PAUSE_MS = 20;
const QUIET_MS = 200;

const [port, what, ...numbers] = process.argv.slice(2);
const [first, second] = numbers.map(Number);
const ways = {
  down: () => timed(() => down(first)),
  up: () => timed(() => up(first)),
  first: async () => ({ values: await firstBytes(first, QUIET_MS) }),
  streams: () => timed(() => streams(first, second)),
  ask,
};
const found = await ways[what]();
if (found) console.log(JSON.stringify(found));
process.exit(0);

async function timed(run) {
  const begun = performance.now();
  const found = await run();
  return { ms: performance.now() - begun, ...found };
}

async function opened(words) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  socket.write(words);
  return socket;
}

async function down(bytes) {
  const socket = await opened(`down ${bytes}\n`);
  let received = 0;
  socket.on('data', ({ length }) => (received += length));
  await once(socket, 'end');
  socket.end();
  if (received !== bytes) throw new Error(`${received} of ${bytes} bytes`);
}

async function up(bytes) {
  const socket = await opened('up\n');
  let answer = '';
  socket.setEncoding('utf8').on('data', (text) => (answer += text));
  for (let left = bytes; left > 0; left -= PIECE.length) {
    if (!socket.write(PIECE.subarray(0, left))) await once(socket, 'drain');
  }
  socket.end();
  await once(socket, 'end');
  if (Number(answer) !== bytes) throw new Error(`${answer} of ${bytes} bytes`);
}

async function firstBytes(count, pauseMs) {
  const values = [];
  while (values.length < count) {
    const begun = performance.now();
    const socket = await opened('echo\n');
    await once(socket, 'data');
    values.push(performance.now() - begun);
    socket.destroy();
    // The end of one would delay the beginning of the next: sshd waits for an acknowledgement (Nagle).
    await sleep(pauseMs);
  }
  return values;
}

async function streams(count, bytes) {
  const all = Array.from({ length: count }, () => down(bytes).then(() => true, () => false));
  return { whole: (await Promise.all(all)).filter(Boolean).length };
}

async function ask() {
  let over = false;
  process.stdin.on('end', () => (over = true)).resume();
  while (!over) {
    const begun = Date.now();
    const answered = await firstBytes(1, PAUSE_MS).then(() => true, () => false);
    console.log(JSON.stringify({ begun, answered }));
  }
}
