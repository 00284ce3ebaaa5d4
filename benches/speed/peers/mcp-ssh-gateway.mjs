// mcp-ssh-gateway, from PyPI. Every command runs in a terminal.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { installedPython } from '../../../scripts/lib/installed.mjs';
import { Failed, McpServer, parsed } from '../contestant.mjs';

const VERSION = '7.0.0';
const WAIT_S = 110;
/** As many lines as a page may have, and more. */
const LINES = 100_000;

export class McpSshGateway extends McpServer {
  static title = `mcp-ssh-gateway ${VERSION}`;

  static #program;
  #session;

  static async install() {
    const python = await installedPython('mcp-ssh-gateway', [`mcp-ssh-gateway==${VERSION}`]);
    this.#program = join(dirname(python), 'mcp-ssh-gateway');
  }

  command() {
    const { home, address, port, user, files } = this.place;
    const folder = join(home, 'gateway');
    mkdirSync(folder, { recursive: true });
    const server = { host: address, port, user, key_path: join(home, '.ssh', 'id_ed25519'), max_sessions: 200 };
    const config = join(folder, 'servers.json');
    writeFileSync(config, JSON.stringify({ servers: { bench: server } }));
    const options = ['--servers-config', config, '--cache-dir', join(folder, 'cache'), '--project-root', files];
    return { program: McpSshGateway.#program, args: options };
  }

  async stop() {
    this.#session = undefined;
    await super.stop();
  }

  async first() {
    return this.shell('true');
  }

  async beside(command) {
    const { session, ...answer } = await this.#run({ server: 'bench', command });
    await this.use('session_close', { session_id: session });
    return answer;
  }

  async shell(command, { timeoutMs, signal } = {}) {
    const where = this.#session ? { session_id: this.#session } : { server: 'bench' };
    const timeout = timeoutMs && timeoutMs / 1000;
    const { session, ...answer } = await this.#run({ ...where, command, timeout }, signal);
    this.#session = session;
    return answer;
  }

  async upload(local, remote) {
    await this.use('file', { server: 'bench', action: 'write', path: remote, local_path: local });
  }

  async download(remote, local) {
    await this.use('file', { server: 'bench', action: 'read', path: remote, local_path: local });
  }

  async #run(params, signal) {
    const { text } = await this.call('run', { ...params, wait: WAIT_S, lines: LINES }, signal);
    let { session_id: session, status, output, exit_code: exit, has_more: more } = parsed(text);
    // Its advice for this is Ctrl-C.
    if (status === 'waiting_input') await this.use('signal', { session_id: session, action: 'ctrl_c' });
    else if (!['completed', 'timed_out'].includes(status)) throw new Failed(text);
    // The first line is the command.
    const pages = [output.replace(/^\$ .*\n/, '')];
    while (more) {
      const page = parsed((await this.use('read', { session_id: session, lines: LINES })).text);
      pages.push(page.output);
      more = page.has_more;
    }
    return { session, stdout: pages.join(''), status: exit, timedOut: status === 'timed_out' };
  }
}
