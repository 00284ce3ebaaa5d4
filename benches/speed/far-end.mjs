// What forwards lead to, on the far side of a line: `node far-end.mjs ADDRESS` prints its port. Each connection asks for
// one thing, in a line: `down BYTES`, `up`, whose end is answered with the number of bytes, or `echo`.

import { createServer } from 'node:net';

const PIECE = Buffer.alloc(256 * 1024, '.');

const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.setNoDelay(true).on('error', () => socket.destroy());
  socket.once('data', (first) => {
    const end = first.indexOf('\n');
    const [what, count] = first.subarray(0, end).toString().split(' ');
    if (what === 'down') send(socket, Number(count));
    else if (what === 'up') receive(socket, first.length - end - 1);
    else socket.end(first);
  });
});

function send(socket, left) {
  while (left > 0) {
    const piece = PIECE.subarray(0, left);
    left -= piece.length;
    if (!socket.write(piece)) return socket.once('drain', () => send(socket, left));
  }
  socket.end();
}

function receive(socket, received) {
  socket.on('data', ({ length }) => (received += length));
  socket.on('end', () => socket.end(String(received)));
}

server.listen(0, process.argv[2], 4096, () => console.log(server.address().port));
