// mcp-ssh-manager, from npm. Its shell is a terminal.

import { join } from 'node:path';
import { installed } from '../../../scripts/lib/installed.mjs';
import { Failed, McpServer, parsed } from '../contestant.mjs';

const VERSION = '3.8.5';

/** Control sequences, and the prompts of bash. */
const DRAWN = /\x1b\[[0-9;?]*[A-Za-z]|\r/g;
const PROMPT = /^\S*@\S*:\S*[$#] ?|^> /;

export class McpSshManager extends McpServer {
  static title = `mcp-ssh-manager ${VERSION}`;

  static #program;
  #session;

  static async install() {
    const folder = await installed('mcp-ssh-manager', { 'mcp-ssh-manager': VERSION });
    this.#program = join(folder, 'node_modules', '.bin', 'mcp-ssh-manager');
  }

  command() {
    const { home, address, port, user } = this.place;
    const env = {
      SSH_SERVER_BENCH_HOST: address,
      SSH_SERVER_BENCH_PORT: String(port),
      SSH_SERVER_BENCH_USER: user,
      SSH_SERVER_BENCH_KEYPATH: join(home, '.ssh', 'id_ed25519'),
      MCP_SSH_MAX_OUTPUT_LENGTH: '1000000000',
    };
    return { program: McpSshManager.#program, env };
  }

  async stop() {
    this.#session = undefined;
    await super.stop();
  }

  async exec(command, { timeoutMs, signal } = {}) {
    const { text } = await this.call('ssh_execute', { server: 'bench', command, timeout: timeoutMs }, signal);
    const { stdout, stderr, code, error } = parsed(text);
    if (error?.startsWith('Command timeout')) return { stdout: '', timedOut: true };
    if (error !== undefined) throw new Failed(error);
    return { stdout, stderr, status: code };
  }

  async shell(command, { timeoutMs, signal } = {}) {
    if (!this.#session) {
      const { text } = await this.use('ssh_session_start', { server: 'bench' });
      this.#session = text.match(/Session ID: (\S+)/)?.[1];
    }
    const params = { session: this.#session, command, timeout: timeoutMs };
    const { text } = await this.call('ssh_session_send', params, signal);
    const [, mark, output] = text.match(/(✅ Output|❌ Error):\n(.*)\n+━+\nSession State:/s) ?? [];
    if (/Timeout waiting/.test(text)) return { stdout: '', timedOut: true };
    if (mark === undefined) throw new Failed(text);
    const lines = output.replace(DRAWN, '').split('\n');
    const said = lines.map((line) => line.replace(PROMPT, '')).filter((line) => line !== '');
    // It tells whether a command succeeded, and no more.
    return { stdout: said.join('\n'), status: mark.startsWith('✅') ? 0 : undefined };
  }

  async upload(localPath, remotePath) {
    await this.#move('ssh_upload', { localPath, remotePath });
  }

  async download(remotePath, localPath) {
    await this.#move('ssh_download', { remotePath, localPath });
  }

  async #move(tool, paths) {
    const { text } = await this.use(tool, { server: 'bench', ...paths });
    if (!text.startsWith('✅')) throw new Failed(text);
  }
}
