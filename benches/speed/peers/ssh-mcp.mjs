// ssh-mcp, from npm. It keeps commands apart by what they might destroy, and asks; here nothing is asked.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installed } from '../../../scripts/lib/installed.mjs';
import { Failed, McpServer, TIMEOUT_MS } from '../contestant.mjs';

const VERSION = '2.11.0';

export class SshMcp extends McpServer {
  static title = `ssh-mcp ${VERSION}`;

  static #program;
  #session = false;

  static async install() {
    this.#program = join(await installed('ssh-mcp', { 'ssh-mcp': VERSION }), 'node_modules', '.bin', 'ssh-mcp');
  }

  command() {
    const { home, address, port, user, files, probed } = this.place;
    const folder = join(home, '.config', 'ssh-mcp');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const text = JSON.stringify;
    const settings = [
      '[defaults]',
      'defaultProfile = "bench"',
      `transferRoot = ${text(files)}`,
      'commandMaxChars = 0',
      'commandMaxOutputBytes = 1000000000',
      '[[profiles]]',
      'name = "bench"',
      `host = ${text(address)}`,
      `port = ${port}`,
      `user = ${text(user)}`,
      'auth = "key"',
      `keyRef = ${text(join(home, '.ssh', 'id_ed25519'))}`,
      'role = "admin"',
      'group = "dev"',
      'approvalPolicy = "auto"',
      // No call can choose its own.
      ...(probed ? [`timeout = ${TIMEOUT_MS}`] : []),
    ];
    writeFileSync(join(folder, 'config.toml'), `${settings.join('\n')}\n`, { mode: 0o600 });
    return { program: SshMcp.#program };
  }

  async stop() {
    this.#session = false;
    await super.stop();
  }

  async exec(command, { signal } = {}) {
    return this.#answer(await this.call('run-command', { command }, signal));
  }

  async shell(command, { signal } = {}) {
    if (!this.#session) await this.use('open-session', { name: 'bench' });
    this.#session = true;
    const { stdout, stderr, ...rest } = this.#answer(
      await this.call('run-command', { command, session: 'bench' }, signal),
    );
    return { stdout: stderr === '' ? stdout : `${stdout}\n${stderr}`, ...rest };
  }

  async upload(localPath, remotePath) {
    await this.use('sftp-upload-file', { localPath, remotePath, overwrite: true });
  }

  async download(remotePath, localPath) {
    await this.use('sftp-download-file', { remotePath, localPath, overwrite: true });
  }

  #answer({ text, isError }) {
    if (/^Command timed out/.test(text)) return { stdout: '', timedOut: true };
    const [, output, status = '0'] = text.match(/^(.*?)(?:\n*\[exit (\d+)\])?$/s);
    if (isError && status === '0') throw new Failed(text);
    const [stdout, stderr = ''] = output.split(/(?:^|\n+)\[stderr\]\n/);
    return { stdout, stderr, status: Number(status) };
  }
}
