// Runs an MCP server over stdio, and keeps what it says in a file.
//
//   node tee.mjs FILE PROGRAM [ARGUMENT …]

import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';

const [file, program, ...args] = process.argv.slice(2);
const kept = createWriteStream(file, { flags: 'a' });
const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
process.stdin.pipe(child.stdin).on('error', () => {});
child.stdout.on('data', (chunk) => (kept.write(chunk), process.stdout.write(chunk)));
child.on('exit', (code) => kept.end(() => process.exit(code ?? 1)));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
