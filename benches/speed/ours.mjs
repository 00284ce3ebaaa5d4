// mcp-ssh-sessions.

import { join } from 'node:path';
import { Failed, McpServer } from './contestant.mjs';

export class Ours extends McpServer {
  static title = 'mcp-ssh-sessions';

  /** @type {string} the program */
  static binary;

  command() {
    return { program: Ours.binary, args: ['--ssh-config', join(this.place.home, '.ssh', 'config')] };
  }

  async first() {
    await this.connect();
    return this.exec('true');
  }

  /** Connects one more session. */
  async connect(name = 'bench') {
    await this.use('ssh_connect', { host: this.place.host, name });
  }

  async exec(command, bounds) {
    return this.#run('ssh_exec', command, bounds);
  }

  async shell(command, bounds) {
    return this.#run('ssh_shell', command, bounds);
  }

  async upload(localPath, remotePath) {
    await this.use('ssh_upload', { localPath, remotePath });
  }

  async download(remotePath, localPath) {
    await this.use('ssh_download', { remotePath, localPath });
  }

  async read(path) {
    return this.use('ssh_read', { path });
  }

  async tail(path, count) {
    return this.use('ssh_read', { path, offset: -count });
  }

  async edit(path, oldText, newText) {
    return this.use('ssh_edit', { path, oldText, newText });
  }

  async search(pattern, path) {
    return this.use('ssh_search', { pattern, path });
  }

  /** Forwards a port of the other side; resolves to the port here. */
  async forward(to) {
    const { text } = await this.use('ssh_forward', { to });
    const [, port] = text.match(/127\.0\.0\.1:(\d+) →/) ?? [];
    if (!port) throw new Failed(text);
    return Number(port);
  }

  async #run(tool, command, { timeoutMs, signal } = {}) {
    const { isError, text, blocks, meta } = await this.call(tool, { command, timeoutMs }, signal);
    const outcome = meta?.['mcp-ssh-sessions/outcome'];
    if (isError || !outcome) throw new Failed(text);
    // The last block tells how it ended.
    const { stdoutBytes, stderrBytes, outputFile, exitCode, status } = outcome;
    return {
      stdout: stdoutBytes > 0 ? blocks[0] : '',
      stderr: stderrBytes > 0 ? blocks.at(-2).replace('[stderr]\n', '') : '',
      file: outputFile,
      status: exitCode ?? undefined,
      timedOut: status === 'timedOut',
    };
  }
}
