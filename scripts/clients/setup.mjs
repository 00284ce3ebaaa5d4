// What `setup` does to the files of a client, and what `setup --undo` leaves.

import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { run } from '../../npm/peer.mjs';
import { fact, title } from '../demo/screen.mjs';
import { deniesPlainSsh } from './hook.mjs';

const QUIET = { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' };

/** The file of servers, a content that a user may have, an edit of it, and how a listed server looks. */
const FILES = {
  claude: {
    file: '.claude.json',
    content: '{\n  "mcpServers": {\n    "other": {\n      "type": "http",\n      "url": "http://127.0.0.1:9/"\n    }\n  }\n}',
    edit: (text) => text.replace('127.0.0.1:9/', '127.0.0.1:9/edited'),
    listed: /^ssh: npx -y mcp-ssh-sessions - ✔ Connected$/m,
  },
  codex: {
    file: '.codex/config.toml',
    content: '# mine\r\nmodel = "x" # not another\r\n\r\n[mcp_servers.other]\r\ncommand = "true"\r\n',
    edit: (text) => `${text}\n# edited\n[profiles.x]\nmodel = 'y'\n`,
    listed: /^ssh +npx +-y mcp-ssh-sessions +.*\benabled\b/m,
  },
  gemini: {
    file: '.gemini/settings.json',
    content: '{\n  // mine\n  "ui": {\n    "hideTips": true\n  }\n}\n',
    edit: (text) => text.replace('// mine', '// edited'),
    listed: /\bssh: npx -y mcp-ssh-sessions \(stdio\)/,
  },
};

/**
 * @param {import('./install.mjs').Client} client
 * @param {import('./stage.mjs').Stage} stage
 * @param {string} binary the server
 */
export async function setup(client, stage, binary) {
  title(`${client.bin} ${client.version}: setup and undo`);
  if (process.platform === 'win32') return console.log('    not run: the client is put into PATH by a script of a Unix shell');
  const { file, content, edit, listed } = FILES[client.bin];
  const home = withClient(client, stage);
  const path = join(home.path, file);
  const bytes = () => readFileSync(path, 'utf8');

  // What a client writes at its first start is no change of ours.
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  await stage.run(client, home, ['mcp', 'list']);
  const before = bytes();

  const shown = await own(home, ['setup', client.bin]);
  fact('without a terminal it only shows the change', bytes() === before && shown.includes('--yes'), shown);
  const done = await own(home, ['setup', '--yes', client.bin]);
  fact('the file has changed', bytes() !== before, done);
  fact('its own command was enough', !done.includes('did not add it'), done);
  await list('the client lists the server');
  const again = await own(home, ['setup', '--yes', client.bin]);
  fact('a second time changes nothing', again.includes('has it already') && again.includes('Nothing to change'), again);
  await own(home, ['setup', '--undo']);
  fact('after undo the file is as before, byte for byte', bytes() === before, bytes());
  fact('no record is left', !existsSync(join(home.path, '.local/state/mcp-ssh-sessions/setup.json')));

  await own(home, ['setup', '--yes', client.bin]);
  writeFileSync(path, edit(bytes()));
  await list('the client lists it after an edit');
  await own(home, ['setup', '--undo']);
  fact('after an edit only our entry goes', bytes() === edit(before), bytes());

  if (client.bin !== 'gemini') {
    await own(home, ['setup', '--yes', '--hook', client.bin]);
    await deniesPlainSsh(client, home, stage, binary);
  }

  async function list(what) {
    const { stdout, stderr } = await run(
      { command: client.command, args: [...client.args, 'mcp', 'list'] },
      { cwd: process.cwd(), env: home.env },
    );
    const printed = stdout + stderr;
    fact(what, listed.test(printed.replace(/\x1b\[[0-9;]*m/g, '')), printed);
  }
}

/** A home in whose PATH the client is. */
function withClient(client, stage) {
  const home = stage.newHome();
  const programs = join(home.path, 'programs');
  mkdirSync(programs);
  const script = join(programs, client.bin);
  const words = [client.command, ...client.args].map((word) => `'${word}'`).join(' ');
  writeFileSync(script, `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(script, 0o755);
  const PATH = [programs, home.env.PATH].join(delimiter);
  return { ...home, env: { ...home.env, ...QUIET, PATH, GEMINI_CLI_TRUST_WORKSPACE: 'true' } };
}

/** Runs a command of ours by npx, as a user does, and returns what it prints. */
async function own(home, args) {
  console.log(`    $ npx -y mcp-ssh-sessions ${args.join(' ')}`);
  const command = { command: 'npx', args: ['-y', 'mcp-ssh-sessions', ...args] };
  const { status, stdout, stderr } = await run(command, { cwd: process.cwd(), env: home.env });
  fact('it ends with status 0', status === 0, stdout + stderr);
  return stdout;
}
