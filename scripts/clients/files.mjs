// Work on files through a client, without a command: five tasks, an image, and a client that may only read. What comes of
// it is looked at where the files are.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { title } from '../demo/screen.mjs';
import { Stop } from '../lib/repository.mjs';
import { toolsOf } from '../lib/tools.mjs';
import { DRIVERS, converse, goal, server } from './conversation.mjs';

const TOOLS = ['ssh_read', 'ssh_search', 'ssh_edit'];

/** One red dot. */
const IMAGE = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC';

const CONFIG = 'listen 80\nworkers 4\n';

/**
 * A call of each task, and whether it is done, by what the model has received.
 *
 * @param {string} folder of the host, with files
 * @returns {{ task: string, tool: string, args: object, isDone: (received: { text: string, images: string[] }) => boolean }[]}
 */
const tasks = (folder) => {
  const at = (name) => join(folder, name);
  const holds = (name, text) => readFileSync(at(name), 'utf8') === text;
  const patch = [
    '*** Begin Patch',
    `*** Update File: ${at('app.conf')}`,
    '@@',
    '-listen 80',
    '+listen 8080',
    `*** Add File: ${at('new.conf')}`,
    '+debug off',
    '*** End Patch',
    '',
  ];
  return [
    { task: 'a file is read', tool: 'ssh_read', args: { path: at('app.conf') }, isDone: ({ text }) => text.includes('2\tworkers 4') },
    { task: 'a directory is listed', tool: 'ssh_read', args: { path: folder }, isDone: ({ text }) => text.includes('dot.png') },
    {
      task: 'a word is found',
      tool: 'ssh_search',
      args: { pattern: 'work.rs', path: folder },
      isDone: ({ text }) => text.includes('app.conf') && text.includes('workers 4'),
    },
    {
      task: 'a line is changed',
      tool: 'ssh_edit',
      args: { path: at('app.conf'), oldText: 'workers 4', newText: 'workers 8' },
      isDone: ({ text }) => text.includes('+workers 8'),
    },
    {
      task: 'two files are patched',
      tool: 'ssh_edit',
      args: { patch: patch.join('\n') },
      isDone: () => holds('app.conf', 'listen 8080\nworkers 8\n') && holds('new.conf', 'debug off\n'),
    },
    { task: 'an image is shown', tool: 'ssh_read', args: { path: at('dot.png') }, isDone: ({ images }) => images.includes(IMAGE) },
  ];
};

/**
 * @param {import('./install.mjs').Client} client
 * @param {import('./stage.mjs').Stage} stage
 * @param {string} binary the server
 */
export async function files(client, stage, binary) {
  title(`${client.bin} ${client.version}: work on files, with a scripted model`);
  const names = (await toolsOf(binary)).map(({ name }) => name);
  const missing = TOOLS.filter((name) => !names.includes(name));
  if (missing.length > 0) throw new Stop(`there is no ${missing.join(', ')}`);
  const all = tasks(newFolder(stage));
  const received = await carriedOut(client, stage, binary, all);
  for (const [index, { task, isDone }] of all.entries()) {
    const { text, images } = received[index];
    goal(`${task}: ${JSON.stringify(text.slice(-80))}`, isDone({ text, images }));
  }
  if (client.bin === 'codex') await readOnly(client, stage, binary);
}

/** A client that asks nobody, and so may call only what changes nothing. */
async function readOnly(client, stage, binary) {
  const folder = newFolder(stage);
  const all = tasks(folder).filter(({ task }) => ['a file is read', 'a word is found', 'a line is changed'].includes(task));
  const rights = ['--sandbox', 'read-only', '--config', 'approval_policy="never"'];
  const received = await carriedOut(client, stage, binary, all, rights);
  for (const [index, { task, tool, isDone }] of all.entries()) {
    if (tool === 'ssh_edit') {
      const { text } = received[index];
      const isWhole = readFileSync(join(folder, 'app.conf'), 'utf8') === CONFIG;
      goal(`it may change nothing: ${JSON.stringify(text.slice(0, 80))}`, text !== '' && isWhole);
    } else {
      goal(`${task}, by a client that may only read`, isDone(received[index]));
    }
  }
}

/** Has a client make the call of each task, on a host that is not connected yet. */
async function carriedOut(client, stage, binary, all, rights) {
  const driver = DRIVERS[client.bin];
  const home = stage.newHome();
  const searches = [driver.search('ssh'), ...driver.load(TOOLS)];
  const calls = all.map(({ tool, args }) => ({ tool: driver.call(tool), args: { ...args, session: 'demo' } }));
  const own = server(join(home.path, 'server.log'), binary, stage);
  return (await converse(client, home, own, [...searches, ...calls], rights)).slice(searches.length);
}

/** Files on the host, which is this machine. */
function newFolder(stage) {
  const folder = stage.path('remote', `files-${Math.random()}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'app.conf'), CONFIG);
  writeFileSync(join(folder, 'dot.png'), Buffer.from(IMAGE, 'base64'));
  return folder;
}
