// mcp-ssh-sessions.

import { join } from 'node:path';
import { Server } from './server.mjs';

export class Ours extends Server {
  static id = 'ours';
  static title = 'mcp-ssh-sessions';
  /** @type {string} the program */
  static binary;

  static async install() {}

  kind = 'ours';
  capabilities = { elicitation: { form: {}, url: {} } };
  #connected = new Set();

  command() {
    return { program: Ours.binary, args: ['--ssh-config', join(this.world.home, '.ssh', 'config')] };
  }

  /** The person says yes to the key whose fingerprint was sent to them, and to nothing else. */
  answer({ method, params }) {
    const expected = this.world.fingerprint('stray');
    const right = method === 'elicitation/create' && params.message.includes(expected);
    if (!right) return { action: 'decline' };
    const fields = Object.entries(params.requestedSchema?.properties ?? {});
    const content = Object.fromEntries(fields.map(([name, { type, enum: words }]) => [name, type === 'boolean' ? true : words?.[0] ?? 'yes']));
    return { action: 'accept', content };
  }

  has(tool) {
    return this.tools.some(({ name }) => name === tool);
  }

  /** Whether a call may name a host that is not connected. */
  get hostIsSession() {
    const { inputSchema } = this.tools.find(({ name }) => name === 'ssh_sessions');
    return inputSchema.properties?.hosts !== undefined;
  }

  /** Connects hosts where that has to be done first, and returns the parameter that names the session. */
  async on(agent, ...hosts) {
    const missing = this.hostIsSession ? [] : hosts.filter((host) => !this.#connected.has(host));
    if (missing.length > 0) await agent.together(missing.map((host) => ['ssh_connect', { host }]));
    for (const host of missing) this.#connected.add(host);
    if (hosts.length > 1) return { sessions: hosts };

    // The first one is the default.
    return !this.hostIsSession && [...this.#connected][0] === hosts[0] ? {} : { session: hosts[0] };
  }

  /** The call for a command on a host that is connected or connects by itself. */
  commandCall(host, command) {
    return ['ssh_exec', { command, session: host }];
  }

  async run(agent, host, command, { timeoutMs } = {}) {
    const session = await this.on(agent, host);
    return this.toEnd(agent, await agent.call('ssh_exec', { command, ...session, ...(timeoutMs && { timeoutMs }) }));
  }

  /** Waits for the end of a job, as often as an answer says that it still runs. */
  async toEnd(agent, answer) {
    let now = answer;
    for (let job = running(now); job; job = running(now)) now = await agent.call('ssh_job', { job });
    return now;
  }

  async everywhere(agent, hosts, command) {
    return agent.call('ssh_exec', { command, ...(await this.on(agent, ...hosts)) });
  }

  async upload(agent, host, localPath, remotePath) {
    return agent.call('ssh_upload', { localPath: join(this.world.project, localPath), remotePath: this.world.at(host, remotePath), ...(await this.on(agent, host)) });
  }

  async download(agent, host, remotePath, localPath) {
    return agent.call('ssh_download', { remotePath: this.world.at(host, remotePath), localPath: join(this.world.project, localPath), ...(await this.on(agent, host)) });
  }
}

/** The job of an answer, if it still runs. */
export function running({ meta }) {
  const outcome = meta?.['mcp-ssh-sessions/outcome'];
  return outcome?.status === 'running' ? outcome.job : undefined;
}
