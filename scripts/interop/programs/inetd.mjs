// Runs a program for each connection, which is its stdin and stdout, as inetd does: PORT PROGRAM ARGUMENTS...

import { spawn } from 'node:child_process';
import { createServer } from 'node:net';

const [port, program, ...args] = process.argv.slice(2);

// Paused: what arrives is for the program.
const server = createServer({ pauseOnConnect: true }, (socket) => {
  socket.on('error', () => {});
  spawn(program, args, { stdio: [socket, socket, 'inherit'] }).on('exit', () => socket.destroy());
});
server.listen(Number(port), '127.0.0.1');
