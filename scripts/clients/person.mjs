// A person at a client: sees its questions, and answers them. The client runs as it does within an editor, which shows
// the questions: Claude Code with the protocol of its SDK, Codex as its app-server.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';
import { configureClaude, configureCodex } from './conversation.mjs';
import { ScriptedModel } from './model.mjs';

/** What it takes for all steps on a slow machine. */
const PATIENCE_MS = 300_000;

/**
 * @typedef {object} Question
 * @property {'call' | 'form'} kind of the client about a call, or a form of the server
 * @property {string} text what the person sees
 */

/**
 * Has a client carry out steps, and a person answer its questions.
 *
 * @param {import('./install.mjs').Client} client
 * @param {{ path: string, env: NodeJS.ProcessEnv }} home
 * @param {ReturnType<typeof import('./conversation.mjs').server>} own the server
 * @param {import('./model.mjs').Step[]} steps
 * @param {object} [settings]
 * @param {string} [settings.hook] the command of a hook for our tools and the shell
 * @param {boolean} [settings.hasHook] the client has a hook already
 * @param {string} [settings.choice] what the person chooses in a form
 * @returns {Promise<{ text: string, questions: Question[] }[]>} what the model has received for each step, and what the
 *   person was asked in it
 */
export async function withPerson(client, home, own, steps, { hook, hasHook, choice = 'once' } = {}) {
  const model = new ScriptedModel(steps);
  const asked = [];
  const ask = (kind, text) => asked.push({ kind, text, step: model.step });
  const url = await model.open();
  try {
    const drive = client.bin === 'claude' ? claude : codex;
    await drive({ client, home, own, url, hook, hasHook, choice, ask, finished: model.finished });
    return model.received().map(({ text }, index) => ({ text, questions: asked.filter(({ step }) => step === index) }));
  } finally {
    model.close();
  }
}

/** What is put into the fields of a form: the choice, where there is one to make. */
function filled(schema, choice) {
  const isMeant = (text) => text?.toLowerCase() === choice;
  const fields = Object.entries(schema?.properties ?? {}).map(([name, field]) => {
    const options = field.oneOf ?? (field.enum ?? []).map((value, index) => ({ const: value, title: field.enumNames?.[index] }));
    const option = options.find(({ const: value, title }) => isMeant(value) || isMeant(title));
    return [name, field.type === 'boolean' ? choice !== 'no' : (option?.const ?? choice)];
  });
  return Object.fromEntries(fields);
}

async function patiently(work, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Stop(`${what} has not finished in ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The SDK's protocol: JSON in lines, in which the client asks by `control_request`. */
async function claude({ client, home, own, url, hook, choice, ask, finished }) {
  const { args, env } = configureClaude(home, url, own);
  const stream = ['--input-format', 'stream-json', '--output-format', 'stream-json', '--verbose'];
  const hooks = hook && { PreToolUse: [{ matcher: 'mcp__ssh__.*|Bash', hooks: [{ type: 'command', command: hook }] }] };
  const settings = ['--settings', JSON.stringify({ hooks: hooks ?? {} })];
  const words = [...client.args, '-p', ...stream, '--permission-prompt-tool', 'stdio', ...args, ...settings];
  const child = spawn(client.command, words, { cwd: home.path, env: { ...home.env, ...env }, stdio: 'pipe' });
  const send = (message) => child.stdin.write(`${JSON.stringify(message)}\n`);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (log += text));
  child.stdin.on('error', () => {});
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { type, request_id: id, request } = JSON.parse(line);
    if (type === 'control_request') {
      const response = { subtype: 'success', request_id: id, response: answered(request) };
      send({ type: 'control_response', response });
    }
  });

  function answered({ subtype, ...request }) {
    if (subtype === 'can_use_tool') {
      ask('call', JSON.stringify({ tool: request.tool_name, input: request.input, reason: request.decision_reason }));
      return { behavior: 'allow', updatedInput: request.input };
    }
    if (subtype === 'elicitation') {
      ask('form', request.message);
      return { action: 'accept', content: filled(request.requested_schema, choice) };
    }
    return {};
  }

  const exited = once(child, 'exit');
  try {
    send({ type: 'control_request', request_id: 'first', request: { subtype: 'initialize' } });
    send({ type: 'user', message: { role: 'user', content: 'go' }, parent_tool_use_id: null, session_id: '' });
    const early = exited.then(([code]) => Promise.reject(new Stop(`claude ends with ${code}: ${log.slice(-1000)}`)));
    await patiently(Promise.race([finished, early]), 'claude');
    child.stdin.end();
    await patiently(exited, 'claude');
  } finally {
    child.kill('SIGKILL');
  }
}

/** The app-server's protocol. Codex runs a hook only after its person has said so, which is kept by its hash. */
async function codex({ client, home, own, url, hook, hasHook, choice, ask, finished }) {
  configureCodex(home, url, own);
  const config = join(home.path, '.codex', 'config.toml');
  if (hook) {
    for (const event of ['PreToolUse', 'PermissionRequest']) {
      const table = [`[[hooks.${event}]]`, 'matcher = "^(mcp__ssh__.*|Bash)$"', `[[hooks.${event}.hooks]]`, 'type = "command"'];
      appendFileSync(config, `${table.join('\n')}\ncommand = ${JSON.stringify(hook)}\n`);
    }
  }
  if (hook || hasHook) {
    await withAppServer(async (server) => {
      const { data } = await server.request('hooks/list', { cwds: [home.path] });
      const trusted = data.flatMap(({ hooks }) => hooks).map(({ key, currentHash }) => {
        return `[hooks.state.${JSON.stringify(key)}]\ntrusted_hash = ${JSON.stringify(currentHash)}\n`;
      });
      if (trusted.length !== 2) throw new Stop(`codex knows ${trusted.length} hooks: ${JSON.stringify(data)}`);
      appendFileSync(config, trusted.join(''));
    });
  }
  await withAppServer(async (server) => {
    server.onRequest = ({ method, params }) => {
      if (method !== 'mcpServer/elicitation/request') return { decision: 'accept' };
      const call = params._meta?.codex_approval_kind;
      ask(call ? 'call' : 'form', call ? JSON.stringify(params._meta) : params.message);
      return { action: 'accept', content: call ? {} : filled(params.requestedSchema, choice), _meta: null };
    };
    const { thread } = await server.request('thread/start', { ephemeral: true, cwd: home.path, approvalPolicy: 'on-request' });
    await server.request('turn/start', { threadId: thread.id, input: [{ type: 'text', text: 'go' }] });
    await patiently(finished, 'codex');
  });

  async function withAppServer(use) {
    const server = new Client(client.command, [...client.args, 'app-server'], home.env);
    try {
      const clientInfo = { name: 'mcp-ssh-sessions-check', version: '0' };
      await server.request('initialize', { clientInfo, capabilities: { experimentalApi: true } });
      server.notify('initialized');
      await use(server);
      await server.close();
    } finally {
      server.kill();
    }
  }
}
