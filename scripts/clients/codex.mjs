// What Codex CLI makes of the server. Its app-server calls tools for whoever asks it over stdio, without a model.

import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { answer, call, fact, timed, title } from '../demo/screen.mjs';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';

/** No look for news, no statistics, no connection to a model that is made in advance. */
const QUIET = `\
check_for_update_on_startup = false
model_provider = "nobody"

[model_providers.nobody]
name = "nobody"
base_url = "http://127.0.0.1:9/v1"

[analytics]
enabled = false

[features]
apps = false
plugins = false
`;

/**
 * @param {import('./install.mjs').Client} client
 * @param {import('./stage.mjs').Stage} stage
 */
export async function codex(client, stage) {
  await byCommand(client, stage);
  await byFile(client, stage);
  await byUrl(client, stage);
  await byUrlWithToken(client, stage);
}

async function byCommand(client, stage) {
  title(`Codex CLI ${client.version}: by command`);
  const home = newHome(stage);
  await stage.run(client, home, ['mcp', 'add', 'ssh', '--', 'npx', '-y', 'mcp-ssh-sessions']);
  const list = await stage.run(client, home, ['mcp', 'list']);
  fact('ssh is listed and enabled', /^ssh +npx +-y mcp-ssh-sessions +.*\benabled\b/m.test(list), list);
  await withAppServer(client, stage, home, async ({ server, use }) => {
    const names = Object.keys(server.tools).sort();
    fact(`${server.serverInfo.title} ${server.serverInfo.version}: ${names.join(', ')}`, names.length >= 9, names);
    const { text } = await use('ssh_sessions');
    fact('a tool answers', text.startsWith('no sessions'), text);
    stage.checkFetched();
  });
}

async function byFile(client, stage) {
  title(`Codex CLI ${client.version}: by ~/.codex/config.toml, against an SSH server`);
  const home = newHome(stage);
  const table = [
    '[mcp_servers.ssh]',
    'command = "npx"',
    'args = ["-y", "mcp-ssh-sessions"]',
    `env = { MCP_SSH_CONFIG = ${JSON.stringify(stage.sshd.sshConfig)} }`,
  ];
  appendFileSync(join(home.path, '.codex', 'config.toml'), `\n${table.join('\n')}\n`);
  for (const line of table) console.log(`    ${line.replace(stage.folder, '…')}`);
  await withAppServer(client, stage, home, async ({ use }) => {
    await useAll(use);
    fact('the session is saved in the home', existsSync(join(home.path, '.ssh-mcp-sessions.json')));
    stage.checkFetched();
  });
}

/** The daemon's. */
async function byUrl(client, stage) {
  title(`Codex CLI ${client.version}: the daemon's URL, by command`);
  const home = newHome(stage);
  const { url } = stage.daemon;
  await stage.run(client, home, ['mcp', 'add', 'ssh', '--url', url]);
  const list = await stage.run(client, home, ['mcp', 'list']);
  const lines = list.split('\n').filter((line) => line.startsWith('ssh ') && line.includes(` ${url} `));
  const enabled = lines.some((line) => / enabled /.test(line));
  fact('ssh is listed and enabled', enabled, list);
  await withAppServer(client, stage, home, useAndLeave);
}

async function byUrlWithToken(client, stage) {
  title(`Codex CLI ${client.version}: the daemon's URL and its token, by ~/.codex/config.toml`);
  const home = newHome(stage);
  const table = ['[mcp_servers.ssh]', `url = "${stage.guarded.url}"`, 'bearer_token_env_var = "SSH_DAEMON_TOKEN"'];
  appendFileSync(join(home.path, '.codex', 'config.toml'), `\n${table.join('\n')}\n`);
  for (const line of table) console.log(`    ${line}`);
  const bearer = { ...home, env: { ...home.env, SSH_DAEMON_TOKEN: stage.token } };
  await withAppServer(client, stage, bearer, useAndLeave);
  const other = { ...home, env: { ...home.env, SSH_DAEMON_TOKEN: 'another-token-of-16-and-more' } };
  const refused = await withAppServer(client, stage, other, () => 'let in').catch((error) => error);
  const notStarted = refused instanceof Stop && refused.message.startsWith('the server has not started');
  fact('it is not let in with another one', notStarted, refused);
}

/** What it leaves would live on in the daemon. */
async function useAndLeave({ use }) {
  await useAll(use);
  await use('ssh_disconnect');
}

async function useAll(use) {
  await use('ssh_connect', { host: 'demo' });
  const product = await use('ssh_exec', { command: 'echo $((6 * 7)); exit 3' });
  fact('the answer of a command, and its status', /^42\n\[exit 3 /.test(product.text), product.text);
  await use('ssh_shell', { command: 'mkdir -p deep/down && cd deep/down' });
  const folder = await use('ssh_shell', { command: 'pwd' });
  fact('the shell has kept its directory', /^\/.*\/deep\/down\n\[exit 0 /.test(folder.text), folder.text);
  const { text } = await use('ssh_sessions');
  fact('the session is connected', /^demo: connected/.test(text), text);
}

/** Talks to an app-server in `scene`, and sees it and all below it end with its stdin. */
async function withAppServer({ command, args }, stage, home, scene) {
  console.log('    $ codex app-server');
  const client = new Client(command, [...args, 'app-server'], home.env);
  try {
    const seen = await scene(await opened(client));
    const processes = stage.processes();
    const ended = await Promise.race([client.close(), sleep(10_000, 'nothing in 10 s', { ref: false })]);
    fact('it ends when its stdin does', ended.code === 0, ended);
    const left = await stage.survivors(processes);
    fact(`all processes are gone${count(processes)}`, left.length === 0, left);
    return seen;
  } catch (error) {
    if (error instanceof Stop && client.log.trim()) error.message += `\n    its log: ${client.log.trim().slice(-1000)}`;
    throw error;
  } finally {
    client.kill();
  }
}

/** Begins as the app-server's own protocol does, not MCP's; `codex app-server generate-json-schema` describes it. */
async function opened(client) {
  const clientInfo = { name: 'mcp-ssh-sessions-check', version: '0' };
  await client.request('initialize', { clientInfo, capabilities: { experimentalApi: true } });
  client.notify('initialized');
  const { data } = await client.request('mcpServerStatus/list', {});
  const server = data.find(({ name }) => name === 'ssh');
  if (!server?.serverInfo) throw new Stop(`the server has not started: ${JSON.stringify(data)}`);
  const { thread } = await client.request('thread/start', { ephemeral: true });
  const use = async (tool, params = {}) => {
    call(tool, params);
    const request = { threadId: thread.id, server: 'ssh', tool, arguments: params };
    const [result, milliseconds] = await timed(client.request('mcpServer/tool/call', request));
    const text = result.content.map((block) => block.text).join('');
    answer(text, milliseconds);
    if (result.isError) fact(`${tool} works`, false, text);
    return { ...result, text };
  };
  return { server, use };
}

function newHome(stage) {
  const home = stage.newHome();
  mkdirSync(join(home.path, '.codex'));
  writeFileSync(join(home.path, '.codex', 'config.toml'), QUIET);
  return home;
}

/** Where processes cannot be seen there is nothing to count. */
function count(processes) {
  return processes.length > 0 ? `, of ${processes.length}` : '';
}
