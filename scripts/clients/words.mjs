// Our words on their way through a client to a model: each tool is called once, and the text that the server has sent is
// compared with the text that the model receives. A search for each
// of some tasks shows which of our tools the client finds for it.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { title } from '../demo/screen.mjs';
import { Stop } from '../lib/repository.mjs';
import { toolsOf } from '../lib/tools.mjs';
import { DRIVERS, FIRST, converse, goal, sentIn, server } from './conversation.mjs';

/** What an agent may search for, and the tools of which one is right. */
const PHRASES = [
  ['run command on remote server', 'ssh_exec', 'ssh_shell'],
  ['ssh into a host', 'ssh_connect', 'ssh_exec', 'ssh_shell'],
  ['execute shell command remotely', 'ssh_exec', 'ssh_shell'],
  ['deploy to server', 'ssh_exec', 'ssh_upload', 'ssh_shell'],
  ['upload file to remote server', 'ssh_upload'],
  ['download file from server', 'ssh_download'],
  ['list ssh hosts', 'ssh_sessions'],
  ['check status of a long running remote command', 'ssh_job'],
  ['read a log file on the remote server', 'ssh_read', 'ssh_exec', 'ssh_shell'],
  ['search text in files on the remote server', 'ssh_search', 'ssh_exec', 'ssh_shell'],
  ['edit a config file on the remote server', 'ssh_edit', 'ssh_exec', 'ssh_shell'],
  ['open the dev server of web in my browser', 'ssh_forward'],
  ['reach the database port through ssh', 'ssh_forward'],
];

/** More than any client shows. */
const LARGE = 'ssh_exec, a large answer';

/** @param {string} home a folder with `up.txt` */
const calls = (home) => [
  ['ssh_connect', { host: 'demo' }],
  ['ssh_exec', { command: 'echo words; exit 3' }],
  [LARGE, { command: 'i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done' }],
  ['ssh_shell', { command: 'pwd' }],
  ['ssh_job', {}],
  ['ssh_upload', { localPath: join(home, 'up.txt'), remotePath: 'up.txt' }],
  ['ssh_download', { remotePath: 'up.txt', localPath: join(home, 'down.txt') }],
  ['ssh_read', { path: 'up.txt' }],
  ['ssh_search', { pattern: 'hello', path: 'up.txt' }],
  ['ssh_edit', { path: 'up.txt', oldText: 'hello', newText: 'good day' }],
  ['ssh_forward', { to: 'socks' }],
  ['ssh_forward, the list', {}],
  ['ssh_sessions', {}],
  ['ssh_set_default', { session: 'demo' }],
  ['ssh_reconnect', { session: 'demo' }],
  ['ssh_disconnect', { session: 'demo' }],
];

/**
 * @param {import('./install.mjs').Client} client
 * @param {import('./stage.mjs').Stage} stage
 * @param {string} binary the server
 */
export async function words(client, stage, binary) {
  title(`${client.bin} ${client.version}: our words, with a scripted model`);
  const driver = DRIVERS[client.bin];
  const home = stage.newHome();
  writeFileSync(join(home.path, 'up.txt'), 'hello\n');
  const names = (await toolsOf(binary)).map(({ name }) => name);
  const wanted = calls(home.path).filter(([label]) => names.includes(toolOf(label)));
  const uncalled = names.filter((name) => !wanted.some(([label]) => label === name));
  if (uncalled.length > 0) throw new Stop(`no call is written down for ${uncalled.join(', ')}`);

  const log = join(home.path, 'server.log');
  // The first search waits until the client has connected the server, and is not counted.
  const searches = ['ssh', ...PHRASES.map(([phrase]) => phrase)].map((phrase) => driver.search(phrase));
  const loads = driver.load(names);
  const uses = wanted.map(([label, args]) => ({ tool: driver.call(toolOf(label)), args }));
  const received = await converse(client, home, server(log, binary, stage), [...searches, ...loads, ...uses]);
  showSearches(received.slice(1, searches.length));
  showWords(wanted, received.slice(searches.length + loads.length), sentIn(log));
}

function showSearches(received) {
  const ranks = PHRASES.map(([phrase, ...right], index) => {
    const ours = received[index].tools.map((name) => name.replace(/^mcp__ssh__/, ''));
    const rank = ours.findIndex((name) => right.includes(name)) + 1;
    console.log(`    ${phrase.padEnd(48)} ${(rank || 'no').toString().padEnd(4)} ${ours.slice(0, FIRST).join(' ')}`);
    return rank;
  });
  const found = ranks.filter((rank) => rank > 0 && rank <= FIRST).length;
  goal(`the right tool is among the first ${FIRST} for ${found} of ${PHRASES.length} phrases`, found === PHRASES.length);
}

/** Compares what the model has received with what the server has sent, call by call. */
function showWords(wanted, received, sent) {
  if (sent.length !== wanted.length) throw new Stop(`the server has answered ${sent.length} of ${wanted.length} calls`);
  const arrived = wanted.map(([label], index) => {
    const { text } = received[index];
    const missing = sent[index].filter((block) => !text.includes(block.trimEnd()));
    const whole = missing.length === 0;
    console.log(`    ${label.padEnd(28)} ${whole ? 'arrived' : `other: ${JSON.stringify(text.slice(-90))}`}`);
    return whole;
  });
  const small = wanted.map(([label], index) => label === LARGE || arrived[index]);
  goal(`the words of ${small.filter(Boolean).length} of ${small.length} calls arrive`, small.every(Boolean));

  const large = wanted.findIndex(([label]) => label === LARGE);
  const status = sent[large].at(-1).trimEnd().split('\n').at(-1);
  goal('a large answer keeps the status line', received[large].text.includes(status));
}

function toolOf(label) {
  return label.split(',')[0];
}
