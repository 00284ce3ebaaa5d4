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

async function connected(client, stage, home) {
  const list = await stage.run(client, home, ['mcp', 'list']);
  fact('✔ Connected', isConnected(list, 'ssh'), list);
  stage.checkFetched();
  const left = await stage.survivors();
  fact('nothing of it runs any more', left.length === 0, left);
}

function isConnected(list, name) {
  return list.split('\n').some((line) => line.startsWith(`${name}: npx `) && line.endsWith(' - ✔ Connected'));
}

function newHome(stage) {
  const home = stage.newHome();
  return { ...home, env: { ...home.env, ...QUIET } };
}
