// The demo's story: all tools, as an agent would use them. Every step checks what it shows.

import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { initialize } from '../lib/mcp/handshake.mjs';
import { Agent } from './agent.mjs';
import { answer, call, fact, timed, title } from './screen.mjs';

const TOOLS = [
  'ssh_connect',
  'ssh_disconnect',
  'ssh_download',
  'ssh_edit',
  'ssh_exec',
  'ssh_forward',
  'ssh_job',
  'ssh_read',
  'ssh_reconnect',
  'ssh_search',
  'ssh_sessions',
  'ssh_set_default',
  'ssh_shell',
  'ssh_upload',
];

/**
 * @param {import('./stage.mjs').Stage} stage an open one; the story ends the program but not the stage
 * @returns {Promise<object[]>} what the agent did, as `Agent` has it
 */
export async function story(stage) {
  const agent = new Agent(stage.client);
  await start(stage, agent);
  await connect(stage, agent);
  await commands(agent);
  await shells(agent);
  await files(agent);
  await limits(agent);
  await jobs(agent);
  await forwards(agent);
  await transfers(stage, agent);
  await secondSession(stage, agent);
  await lostLink(stage, agent);
  await hostKeys(agent);
  await partings(agent);
  await end(stage);
  return agent.calls;
}

async function start(stage, { client }) {
  title(
    'The agent starts the program and asks what it can do',
    "The program speaks MCP on its stdin and stdout; the SSH server is one of this demo's own, on loopback.",
  );
  call('initialize', {});
  const { serverInfo, protocolVersion, instructions } = await initialize(client);
  answer(`${serverInfo.name} ${serverInfo.version}, MCP ${protocolVersion}`, performance.now() - stage.clientStarted);
  fact('it says in words what it is', /ssh/i.test(instructions ?? ''), instructions);
  call('tools/list', {});
  const [{ tools }, milliseconds] = await timed(client.request('tools/list'));
  const names = tools.map(({ name }) => name).sort();
  answer(names.join(' '), milliseconds);
  fact(
    'all tools are there, each described',
    TOOLS.every((name) => names.includes(name)) && tools.every((tool) => tool.description),
    names,
  );
  const bytes = JSON.stringify(tools).length;
  fact(`the list is short: ${(bytes / 1000).toFixed(1)} kB of the agent's attention`, bytes < 12_000, bytes);
}

async function connect(stage, agent) {
  title(
    'Connect by an alias of ssh_config',
    'Resolved by OpenSSH itself (ssh -G): host, port, user, key and known_hosts come from there.',
  );
  const { session } = await agent.use('ssh_connect', { host: 'demo' });
  fact('the log-in was by key', session.state === 'connected' && session.authMethod === 'publickey', session);
  fact('the host key was checked against known_hosts', session.hostKey?.startsWith('SHA256:'), session);
  fact('the session is saved, for the eyes of its owner only', (statSync(stage.store).mode & 0o777) === 0o600);
}

async function commands(agent) {
  title('Run a command: stdout, stderr and exit status apart');
  const failing = await agent.use('ssh_exec', { command: 'echo to stdout; echo to stderr >&2; exit 3' });
  fact(
    'a command that fails is a result, not an error of the tool',
    !failing.isError && failing.outcome.exitCode === 3,
    failing,
  );
  fact(
    'stdout and stderr did not mix',
    failing.blocks[0] === 'to stdout\n' && failing.blocks[1] === '[stderr]\nto stderr\n',
    failing.blocks,
  );

  title('Two commands at once, on one connection');
  const sleeper = (name) => agent.send('ssh_exec', { command: `sleep 1; echo ${name}` });
  const [both, milliseconds] = await timed(Promise.all([sleeper('first'), sleeper('second')]));
  both.forEach(agent.show);
  fact(`neither waited for the other: ${Math.round(milliseconds)} ms in all`, milliseconds < 1_900);
}

async function shells(agent) {
  title('A shell that remembers', 'Directory, variables, functions and options persist from call to call.');
  await agent.use('ssh_shell', { command: 'mkdir -p srv/shop && cd srv/shop && PORT=8080' });
  const remembered = await agent.use('ssh_shell', { command: 'echo port $PORT, in ${PWD##*/}' });
  fact('the variable and the directory are still there', remembered.blocks[0] === 'port 8080, in shop\n', remembered.blocks);
  fact('every answer tells the directory', remembered.outcome.cwd?.endsWith('/srv/shop'), remembered.outcome);
  const heredoc = await agent.use('ssh_shell', {
    command: "cat > app.conf <<'END'\nport = $PORT\ndebug = true\ntitle = It's open\nEND\nwc -l < app.conf",
  });
  fact('a heredoc arrives as it was written', heredoc.blocks[0]?.trim() === '3', heredoc.blocks);

  title(
    'Nothing hangs it',
    'An unbalanced quote and a command that reads its input would leave a terminal waiting for ever.',
  );
  const quote = await agent.use('ssh_shell', { command: "echo 'where does this end" });
  fact(
    "the unbalanced quote is bash's own error",
    quote.outcome.exitCode > 0 && /unexpected|unmatched/i.test(quote.text),
    quote,
  );
  const cat = await agent.use('ssh_shell', { command: 'cat; echo nothing to read, PORT is still $PORT' });
  fact('the shell is as it was', cat.blocks[0] === 'nothing to read, PORT is still 8080\n', cat.blocks);
}

async function files(agent) {
  title('Read, search and edit files', 'Over SFTP, next to the shell: paths start where it stands.');
  const read = await agent.use('ssh_read', { path: 'app.conf' });
  fact('the lines are numbered', read.blocks[0].startsWith('1\tport = $PORT\n'), read.blocks);
  const found = await agent.use('ssh_search', { pattern: 'debug', path: '.' });
  fact('the line is found', /app\.conf:2: debug = true/.test(found.text), found.text);
  const edited = await agent.use('ssh_edit', { path: 'app.conf', oldText: 'debug = true', newText: 'debug = false' });
  fact(
    'the answer is the difference that was made',
    edited.text.includes('-debug = true\n+debug = false\n'),
    edited.text,
  );
  const missing = await agent.send('ssh_edit', { path: 'app.conf', oldText: 'debug = no', newText: 'debug = yes' });
  agent.show(missing);
  fact('a text that is not there changes nothing, and the nearest is shown', missing.isError && /line 2/.test(missing.text));
}

async function limits(agent) {
  title(
    'A deadline that means the remote process',
    'At timeoutMs the command is stopped over there, not just given up on here.',
  );
  const slow = await agent.use('ssh_shell', { command: 'echo working; sleep 300', timeoutMs: 700 });
  fact('it was stopped in time', slow.outcome.status === 'timedOut' && slow.outcome.durationMs < 5_000, slow.outcome);
  fact('its process is gone', slow.outcome.processGone === true, slow.outcome);
  const after = await agent.use('ssh_shell', { command: 'echo $PORT; jobs' });
  fact('and the shell kept its state', after.blocks[0] === '8080\n', after.blocks);

  title('More output than anyone wants to read');
  const big = await agent.use('ssh_exec', { command: 'seq 1 1000000' });
  const size = big.text.length;
  fact(
    `the answer is bounded: ${(size / 1000).toFixed(0)} kB of ${(big.outcome.stdoutBytes / 1e6).toFixed(1)} MB`,
    big.outcome.truncated && size < 40_000,
    big.outcome,
  );
  const whole = readFileSync(big.outcome.outputFile, 'latin1');
  const expected = Array.from({ length: 1_000_000 }, (_, index) => `${index + 1}\n`).join('');
  fact('the whole of it is in a local file', whole === expected, whole.length);
}

async function jobs(agent) {
  title('A command that takes its time', 'The call answers before the client loses patience; the command goes on.');
  const started = await agent.use('ssh_exec', { command: 'for i in 1 2 3; do echo step $i; sleep 0.3; done', waitMs: 400 });
  const { job } = started.outcome;
  fact('it is a job now', started.outcome.status === 'running' && job, started.outcome);
  const done = await agent.use('ssh_job', { job });
  fact(
    'the next answer goes on where the first one ended',
    done.outcome.exitCode === 0 && started.blocks[0] + done.blocks[0] === 'step 1\nstep 2\nstep 3\n',
    [started, done],
  );

  title('A program that asks', 'That it waits for an answer is noticed and said.');
  const asking = await agent.use('ssh_exec', {
    command: 'printf "Delete everything? [y/N] "; read answer; echo "you said $answer"',
    background: true,
    waitMs: 10_000,
  });
  fact('the answer names the prompt', asking.outcome.awaitingInput && /Delete/.test(asking.outcome.prompt), asking);
  const told = await agent.use('ssh_job', { job: asking.outcome.job, input: 'n\n' });
  fact('it got the answer and ended', told.outcome.exitCode === 0 && /you said n/.test(told.text), told);
}

async function forwards(agent) {
  title('A web server on the host, reached from here', 'The status line of the command that starts it has the next call.');
  const answers = "(_, answer) => answer.end('hello from the host')";
  const says = '() => console.log(`Server running at http://localhost:${server.address().port}/`)';
  const script = `const server = require('http').createServer(${answers}).listen(0, '127.0.0.1', ${says})`;
  const command = `'${process.execPath}' -e "$(cat)"`;
  let serving = await agent.use('ssh_exec', { command, stdin: script, waitMs: 1_000 });
  const { job } = serving.outcome;
  // A slow machine starts it later.
  while (serving.outcome.status === 'running' && !serving.text.includes('Server running')) {
    serving = await agent.use('ssh_job', { job, waitMs: 1_000 });
  }
  const port = Number(serving.text.match(/port (\d+): ssh_forward\(to: \1\)/)?.[1]);
  fact('the answer names the port, and nothing is open yet', port > 0, serving.text);
  const { forward } = await agent.use('ssh_forward', { to: port });
  fact('it listens on loopback, for this user only', forward?.url?.startsWith('http://127.0.0.1:'), forward);
  const page = await fetch(forward.url).then((response) => response.text());
  fact('a request through it is answered by the host', page === 'hello from the host', page);
  const { forwards: list } = await agent.use('ssh_forward');
  fact('the list counts the connection', list.length === 1 && list[0].accepted > 0 && list[0].state === 'open', list);
  await agent.use('ssh_forward', { close: forward.id });
  // Not with `fetch`, which may still hold the connection of the request.
  const refused = await new Promise((resolve) => {
    const { hostname, port: listens } = new URL(forward.url);
    const socket = createConnection(Number(listens), hostname, () => resolve(socket.destroy() && 'answered'));
    socket.once('error', (error) => resolve(error.code));
  });
  fact('once it is closed, nobody listens', refused === 'ECONNREFUSED', refused);
  await agent.send('ssh_job', { job, signal: 'TERM' });
}

async function transfers(stage, agent) {
  title('Files there and back');
  const original = randomBytes(8_000_000);
  writeFileSync(stage.path('here', 'original.bin'), original, { mode: 0o640 });
  const up = await agent.use('ssh_upload', { localPath: '~/original.bin', remotePath: '~/copy.bin' });
  fact('8 MB went up', up.bytes === original.length, up);
  const down = await agent.use('ssh_download', { remotePath: '~/copy.bin', localPath: '~/back.bin' });
  fact('8 MB came down', down.bytes === original.length, down);
  const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
  const [sent, received] = [digest(original), digest(readFileSync(stage.path('here', 'back.bin')))];
  fact(
    `byte for byte the same (SHA-256 ${sent.slice(0, 12)}…), with its mode`,
    sent === received && (statSync(stage.path('here', 'back.bin')).mode & 0o777) === 0o640,
    received,
  );
}

async function secondSession(stage, agent) {
  title('A second session, by password', 'The password stays in the memory of the program.');
  const { session } = await agent.use('ssh_connect', {
    name: 'staging',
    host: 'demo-password',
    password: stage.sshd.password,
  });
  fact('the log-in was by password', session.authMethod === 'password', session);

  title('Which session is meant when none is named');
  await agent.use('ssh_set_default', { session: 'staging' });
  const hostname = await agent.use('ssh_exec', { command: 'echo this is $USER' });
  fact('the call without a session went to the default', hostname.outcome.session === 'staging', hostname.outcome);
  const { sessions, default: byDefault } = await agent.use('ssh_sessions');
  fact(
    'both are listed, connected',
    sessions.length === 2 && sessions.every(({ state }) => state === 'connected') && byDefault === 'staging',
    { sessions, byDefault },
  );
}

async function lostLink(stage, agent) {
  title(
    'The link is cut while a command runs',
    'The demo cuts every TCP connection, as a network does: without a word.',
  );
  const running = agent.send('ssh_exec', {
    session: 'demo',
    command: 'echo ran >> ran.txt; while echo working; do sleep 0.1; done',
  });
  await sleep(400);
  await stage.cutTheLink();
  const cut = await running;
  agent.show(cut);
  fact(
    'it is reported as cut off',
    cut.outcome.status === 'connectionLost' && cut.outcome.exitCode === null,
    cut.outcome,
  );
  fact('what it had printed is not lost', cut.blocks[0].startsWith('working\n'), cut.blocks);
  const ran = await agent.use('ssh_exec', { session: 'demo', command: 'cat ran.txt' });
  fact('the next call has connected by itself', ran.outcome.exitCode === 0, ran.outcome);
  fact('the command that was cut off ran once and was not sent again', ran.blocks[0] === 'ran\n', ran.blocks);
  const shell = await agent.use('ssh_shell', { session: 'demo', command: 'pwd' });
  fact(
    'the shell is new, in the old directory, and says so',
    shell.outcome.cwd?.endsWith('/srv/shop') && shell.outcome.notice,
    shell.outcome,
  );
  const password = await agent.use('ssh_exec', { session: 'staging', command: 'echo back' });
  fact('the other session too, its password being in memory', password.blocks[0] === 'back\n', password.blocks);
}

async function hostKeys(agent) {
  title('A host that nobody has vouched for');
  const refused = await agent.send('ssh_connect', { host: 'demo-unknown' });
  agent.show(refused);
  fact('it is refused, before anything secret is sent', refused.isError && /host key/i.test(refused.text), refused);
  fact('with its fingerprint, and what a person can do', /SHA256:.*hint: .*ssh /s.test(refused.text), refused.text);
}

async function partings(agent) {
  title('Disconnect, forget, reconnect');
  const { forgotten } = await agent.use('ssh_disconnect', { session: 'staging', forget: true });
  fact('the session is forgotten', forgotten === true, forgotten);
  const closed = await agent.use('ssh_disconnect', { session: 'demo' });
  fact('this one is closed and stays saved', closed.forgotten === false, closed);
  const { session } = await agent.use('ssh_reconnect', { session: 'demo' });
  fact('and is back', session.state === 'connected', session);
  const { sessions } = await agent.use('ssh_sessions');
  fact('it is the only one', sessions.length === 1 && sessions[0].name === 'demo', sessions);
}

async function end(stage) {
  title('The agent goes away', "It closes the program's stdin while a command is running.");
  stage.client
    .request('tools/call', { name: 'ssh_exec', arguments: { session: 'demo', command: 'sleep 300' } })
    .catch(() => {});
  await sleep(300);
  const [{ code, signal }, milliseconds] = await timed(stage.client.close());
  fact(
    `the program ended by itself, with status 0, in ${Math.round(milliseconds)} ms`,
    code === 0 && milliseconds < 1_500,
    { code, signal, milliseconds },
  );
  const remaining = await stage.remoteProcessesAfter(2_000);
  fact('no process of it is left on the remote host', remaining.length === 0, remaining);
  const traces = filesBelow(stage.folder).filter((file) => readFileSync(file).includes(stage.sshd.password));
  fact(
    'the password is in no file and in no log',
    traces.length === 0 && !stage.log().includes(stage.sshd.password),
    traces,
  );
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return filesBelow(path);
    return entry.isFile() ? [path] : [];
  });
}
