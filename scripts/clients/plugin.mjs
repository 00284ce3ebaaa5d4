// The plugin, judged and installed by each client's own commands in a clean home.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../npm/peer.mjs';
import { fact, title } from '../demo/screen.mjs';
import { root } from '../lib/repository.mjs';
import { deniesPlainSsh } from './hook.mjs';

const NAME = 'mcp-ssh-sessions';
const FOLDER = join(root, 'plugin');

/**
 * @param {import('./install.mjs').Client} client
 * @param {import('./stage.mjs').Stage} stage
 * @param {string} binary the server
 */
export async function plugin(client, stage, binary) {
  title(`${client.bin} ${client.version}: the plugin`);
  const home = stage.newHome();
  home.env.CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC = '1';
  const own = (...args) => stage.run(client, home, args);
  await { claude, codex, gemini }[client.bin](own, home, client);
  // Codex loads no hooks from a folder with a manifest of Agent Plugins, and Gemini CLI has hooks of another kind.
  if (client.bin === 'claude') await deniesPlainSsh(client, home, stage, binary);
}

async function claude(own) {
  await own('plugin', 'validate', '--strict', FOLDER);
  await own('plugin', 'validate', '--strict', root);
  await own('plugin', 'marketplace', 'add', root);
  await own('plugin', 'install', `${NAME}@${NAME}`);
  const details = await own('plugin', 'details', NAME);
  const parts = ['remote-work', 'PreToolUse', 'ssh'].every((part) => details.includes(part));
  fact('it has the skill, the hook and the server', parts, details);
  const list = await own('mcp', 'list');
  fact('its server is connected', list.includes(`plugin:${NAME}:ssh: npx -y ${NAME} - ✔ Connected`), list);
}

async function codex(own) {
  await own('plugin', 'marketplace', 'add', root);
  await own('plugin', 'add', `${NAME}@${NAME}`);
  const plugins = await own('plugin', 'list');
  fact('it is installed and enabled', /installed, enabled/.test(plugins), plugins);
  const list = await own('mcp', 'list');
  fact('its server is listed', /^ssh +npx +-y mcp-ssh-sessions\b/m.test(list), list);
}

async function gemini(own, home, client) {
  // The first use asks whether the folder is trusted.
  mkdirSync(join(home.path, '.gemini'));
  writeFileSync(join(home.path, '.gemini', 'trustedFolders.json'), JSON.stringify({ [root]: 'TRUST_FOLDER' }));
  await own('extensions', 'validate', FOLDER);
  await own('extensions', 'install', '--consent', FOLDER);
  const list = { command: client.command, args: [...client.args, 'extensions', 'list'] };
  const { stdout, stderr } = await run(list, { cwd: process.cwd(), env: home.env });
  // Gemini CLI prints on either.
  const printed = stdout + stderr;
  fact('it is installed, with its server', printed.includes(NAME) && /\bssh\b/.test(printed), printed);
}
