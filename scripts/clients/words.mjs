// Our words on their way through a client to a model: each tool is called once, and the text that the server has sent is
// compared with the text that the model receives. Ten searches show which of our tools the client finds for a task.

import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../npm/peer.mjs';
import { title } from '../demo/screen.mjs';
import { Stop } from '../lib/repository.mjs';
import { toolsOf } from '../lib/tools.mjs';
import { ScriptedModel } from './model.mjs';

/** A tool has to be among so many that are found. */
const FIRST = 5;

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
  ['edit a config file on the remote server', 'ssh_edit', 'ssh_exec', 'ssh_shell'],
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
  ['ssh_forward', {}],
  ['ssh_sessions', {}],
  ['ssh_set_default', { session: 'demo' }],
  ['ssh_reconnect', { session: 'demo' }],
  ['ssh_disconnect', { session: 'demo' }],
];

/** How each client is driven: what its searches and calls look like, and how it is started. */
const DRIVERS = {
  claude: {
    search: (query) => ({ tool: 'ToolSearch', args: { query, max_results: FIRST } }),
    load: (names) => [{ tool: 'ToolSearch', args: { query: `select:${names.map((name) => `mcp__ssh__${name}`)}`, max_results: names.length } }],
    call: (name) => `mcp__ssh__${name}`,
    start: startClaude,
  },
  codex: {
    search: (query) => ({ tool: 'tool_search', search: true, args: { query, limit: 8 } }),
    load: () => [],
    call: (name) => `mcp__ssh/${name}`,
    start: startCodex,
  },
};

/** What it takes for all steps on a slow machine. */
const PATIENCE_MS = 300_000;

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

  // The first search waits until the client has connected the server, and is not counted.
  const searches = ['ssh', ...PHRASES.map(([phrase]) => phrase)].map((phrase) => driver.search(phrase));
  const loads = driver.load(names);
  const uses = wanted.map(([label, args]) => ({ tool: driver.call(toolOf(label)), args }));
  const model = new ScriptedModel([...searches, ...loads, ...uses]);
  const log = join(home.path, 'server.log');
  const tee = fileURLToPath(new URL('tee.mjs', import.meta.url));
  const server = { command: process.execPath, args: [tee, log, binary], env: { MCP_SSH_CONFIG: stage.sshd.sshConfig } };
  try {
    const { args, env } = driver.start(home, await model.open(), server);
    const command = { command: client.command, args: [...client.args, ...args] };
    const ended = await run(command, { cwd: process.cwd(), env: { ...home.env, ...env }, timeout: PATIENCE_MS });
    const received = model.received();
    if (ended.status !== 0 || received.length === 0) {
      throw new Stop(`${client.bin} ends with ${ended.signal ?? ended.status}: ${(ended.stderr || ended.stdout).slice(-1000)}`);
    }
    showSearches(received.slice(1, searches.length));
    showWords(wanted, received.slice(searches.length + loads.length), sentIn(log));
  } finally {
    model.close();
  }
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

function goal(text, reached) {
  if (!reached) throw new Stop(`goal not reached: ${text}`);
  console.log(`    ✓ ${text}`);
}

function toolOf(label) {
  return label.split(',')[0];
}

/** The blocks of each result of a call that the server has sent, in order. */
function sentIn(log) {
  if (!existsSync(log)) throw new Stop('the client has not started the server');
  const messages = readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const results = messages.filter(({ result }) => Array.isArray(result?.content));
  return results.map(({ result }) => result.content.map(({ text = '' }) => text));
}

function startClaude(home, url, server) {
  const file = join(home.path, 'mcp.json');
  writeFileSync(file, JSON.stringify({ mcpServers: { ssh: server } }));
  const args = ['-p', 'go', '--mcp-config', file, '--strict-mcp-config', '--allowedTools', 'mcp__ssh'];
  const env = {
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: 'none',
    // With another address than its maker's it loads all tools at once, unless it is asked to search.
    ENABLE_TOOL_SEARCH: 'true',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  };
  return { args, env };
}

function startCodex(home, url, { command, args, env }) {
  mkdirSync(join(home.path, '.codex'));
  const text = JSON.stringify;
  const config = [
    'model = "gpt-5.5"',
    'model_provider = "scripted"',
    'check_for_update_on_startup = false',
    '[model_providers.scripted]',
    'name = "scripted"',
    `base_url = ${text(`${url}/v1`)}`,
    'wire_api = "responses"',
    'request_max_retries = 0',
    '[analytics]',
    'enabled = false',
    '[features]',
    'apps = false',
    'plugins = false',
    '[mcp_servers.ssh]',
    `command = ${text(command)}`,
    `args = ${text(args)}`,
    `env = { ${Object.entries(env).map(([name, value]) => `${name} = ${text(value)}`).join(', ')} }`,
  ];
  appendFileSync(join(home.path, '.codex', 'config.toml'), `${config.join('\n')}\n`);

  // Our server alone is called, and only its tools.
  return { args: ['exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', 'go'], env: {} };
}
