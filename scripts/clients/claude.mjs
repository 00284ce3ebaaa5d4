// What Claude Code makes of the server. It has no command that calls a tool without a model; for `claude mcp list`, to
// be connected is to have shaken hands and listed the tools.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fact, title } from '../demo/screen.mjs';

/** No updates, statistics and reports. */
const QUIET = { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' };

/**
 * @param {import('./install.mjs').Client} client
 * @param {import('./stage.mjs').Stage} stage
 */
export async function claude(client, stage) {
  await byCommand(client, stage);
  await byFile(client, stage);
  for (const transport of ['sse', 'http']) await byUrl(client, stage, transport);
}

async function byCommand(client, stage) {
  title(`Claude Code ${client.version}: by command`);
  const home = newHome(stage);
  await stage.run(client, home, ['mcp', 'add', 'ssh', '--', 'npx', '-y', 'mcp-ssh-sessions']);
  await connected(client, stage, home);
  // Its status is 0 either way, so the text must be one that can be different.
  await stage.run(client, home, ['mcp', 'add', 'broken', '--', 'npx', '-y', 'mcp-ssh-sessions', '--nonsense']);
  const list = await stage.run(client, home, ['mcp', 'list']);
  const distinct = !isConnected(list, 'broken') && isConnected(list, 'ssh');
  fact('a server that cannot start is not Connected, ssh still is', distinct, list);
}

async function byFile(client, stage) {
  title(`Claude Code ${client.version}: by ~/.claude.json`);
  const home = newHome(stage);
  const ssh = { type: 'stdio', command: 'npx', args: ['-y', 'mcp-ssh-sessions'] };
  const text = JSON.stringify({ mcpServers: { ssh } });
  writeFileSync(join(home.path, '.claude.json'), text);
  console.log(`    ${text}`);
  await connected(client, stage, home);
}

/** The daemon's, by command and by file. */
async function byUrl(client, stage, transport) {
  title(`Claude Code ${client.version}: the daemon's URL, ${transport}`);
  const home = newHome(stage);
  const header = (token) => ['--header', `Authorization: Bearer ${token}`];
  const add = (name, url, ...more) => ['mcp', 'add', '--transport', transport, name, url, ...more];
  await stage.run(client, home, add('ssh', stage.daemon.url));
  await stage.run(client, home, add('guarded', stage.guarded.url, ...header(stage.token)));
  await stage.run(client, home, add('refused', stage.guarded.url, ...header('another-token-of-16-and-more')));
  const list = await stage.run(client, home, ['mcp', 'list']);
  fact('✔ Connected', isConnected(list, 'ssh'), list);
  fact('✔ Connected, with its token', isConnected(list, 'guarded'), list);
  fact('not Connected with another one', !isConnected(list, 'refused'), list);

  const file = newHome(stage);
  const servers = {
    ssh: { type: transport, url: stage.daemon.url },
    guarded: { type: transport, url: stage.guarded.url, headers: { Authorization: `Bearer ${stage.token}` } },
  };
  writeFileSync(join(file.path, '.claude.json'), JSON.stringify({ mcpServers: servers }));
  console.log(`    ${JSON.stringify(servers).replace(stage.token, '…')}`);
  const listed = await stage.run(client, file, ['mcp', 'list']);
  fact('✔ Connected, both', isConnected(listed, 'ssh') && isConnected(listed, 'guarded'), listed);
  await nothingRuns(stage);
}

async function connected(client, stage, home) {
  const list = await stage.run(client, home, ['mcp', 'list']);
  fact('✔ Connected', isConnected(list, 'ssh'), list);
  stage.checkFetched();
  await nothingRuns(stage);
}

async function nothingRuns(stage) {
  const left = await stage.survivors();
  fact('nothing of it runs any more', left.length === 0, left);
}

function isConnected(list, name) {
  return list.split('\n').some((line) => line.startsWith(`${name}: `) && line.endsWith(' - ✔ Connected'));
}

function newHome(stage) {
  const home = stage.newHome();
  return { ...home, env: { ...home.env, ...QUIET } };
}
