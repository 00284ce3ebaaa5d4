// A conversation of a client with a scripted model and our server, whose answers are kept.

import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../npm/peer.mjs';
import { Stop } from '../lib/repository.mjs';
import { ScriptedModel } from './model.mjs';

/** So many tools are looked at that a search finds. */
export const FIRST = 5;

/** What it takes for all steps on a slow machine. */
const PATIENCE_MS = 300_000;

/** How each client is driven: what its searches and calls look like, and how it is started. */
export const DRIVERS = {
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

/** How a client starts our server, with its answers kept in a file. */
export function server(log, binary, stage) {
  const tee = fileURLToPath(new URL('tee.mjs', import.meta.url));
  return { command: process.execPath, args: [tee, log, binary], env: { MCP_SSH_CONFIG: stage.sshd.sshConfig } };
}

/**
 * Has a client carry out steps.
 *
 * @param {import('./install.mjs').Client} client
 * @param {{ path: string, env: NodeJS.ProcessEnv }} home
 * @param {ReturnType<typeof server>} own
 * @param {import('./model.mjs').Step[]} steps
 * @param {string[]} [rights] arguments in place of those that allow everything
 * @returns {Promise<ReturnType<ScriptedModel['received']>>} what the model has received for each step
 */
export async function converse(client, home, own, steps, rights) {
  const model = new ScriptedModel(steps);
  try {
    const { args, env } = DRIVERS[client.bin].start(home, await model.open(), own, rights);
    const command = { command: client.command, args: [...client.args, ...args] };
    const ended = await run(command, { cwd: process.cwd(), env: { ...home.env, ...env }, timeout: PATIENCE_MS });
    const received = model.received();
    if (ended.status !== 0 || received.length === 0) {
      throw new Stop(`${client.bin} ends with ${ended.signal ?? ended.status}: ${(ended.stderr || ended.stdout).slice(-1000)}`);
    }
    return received;
  } finally {
    model.close();
  }
}

/** The blocks of each result of a call that the server has sent, in order. */
export function sentIn(log) {
  if (!existsSync(log)) throw new Stop('the client has not started the server');
  const messages = readFileSync(log, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const results = messages.filter(({ result }) => Array.isArray(result?.content));
  return results.map(({ result }) => result.content.map(({ text = '' }) => text));
}

export function goal(text, reached) {
  if (!reached) throw new Stop(`goal not reached: ${text}`);
  console.log(`    ✓ ${text}`);
}

function startClaude(home, url, server, rights = ['--allowedTools', 'mcp__ssh']) {
  const { args, env } = configureClaude(home, url, server);
  return { args: ['-p', 'go', ...args, ...rights], env };
}

/** Writes what Claude Code reads, and returns what it is started with. */
export function configureClaude(home, url, server) {
  const file = join(home.path, 'mcp.json');
  writeFileSync(file, JSON.stringify({ mcpServers: { ssh: server } }));
  const args = ['--mcp-config', file, '--strict-mcp-config'];
  const env = {
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: 'none',
    // With another address than its maker's it loads all tools at once, unless it is asked to search.
    ENABLE_TOOL_SEARCH: 'true',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
  };
  return { args, env };
}

function startCodex(home, url, server, rights = ['--dangerously-bypass-approvals-and-sandbox']) {
  configureCodex(home, url, server);
  // Our server alone is called, and only its tools.
  return { args: ['exec', '--skip-git-repo-check', ...rights, 'go'], env: {} };
}

/** Writes what Codex reads. */
export function configureCodex(home, url, { command, args, env }) {
  mkdirSync(join(home.path, '.codex'), { recursive: true });
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
}
