// `npm run sdks`: other people's MCP clients against the daemon, over each transport that they have, and over stdio.
// Each works on an SSH server as an agent does: calls that fail, run side by side, are cancelled, are quiet for longer
// than a minute. Needs the npm registry and PyPI the first time, and keeps what it installs in target/.
//
//   node scripts/sdks.mjs                   builds the release program and the demo's SSH server first
//   node scripts/sdks.mjs --binary PATH     takes that program
//   node scripts/sdks.mjs --sshd PATH       takes that `demo-sshd`

import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { survivors, tree } from '../npm/processes.mjs';
import { epilogue, fact, title } from './demo/screen.mjs';
import { build, needCargo } from './lib/cargo.mjs';
import { Daemon, privateEnv, startDemoSshd } from './lib/daemon.mjs';
import { installed, installedPython, newNode } from './lib/installed.mjs';
import { needProgram } from './lib/programs.mjs';
import { Stop, fail, root, seconds } from './lib/repository.mjs';
import { scratchFolder } from './lib/scratch.mjs';
import { Inspector } from './sdks/inspector.mjs';
import { Scene } from './sdks/scene.mjs';

const NAME = 'mcp-ssh-sessions';
const TOKEN = 'a-token-for-this-test-alone';
const PACKAGES = {
  '@modelcontextprotocol/sdk': '1.32.2',
  '@modelcontextprotocol/client': '2.4.0',
  '@modelcontextprotocol/inspector': '2.12.0',
};
const PYTHON = 'mcp==2.3.0';

/** What is left when all has been closed gets this long to end. */
const PATIENCE_MS = 5_000;

const start = Date.now();
const scratch = scratchFolder('sdks');
const failed = [];

try {
  const { values } = parseArgs({ options: { binary: { type: 'string' }, sshd: { type: 'string' } } });
  needProgram('ssh', 'openssh-client');
  const node = await newNode();
  const folder = await installed('sdks', PACKAGES);
  const python = await installedPython('sdks-python', [PYTHON]);
  const binary = values.binary ? resolve(values.binary) : built(NAME, ['--release', '--bin', NAME]);
  const sshdProgram = values.sshd ? resolve(values.sshd) : built('demo-sshd', ['--example', 'demo-sshd']);

  const sshd = await startDemoSshd(sshdProgram, join(scratch, 'remote'));
  const env = { ...privateEnv(join(scratch, 'home')), MCP_SSH_CONFIG: sshd.sshConfig };
  const daemon = await Daemon.start(binary, env);
  const at = { http: { transport: 'http', url: daemon.url }, sse: { transport: 'sse', url: daemon.url } };
  // A store of its own: it does not compete with the daemon for one. And not every client hands all variables on.
  const stdio = (name) => ({
    transport: 'stdio',
    command: binary,
    args: ['--ssh-config', sshd.sshConfig, '--store', join(scratch, `${name}.json`)],
    env,
  });
  const driver = (file, ...args) => [file, ...args].map((part) => part.replace(/^\.\//, join(root, 'scripts/sdks/')));
  const v1 = { name: 'TypeScript SDK 1', command: node, args: driver('./typescript-v1.mjs', folder), env };
  const v2 = { name: 'TypeScript SDK 2', command: node, args: driver('./typescript-v2.mjs', folder), env };
  const py = { name: 'Python SDK', command: python, args: driver('./python.py'), env };

  const scenes = [
    new Scene(v1, 'Streamable HTTP', at.http, '2025-11-25'),
    new Scene(v1, 'HTTP+SSE', at.sse),
    new Scene(v1, 'stdio', stdio('v1')),
    new Scene(v2, 'Streamable HTTP', at.http, '2026-07-28'),
    new Scene(v2, 'Streamable HTTP, legacy', { ...at.http, legacy: true }, '2025-11-25'),
    new Scene(v2, 'HTTP+SSE', at.sse, '2026-07-28'),
    new Scene(v2, 'HTTP+SSE, legacy', { ...at.sse, legacy: true }, '2025-11-25'),
    new Scene(v2, 'stdio', stdio('v2'), '2026-07-28'),
    new Scene(py, 'Streamable HTTP', at.http, '2026-07-28'),
    new Scene(py, 'Streamable HTTP, legacy', { ...at.http, legacy: true }, '2025-11-25'),
    new Scene(py, 'HTTP+SSE', { ...at.sse, legacy: true }, '2025-11-25'),
    new Scene(py, 'stdio', stdio('py'), '2026-07-28'),
  ];
  for (const scene of scenes) await attempt(scene.title, () => scene.play(sshd));
  const inspector = new Inspector(node, folder, env);
  for (const to of [at.http, at.sse, stdio('inspector')]) {
    await attempt(`MCP Inspector: ${to.transport}`, () => inspector.play(to));
  }
  await attempt('The daemon is killed, and started again on the same port', async () => {
    const scene = new Scene(v1, 'HTTP+SSE', at.sse);
    await scene.surviveRestart((port) => Daemon.start(binary, env, ['--store', join(scratch, 'restart.json')], port));
  });
  await attempt('With a token', async () => {
    const tokenFile = join(scratch, 'token');
    writeFileSync(tokenFile, TOKEN, { mode: 0o600 });
    const store = join(scratch, 'token.json');
    const guarded = await Daemon.start(binary, env, ['--token-file', tokenFile, '--store', store]);
    for (const client of [v1, v2, py]) {
      for (const transport of ['http', 'sse']) {
        await new Scene(client, transport, { transport, url: guarded.url, legacy: true }).bearToken(TOKEN);
      }
    }
    await guarded.stop();
  });
  title('A minute and more of silence, and the end');
  for (const scene of scenes) await attempt(undefined, () => scene.end(), scene.title);
  const ended = await daemon.stop();
  fact('the daemon ends when it is told to', ended.code === 0, ended);
  sshd.child.stdin.end();
  const left = await survivors(tree(process.pid).slice(1), PATIENCE_MS);
  if (failed.length > 0) throw new Stop(`FAILED:\n  ${failed.join('\n  ')}`);
  epilogue(seconds(Date.now() - start), left.map(({ pid, command }) => `process ${pid} (${command})`));
} catch (error) {
  fail('sdks', error);
}

function built(name, args) {
  needCargo();
  return build(args).get(name);
}

/** What goes wrong with one keeps no other one from its turn. */
async function attempt(heading, work, name = heading) {
  if (heading) title(heading);
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    failed.push(`${name}: ${error.message.split('\n')[0]}`);
    console.log(`    ✗ ${error.message}`);
  }
}
