// fast-mcp-ssh, from the Rust registry. Its shell is a terminal.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installedCrate } from '../../../scripts/lib/installed.mjs';
import { Failed, McpServer } from '../contestant.mjs';

const VERSION = '0.5.1';

export class FastMcpSsh extends McpServer {
  static title = `fast-mcp-ssh ${VERSION}`;

  static #program;

  static async install() {
    this.#program = join(await installedCrate('fast-mcp-ssh', VERSION), 'bin', 'fast-mcp-ssh');
  }

  command() {
    const { home, address, port, user } = this.place;
    const folder = join(home, '.fast-mcp-ssh');
    mkdirSync(folder, { recursive: true });
    const text = JSON.stringify;
    const settings = [
      '[defaults]',
      'truncate_bytes = 1000000000',
      'max_capture_bytes = 1000000000',
      '[host.bench]',
      `addr = ${text(address)}`,
      `port = ${port}`,
      `user = ${text(user)}`,
      'auth = "key"',
      `key = ${text(join(home, '.ssh', 'id_ed25519'))}`,
    ];
    writeFileSync(join(folder, 'hosts.toml'), `${settings.join('\n')}\n`);
    return { program: FastMcpSsh.#program };
  }

  async exec(command, bounds) {
    return this.#run('exec', command, bounds);
  }

  async shell(command, bounds) {
    const { stderr, ...answer } = await this.#run('sh', command, bounds);
    return answer;
  }

  async upload(local, remote) {
    await this.use('up', { host: 'bench', local, remote });
  }

  async download(remote, local) {
    await this.use('dn', { host: 'bench', remote, local });
  }

  async #run(tool, command, { timeoutMs, signal } = {}) {
    const timeout = timeoutMs && Math.ceil(timeoutMs / 1000);
    const asked = this.use(tool, { host: 'bench', cmd: command, timeout }, signal);
    const { text, failed } = await asked.catch((error) => ({ failed: error }));
    if (/timed out/.test(failed?.message)) return { stdout: '', timedOut: true };
    if (failed) throw failed;
    const status = text.match(/^exit_code: (\d+)$/m)?.[1];
    if (status === undefined) throw new Failed(text);
    const timedOut = /^timed_out: true$/m.test(text);
    return { stdout: block(text, 'stdout'), stderr: block(text, 'stderr'), status: Number(status), timedOut };
  }
}

/** A field of several lines in TOON, which indents them. */
function block(text, name) {
  const indented = text.match(new RegExp(`^${name}: \\|\\n((?:  .*\\n|\\n)*)`, 'm'))?.[1] ?? '';
  return indented.replace(/^  /gm, '');
}
