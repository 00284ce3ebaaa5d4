// MCP servers for SSH of other people. Each says by which call it runs a command, and how it moves a file.

import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { installed, installedCrate, installedPython } from '../../../scripts/lib/installed.mjs';
import { filesIn } from '../tasks/checks.mjs';
import { Server } from './server.mjs';

const VERSIONS = { sshMcp: '2.11.0', gateway: '7.0.0', portal: '4.0.3', fast: '0.5.1' };

class SshMcp extends Server {
  static id = 'ssh-mcp';
  static title = `ssh-mcp ${VERSIONS.sshMcp}`;
  static #program;

  static async install() {
    const folder = await installed('ssh-mcp', { 'ssh-mcp': VERSIONS.sshMcp });
    this.#program = join(folder, 'node_modules', '.bin', 'ssh-mcp');
  }

  command() {
    const { home, hosts, project, user } = this.world;
    const section = (host) => [
      '[[profiles]]',
      `name = "${host}"`,
      `host = "${hosts[host].address}"`,
      `port = ${hosts[host].port}`,
      `user = "${user}"`,
      'auth = "key"',
      `keyRef = "${join(home, '.ssh', `id_${host}`)}"`,
      'role = "admin"',
      'group = "dev"',
      'approvalPolicy = "auto"',
    ];
    const defaults = ['[defaults]', 'defaultProfile = "web"', `transferRoot = "${project}"`];
    keep(join(home, '.config', 'ssh-mcp', 'config.toml'), [...defaults, ...Object.keys(hosts).flatMap(section)]);
    return { program: SshMcp.#program };
  }

  commandCall(host, command, { timeoutMs } = {}) {
    const bounded = timeoutMs ? `timeout -k 1 ${timeoutMs / 1000} ${command}` : command;
    return ['run-command', { command: bounded, ...profile(host) }];
  }

  upload = byFile;

  uploadCall(host, local, remote) {
    return ['sftp-upload-file', { localPath: join(this.world.project, local), remotePath: this.world.at(host, remote), ...profile(host) }];
  }

  download(agent, host, remote, local) {
    return agent.call('sftp-download-file', { remotePath: this.world.at(host, remote), localPath: join(this.world.project, local), ...profile(host) });
  }
}

class McpSshGateway extends Server {
  static id = 'mcp-ssh-gateway';
  static title = `mcp-ssh-gateway ${VERSIONS.gateway}`;
  static #program;
  #sessions = new Map();

  static async install() {
    const python = await installedPython('mcp-ssh-gateway', [`mcp-ssh-gateway==${VERSIONS.gateway}`]);
    this.#program = join(dirname(python), 'mcp-ssh-gateway');
  }

  command() {
    const { home, hosts, project, user } = this.world;
    const server = (host) => ({ host: hosts[host].address, port: hosts[host].port, user, key_path: join(home, '.ssh', `id_${host}`), extra_path: `${this.world.at(host, 'bin')}:/usr/bin:/bin` });
    const servers = Object.fromEntries(Object.keys(hosts).map((host) => [host, server(host)]));
    const config = join(home, 'gateway', 'servers.json');
    keep(config, [JSON.stringify({ servers })]);
    return { program: McpSshGateway.#program, args: ['--servers-config', config, '--cache-dir', join(home, 'gateway', 'cache'), '--project-root', project] };
  }

  /** Goes on in the session of the host, as it has room for eight. It waits ten seconds by default. */
  commandCall(server, command, { timeoutMs } = {}) {
    const where = this.#sessions.has(server) ? { session_id: this.#sessions.get(server) } : { server };
    return ['run', { ...where, command, wait: 110, ...(timeoutMs && { timeout: timeoutMs / 1000 }) }];
  }

  async perform(name, args) {
    const result = await super.perform(name, args);
    const session = result.text.match(/"session_id":\s*"(([^"/]+)\/[^"]+)"/);
    if (session) this.#sessions.set(session[2], session[1]);
    return result;
  }

  upload = byFile;

  uploadCall(server, local, remote) {
    return ['file', { server, action: 'write', path: this.world.at(server, remote), local_path: join(this.world.project, local) }];
  }

  download(agent, server, remote, local) {
    return agent.call('file', { server, action: 'read', path: this.world.at(server, remote), local_path: join(this.world.project, local) });
  }
}

class PortalMcpServer extends Server {
  static id = 'portal-mcp-server';
  static title = `portal-mcp-server ${VERSIONS.portal}`;
  static #program;

  static async install() {
    const python = await installedPython('portal-mcp-server', [`portal-mcp-server==${VERSIONS.portal}`]);
    this.#program = join(dirname(python), 'portal-mcp-server');
  }

  command() {
    return { program: PortalMcpServer.#program, env: { PORTAL_SSH_CONFIG: join(this.world.home, '.ssh', 'config') } };
  }

  /** Its own timeout loses the output and leaves the program running. */
  commandCall(host, command, { timeoutMs } = {}) {
    const bounded = timeoutMs ? `timeout -k 1 ${timeoutMs / 1000} ${command}` : command;
    return ['remote_exec', { host, command: bounded, timeout: 100 }];
  }

  everywhere(agent, host, command) {
    return agent.call('remote_exec', { host, command, timeout: 60 });
  }

  upload(agent, host, local, remote) {
    return this.#move(agent, local === 'site' ? 'sync' : 'upload', host, local, remote);
  }

  download(agent, host, remote, local) {
    return this.#move(agent, 'download', host, local, remote);
  }

  #move(agent, direction, host, local, remote) {
    return agent.call('remote_transfer', { direction, host, local_path: join(this.world.project, local), remote_path: this.world.at(host, remote) });
  }
}

class FastMcpSsh extends Server {
  static id = 'fast-mcp-ssh';
  static title = `fast-mcp-ssh ${VERSIONS.fast}`;
  static #program;

  static async install() {
    this.#program = join(await installedCrate('fast-mcp-ssh', VERSIONS.fast), 'bin', 'fast-mcp-ssh');
  }

  command() {
    const { home, hosts, user } = this.world;
    const section = (host) => [
      `[host.${host}]`,
      `addr = "${hosts[host].address}"`,
      `port = ${hosts[host].port}`,
      `user = "${user}"`,
      'auth = "key"',
      `key = "${join(home, '.ssh', `id_${host}`)}"`,
    ];
    keep(join(home, '.fast-mcp-ssh', 'hosts.toml'), Object.keys(hosts).flatMap(section));
    return { program: FastMcpSsh.#program };
  }

  /** Its own timeout leaves the program running. */
  commandCall(host, cmd, { timeoutMs } = {}) {
    return ['exec', { host, cmd: timeoutMs ? `timeout -k 1 ${timeoutMs / 1000} ${cmd}` : cmd }];
  }

  upload = byFile;

  uploadCall(host, local, remote) {
    return ['up', { host, local: join(this.world.project, local), remote: this.world.at(host, remote) }];
  }

  download(agent, host, remote, local) {
    return agent.call('dn', { host, remote: this.world.at(host, remote), local: join(this.world.project, local) });
  }
}

export const peers = [SshMcp, McpSshGateway, PortalMcpServer, FastMcpSsh];

/** Names the host where it is not the default. */
function profile(host) {
  return host === 'web' ? {} : { profile: host };
}

/** Uploads a tree with a server that moves single files: the folders first, then all files in one turn. */
async function byFile(agent, host, local, remote) {
  if (statSync(join(this.world.project, local)).isFile()) return agent.call(...this.uploadCall(host, local, remote));
  const files = filesIn(join(this.world.project, local));
  const folders = [...new Set(files.map((file) => join(remote, dirname(file))))];
  await this.run(agent, host, `mkdir -p ${folders.join(' ')}`);
  return agent.together(files.map((file) => this.uploadCall(host, join(local, file), join(remote, file))));
}

function keep(file, lines) {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
}
