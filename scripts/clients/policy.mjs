// What the person allows, through a client with a scripted model: hosts that may only be read, that want a question, that
// are closed, and a free one. First by the server alone, then with the hook besides.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { title } from '../demo/screen.mjs';
import { Stop } from '../lib/repository.mjs';
import { DRIVERS, converse, goal, server } from './conversation.mjs';
import { withPerson } from './person.mjs';

const SETTINGS = `\
[host.look]
access = "read"
[host.staging]
run = "ask"
[host.closed]
connect = "never"
`;

/** A command that leaves a file where it has run. */
const command = (host, world) => `echo ran on ${host} && touch ${markOf(host, world)}`;

/**
 * @param {import('./install.mjs').Client} client
 * @param {import('./stage.mjs').Stage} stage
 * @param {string} binary the server, which is the hook as well
 */
export async function policy(client, stage, binary) {
  await byServer(client, stage, binary);
  await refusedByPerson(client, stage, binary);
  await withoutPerson(client, stage, binary);
  await withHook(client, stage, binary);
}

/** The server's own decisions. The person lets the client call every tool. */
async function byServer(client, stage, binary) {
  title(`${client.bin} ${client.version}: what the settings allow, by the server alone`);
  const world = newWorld(stage, binary);
  const calls = [run('free', world), run('look', world), read('look', world), run('staging', world), run('closed', world)];
  const [free, look, readable, staging, closed] = await carriedOut(client, world, calls);
  goal(`a free host runs a command: ${shown(free.text)}`, free.text.includes('ran on free') && forms(free).length === 0);
  goal(`a read-only host refuses ssh_exec: ${shown(look.text)}`, look.text.includes('access = "read"') && !hasRun('look', world));
  goal(`a read-only host serves ssh_read: ${shown(readable.text)}`, readable.text.includes('listen 80'));
  const [form] = forms(staging);
  goal(`the question names host and command: ${shown(form?.text)}`, form?.text.includes('staging') && form.text.includes(command('staging', world)));
  goal(`after the yes it runs: ${shown(staging.text)}`, staging.text.includes('ran on staging') && hasRun('staging', world));
  goal(`a closed host refuses: ${shown(closed.text)}`, closed.text.includes('connect = "never"') && !hasRun('closed', world));
}

async function refusedByPerson(client, stage, binary) {
  title(`${client.bin} ${client.version}: the person says no`);
  const world = newWorld(stage, binary);
  const [staging] = await carriedOut(client, world, [run('staging', world)], { choice: 'no' });
  goal(`nothing runs: ${shown(staging.text)}`, forms(staging).length === 1 && !hasRun('staging', world));
}

/** A client that runs by itself shows no form. */
async function withoutPerson(client, stage, binary) {
  title(`${client.bin} ${client.version}: nobody is there to be asked`);
  const world = newWorld(stage, binary);
  const steps = stepsOf(client, [run('staging', world), read('look', world)]);
  const received = await converse(client, world.home, world.server, steps);
  const [staging, readable] = received.slice(-2);
  goal(`the command does not run: ${shown(staging.text)}`, staging.text !== '' && !hasRun('staging', world));
  goal('a read-only host can be read', readable.text.includes('listen 80'));
}

async function withHook(client, stage, binary) {
  title(`${client.bin} ${client.version}: the hook`);
  const world = newWorld(stage, binary);
  const calls = [
    ...[run('free', world), run('look', world), read('look', world), run('staging', world), run('closed', world)],
    ...shells(client),
  ];
  const results = await carriedOut(client, world, calls, { hook: world.hook });
  const [free, look, readable, staging, closed, plain, plainAsk] = results;
  goal('a free host passes without a question', free.text.includes('ran on free') && free.questions.length === 0);
  goal(`a read-only host is denied: ${shown(look.text)}`, /hook|access = "read"/i.test(look.text) && look.questions.length === 0 && !hasRun('look', world));
  goal('reading it passes without a question', readable.text.includes('listen 80') && readable.questions.length === 0);
  const kinds = staging.questions.map(({ kind }) => kind).join(' ');
  goal(`a host that wants a question has one of the client and the server's form: ${kinds}`, kinds === 'call form');
  goal(`a closed host is denied: ${shown(closed.text)}`, closed.text.includes('connect = "never"') && closed.questions.length === 0);
  goal(`plain ssh to a read-only host is denied: ${shown(plain.text)}`, plain.text.includes('access = "read"') && plain.questions.length === 0);
  const asks = client.bin === 'claude' ? plainAsk.questions.length === 1 : plainAsk.text.includes('run = "ask"');
  goal(`plain ssh to a host that wants a question: ${shown(plainAsk.questions[0]?.text ?? plainAsk.text)}`, asks);
}

const markOf = (host, { folder }) => join(folder, `ran-on-${host}`);
const hasRun = (host, world) => existsSync(markOf(host, world));
const run = (host, world) => ({ tool: 'ssh_exec', args: { session: host, command: command(host, world) } });
const read = (host, { folder }) => ({ tool: 'ssh_read', args: { session: host, path: join(folder, 'app.conf') } });

/** Calls of the client's own shell. */
function shells({ bin }) {
  const [tool, name] = bin === 'claude' ? ['Bash', 'command'] : ['exec_command', 'cmd'];
  return ['look', 'staging'].map((host) => ({ own: tool, args: { [name]: `ssh ${host} uptime` } }));
}

function stepsOf({ bin }, calls) {
  const driver = DRIVERS[bin];
  const loads = [driver.search('ssh'), ...driver.load(['ssh_exec', 'ssh_read'])];
  return [...loads, ...calls.map(({ tool, own, args }) => ({ tool: own ?? driver.call(tool), args }))];
}

async function carriedOut(client, { home, server: own }, calls, settings) {
  const steps = stepsOf(client, calls);
  const results = await withPerson(client, home, own, steps, settings);
  if (results.length !== steps.length) throw new Stop(`${results.length} of ${steps.length} steps have a result`);
  return results.slice(-calls.length);
}

/** A home with settings, and a host under several aliases. */
function newWorld(stage, binary) {
  const home = stage.newHome();
  const folder = stage.path('remote', `policy-${Math.random()}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'app.conf'), 'listen 80\n');
  const settings = join(home.path, 'settings.toml');
  writeFileSync(settings, SETTINGS, { mode: 0o600 });
  const config = join(home.path, 'ssh_config');
  const [, block] = /^Host demo\n((?:(?!Host ).*\n)*)/m.exec(readFileSync(stage.sshd.sshConfig, 'utf8'));
  writeFileSync(config, `Host free look staging closed\n${block}`, { mode: 0o600 });
  const own = server(join(home.path, 'server.log'), binary, stage);
  own.env = { ...own.env, MCP_SSH_CONFIG: config, MCP_SSH_SETTINGS: settings };
  const hook = `'${binary}' hook --ssh-config '${config}' --settings '${settings}'`;
  return { home, folder, server: own, hook };
}

function forms({ questions }) {
  return questions.filter(({ kind }) => kind === 'form');
}

function shown(text = '') {
  return JSON.stringify(text.slice(0, 120));
}
