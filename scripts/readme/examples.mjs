// The README's examples: calls of tools, each with the answer below it, set in.

import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { privateEnv, startDemoSshd } from '../lib/daemon.mjs';
import { initialize } from '../lib/mcp/handshake.mjs';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';

/** The hosts of the examples. */
const HOSTS = 'web db';
/** The port of the host at which a web server answers in them. */
const PORT = '5173';
const INDENT = '  ';

/**
 * Runs them in the order of the page, and compares the answers.
 *
 * @param {import('../lib/markdown.mjs').Block[]} blocks of the README
 * @param {{ program: string, sshd: string }} programs
 * @param {string} folder for files
 */
export async function examples(blocks, { program, sshd }, folder) {
  const server = await startDemoSshd(sshd, join(folder, 'remote'));
  const site = createServer((_, answer) => answer.end('hello')).listen(0, '127.0.0.1');
  await once(site, 'listening');
  prepareHost(join(folder, 'remote', 'home'));
  const config = join(folder, 'ssh_config');
  writeFileSync(config, hostsOf(readFileSync(server.sshConfig, 'utf8')));

  const client = new Client(program, ['--ssh-config', config], privateEnv(join(folder, 'home')));
  await initialize(client);
  // What is another number here than in the README.
  const actual = new Map([[PORT, String(site.address().port)]]);
  const calls = blocks.filter(({ language }) => language === '').flatMap(callsIn);
  for (const call of calls) await tryOut(client, call, actual);
  await client.close();
  site.close();
  server.child.stdin.end();
  return `${calls.length} calls`;
}

/** What the examples find on the host. */
function prepareHost(home) {
  writeFileSync(join(home, 'app.conf'), 'port = 8080\ndebug = true\n');
  writeFileSync(join(home, 'build'), "#!/bin/sh\necho 'Building 1/2'\nsleep 2.5\necho 'Building 2/2'\n", { mode: 0o755 });
}

/** The demo's configuration, in which `demo` has the names of the examples. */
function hostsOf(config) {
  const [block] = config.match(/^Host demo\n.*?(?=^Host )/ms);
  return block.replace('Host demo', `Host ${HOSTS}`);
}

/** The calls of a block, each with the lines below it. */
function callsIn({ code, line }) {
  const calls = [];
  for (const [index, text] of code.trimEnd().split('\n').entries()) {
    if (text.startsWith(INDENT)) calls.at(-1).answer.push(text.slice(INDENT.length));
    else calls.push({ text, line: line + index + 1, answer: [] });
  }
  return calls;
}

async function tryOut(client, { text, line, answer }, actual) {
  const where = `README.md:${line}: ${text}`;
  const [, name, given] = text.match(/^(ssh_\w+)\((.*)\)$/) ?? [];
  if (!name) throw new Stop(`${where} is no call of a tool`);
  // The names of parameters get their quotes.
  const json = given.replaceAll(/("(?:[^"\\]|\\.)*")|(\w+):/g, (_, string, key) => string ?? `"${key}":`);
  const params = JSON.parse(withActual(`{${json}}`, actual));
  const result = await client.request('tools/call', { name, arguments: params });
  const said = result.content.map((block) => block.text.trimEnd()).join('\n');
  if (result.isError) throw new Stop(`${where} fails: ${said}`);
  if (answer.length === 0) return;

  // The answers after this one name the job by what it is called here.
  const job = /\bjob ([\da-f]{8})\b/;
  const [, named] = answer.join('\n').match(job) ?? [];
  if (named && !actual.has(named)) actual.set(named, said.match(job)?.[1] ?? named);
  const wanted = answer.map((each) => patternOf(withActual(each, actual))).join('\n');
  if (!new RegExp(`^${wanted}$`, 's').test(plain(said))) throw new Stop(`${where} answers otherwise:\n${said}`);
}

function withActual(text, actual) {
  return [...actual].reduce((changed, [ours, theirs]) => changed.replaceAll(ours, theirs), text);
}

/** An ellipsis stands for anything, alone in a line for any number of lines. */
function patternOf(line) {
  return plain(line)
    .split('…')
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join(line.trim() === '…' ? '.*' : '[^\\n]*');
}

/** Without what differs from run to run: the port that is free here, and durations. */
function plain(text) {
  return text.replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'http://127.0.0.1:PORT').replaceAll(/\b[\d.]+ m?s\b/g, 'TIME');
}
