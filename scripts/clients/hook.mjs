// A hook that was added to a client for good, by `setup` or by the plugin, at work: the person's settings close a host, and
// the model tries plain ssh.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { goal, server } from './conversation.mjs';
import { withPerson } from './person.mjs';

/**
 * @param {import('./install.mjs').Client} client
 * @param {{ path: string, env: NodeJS.ProcessEnv }} home
 * @param {import('./stage.mjs').Stage} stage
 * @param {string} binary the server
 */
export async function deniesPlainSsh(client, home, stage, binary) {
  const folder = join(home.path, process.platform === 'darwin' ? 'Library/Application Support' : '.config', 'mcp-ssh-sessions');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'settings.toml'), '[host.closed]\nconnect = "never"\n', { mode: 0o600 });
  // The scripted model brings a configuration of its own.
  rmSync(join(home.path, '.codex', 'config.toml'), { force: true });
  const [tool, name] = client.bin === 'claude' ? ['Bash', 'command'] : ['exec_command', 'cmd'];
  const own = server(join(home.path, 'server.log'), binary, stage);
  const steps = [{ tool, args: { [name]: 'ssh closed uptime' } }];
  const [{ text, questions }] = await withPerson(client, home, own, steps, { hasHook: true });
  const isDenied = text.includes('connect = "never"') && questions.length === 0;
  goal(`the hook denies plain ssh: ${JSON.stringify(text.slice(0, 120))}`, isDenied);
}
