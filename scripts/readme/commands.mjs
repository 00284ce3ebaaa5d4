// The README's commands for a terminal.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon, privateEnv } from '../lib/daemon.mjs';
import { Stop, root } from '../lib/repository.mjs';

/**
 * Looks up `npm run …`, and carries out what is ours: a daemon starts with the options that the README shows, and answers
 * the address that the README asks. It listens at a free port. The set-up shows the change for a client in a home of its own.
 *
 * @param {import('../lib/markdown.mjs').Block[]} blocks of the README
 * @param {string} program
 * @param {string} folder for files
 */
export async function commands(blocks, program, folder) {
  const lines = blocks
    .filter(({ language }) => language === 'sh')
    .flatMap(({ code }) => code.split('\n'))
    .map((line) => line.replace(/ *#.*/, ''))
    .filter(Boolean);
  for (const line of lines) await carryOut(line, lines, program, folder);
  return lines.join('; ');
}

async function carryOut(line, lines, program, folder) {
  const script = line.match(/^npm run (\S+)$/)?.[1];
  if (script) return known(script);
  if (line === 'npx -y mcp-ssh-sessions setup') return setup(program, join(folder, 'setup'));
  const port = line.match(/^npx mcp-ssh-sessions --http (\d+) --open$/)?.[1];
  if (port) return serve(port, lines, program, folder);
  if (!line.startsWith('curl ')) throw new Stop(`README.md has a command that nobody here can try: ${line}`);
}

function known(script) {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  if (!(script in scripts)) throw new Stop(`README.md says npm run ${script}, which package.json does not have`);
}

function setup(program, home) {
  const cursor = join(home, '.cursor');
  mkdirSync(cursor, { recursive: true });
  const { status, stdout } = spawnSync(program, ['setup'], { encoding: 'utf8', env: { HOME: home, PATH: home }, input: '' });
  const isShown = status === 0 && stdout.includes('"ssh": {') && stdout.includes('--yes');
  if (!isShown || readdirSync(cursor).length > 0) throw new Stop(`setup does not show its changes: ${stdout}`);
}

async function serve(port, lines, program, folder) {
  const asked = lines.map((line) => line.match(/^curl (http:\S+)$/)?.[1]).filter(Boolean);
  // No browser opens: there is no such program in this PATH.
  const env = { ...privateEnv(join(folder, 'daemon')), PATH: folder, BROWSER: 'true' };
  const daemon = await Daemon.start(program, env, ['--open']);
  for (const url of asked) {
    const response = await fetch(url.replace(`:${port}/`, `:${daemon.port}/`));
    if (!response.ok) throw new Stop(`README.md asks ${url}, which answers ${response.status}`);
  }
  await daemon.stop();
}
