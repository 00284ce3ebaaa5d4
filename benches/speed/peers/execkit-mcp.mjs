// execkit-mcp, from PyPI, where it is a program without Python. Every command runs in a shell.

import { dirname, join } from 'node:path';
import { installedPython } from '../../../scripts/lib/installed.mjs';
import { Failed, McpServer, parsed } from '../contestant.mjs';

const VERSION = '0.10.1';

export class ExeckitMcp extends McpServer {
  static title = `execkit-mcp ${VERSION}`;

  static #program;
  #session;

  static async install() {
    const python = await installedPython('execkit-mcp', [`execkit-mcp==${VERSION}`]);
    this.#program = join(dirname(python), 'execkit-mcp');
  }

  command() {
    return { program: ExeckitMcp.#program, env: { EXECKIT_MCP_MAX_SESSIONS: '200' } };
  }

  async stop() {
    this.#session = undefined;
    await super.stop();
  }

  async first() {
    return this.shell('true');
  }

  async beside(command) {
    const session = await this.#open();
    const answer = await this.#run(session, command);
    await this.use('session_destroy', { session_id: session });
    return answer;
  }

  async shell(command, bounds) {
    this.#session ??= await this.#open();
    return this.#run(this.#session, command, bounds);
  }

  async #open() {
    const { address: host, port, user, home } = this.place;
    const key_path = join(home, '.ssh', 'id_ed25519');
    const { text } = await this.use('session_create', { transport: 'ssh', host, port, user, key_path });
    return parsed(text).session_id;
  }

  async #run(session, command, { timeoutMs, signal } = {}) {
    const params = { session_id: session, command, timeout_secs: timeoutMs && Math.ceil(timeoutMs / 1000) };
    const { isError, text } = await this.call('session_exec', params, signal);
    // The answer says that a new one has to be made.
    if (/closed the session|unknown session_id/.test(text)) this.#session = undefined;
    if (isError) throw new Failed(text);
    const { stdout, stderr, exit_code: status, timed_out: timedOut } = parsed(text);
    return { stdout, stderr, status, timedOut };
  }
}
