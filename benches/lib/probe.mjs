// What a line carries without SSH: the round trip, and the throughput of several connections at once.
//
//   node probe.mjs serve ADDRESS                            prints its port
//   node probe.mjs measure ADDRESS PORT CONNECTIONS MIB     prints { roundTripMs, bytesPerSecond }

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const PINGS = 10;
const CHUNK = Buffer.alloc(65_536);

const [mode, address, ...numbers] = process.argv.slice(2);
const [port, connections, mib] = numbers.map(Number);

if (mode === 'serve') {
  // A single byte is sent back; all else is swallowed, and the end is answered by the end.
  createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {}).on('data', (chunk) => chunk.length === 1 && socket.write(chunk));
  }).listen(0, address, function () {
    console.log(this.address().port);
  });
} else {
  const sockets = await Promise.all(Array.from({ length: connections }, open));
  const roundTripMs = await roundTrip(sockets[0]);
  const start = performance.now();
  await Promise.all(sockets.map(fill));
  const bytes = connections * mib * 2 ** 20;
  console.log(JSON.stringify({ roundTripMs, bytesPerSecond: (bytes / (performance.now() - start)) * 1000 }));
}

async function open() {
  const socket = connect({ port, host: address, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

async function roundTrip(socket) {
  const times = [];
  for (let ping = 0; ping < PINGS; ping++) {
    const start = performance.now();
    socket.write('x');
    await once(socket, 'data');
    times.push(performance.now() - start);
  }
  return Math.min(...times);
}

async function fill(socket) {
  socket.resume();
  for (let sent = 0; sent < mib * 2 ** 20; sent += CHUNK.length) {
    if (!socket.write(CHUNK)) await once(socket, 'drain');
  }
  socket.end();
  await once(socket, 'close');
}
