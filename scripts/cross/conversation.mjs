// What a cross-compiled program has to show: it talks to the SSH server of scripts/cross-check as an agent would.
// `node conversation.mjs FOLDER PREFIX PROGRAM [ARG …]`: FOLDER has the server's ssh_config, PREFIX comes before the
// paths that the program is given for its own side.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent } from '../demo/agent.mjs';
import { answer, call, fact, timed, title } from '../demo/screen.mjs';
import { initialize } from '../lib/mcp/handshake.mjs';
import { Client } from '../lib/mcp/stdio.mjs';
import { fail } from '../lib/repository.mjs';

/** More than one piece of a transfer, and no whole number of them. */
const FILE_BYTES = 300_001;

const [folder, prefix, program, ...args] = process.argv.slice(2);
const path = (...names) => join(folder, ...names);
const local = (name) => prefix + path(name);

let client;
try {
  title('The version');
  const { status, stdout, stderr } = spawnSync(program, [...args, '--version'], { encoding: 'utf8', timeout: 60_000 });
  fact(stdout.trim() || 'it prints one', status === 0 && /^mcp-ssh-sessions \d/.test(stdout), { status, stderr });

  client = new Client(program, [...args, '--ssh-config', path('ssh_config'), '--store', local('sessions.json')], {
    ...process.env,
    HOME: path('home'),
  });
  const agent = new Agent(client);
  await hello();
  await connect(agent);
  await commands(agent);
  await transfers(agent);
  await proxy(agent);
  await end(agent);
} catch (error) {
  client?.kill();
  if (client?.log) console.error(`\nThe program's log:\n${client.log.trimEnd()}`);
  fail('cross-check', error);
}

async function hello() {
  title('MCP');
  call('initialize', {});
  const [{ serverInfo, protocolVersion }, milliseconds] = await timed(initialize(client));
  answer(`${serverInfo.name} ${serverInfo.version}, MCP ${protocolVersion}`, milliseconds);
  const { tools } = await client.request('tools/list');
  fact(`${tools.length} tools`, tools.length >= 9, tools);
}

async function connect(agent) {
  title('A session');
  const { notices } = await agent.use('ssh_connect', { host: 'cross' });
  const saved = readFileSync(path('known_hosts'), 'utf8');
  fact('the new host key is saved, behind what was there', /^# keep\n\S+ ssh-ed25519 \S+\n$/.test(saved), {
    notices,
    saved,
  });
  fact('the session is saved', readFileSync(path('sessions.json'), 'utf8').includes('"cross"'));
}

async function commands(agent) {
  title('Commands');
  const exec = await agent.use('ssh_exec', { command: 'cat; echo $((6 * 7)) >&2; exit 3', stdin: 'ä\r\nb\n' });
  fact('stdin, stdout, stderr and the status pass through', /ä[^]*b[^]*42[^]*\b3\b/.test(exec.text), exec.text);
  await agent.use('ssh_shell', { command: 'cd / && it=stays' });
  const shell = await agent.use('ssh_shell', { command: 'echo "$PWD $it"' });
  fact('the shell keeps its state', /^\/ stays$/m.test(shell.text), shell.text);
}

async function transfers(agent) {
  title('Files');
  const bytes = randomBytes(FILE_BYTES);
  writeFileSync(path('original'), bytes);
  await agent.use('ssh_upload', { localPath: local('original'), remotePath: path('uploaded') });
  fact('the upload is the same', readFileSync(path('uploaded')).equals(bytes));
  for (const what of ['the download', 'a download over it']) {
    writeFileSync(path('uploaded'), bytes.reverse());
    const remotePath = path('uploaded');
    const { text, to } = await agent.use('ssh_download', { remotePath, localPath: local('downloaded') });
    fact(`${what} is the same`, readFileSync(path('downloaded')).equals(bytes));
    fact('it is where it was asked for', to === local('downloaded'), text);
  }
}

async function proxy(agent) {
  title('A proxy command with quotes');
  const before = readFileSync(path('known_hosts'), 'utf8');
  await agent.use('ssh_connect', { host: 'proxied' });
  const { text } = await agent.use('ssh_exec', { session: 'proxied', command: 'echo through' });
  fact('a command runs through it', text.includes('through'), text);
  fact('the host key is known by now', readFileSync(path('known_hosts'), 'utf8') === before);
}

async function end(agent) {
  title('The end');
  await agent.use('ssh_disconnect', { session: 'cross' });
  const { code, signal } = await client.close();
  fact('when its stdin ends, so does the program, with status 0', code === 0, signal ?? code);
}
