// An MCP server over stdio, as a tool set.

import { initialize } from '../../../scripts/lib/mcp/handshake.mjs';
import { Client } from '../../../scripts/lib/mcp/stdio.mjs';
import { Stop } from '../../../scripts/lib/repository.mjs';
import { runLocally } from './shell.mjs';

/** Longer than any call of a task. */
const PATIENCE_MS = 130_000;

export class Server {
  kind = 'peer';
  capabilities = {};

  /** @param {import('../world.mjs').World} world */
  constructor(world) {
    this.world = world;
  }

  /** Answers a question of the server; most kinds are asked nothing. */
  answer() {
    throw new Error('no question was expected');
  }

  async open() {
    const { program, args = [], env = {} } = this.command();
    const [first, ...rest] = [...this.world.near, program, ...args];
    this.client = new Client(first, rest, { ...this.world.env, ...env }, this.world.project);
    this.client.onRequest = (request) => this.answer(request);
    const { instructions = '' } = await initialize(this.client, {
      revision: '2025-06-18',
      capabilities: this.capabilities,
    });
    this.instructions = instructions;
    this.tools = (await this.client.request('tools/list')).tools;
  }

  /** What reaches a model of the tools: names, descriptions, input schemas, and the instructions. */
  async definitions() {
    const tools = this.tools.map(({ name, description, inputSchema }) => ({ name, description, inputSchema }));
    return `${this.instructions}\n${JSON.stringify(tools)}`;
  }

  /** Makes a call. An error of the server is an answer that an agent reads, too. */
  async perform(name, args) {
    if (name === 'Bash') return runLocally(this.world, args);
    const asked = this.client.request('tools/call', { name, arguments: args }, PATIENCE_MS);
    const result = await asked.catch((error) => {
      if (!(error instanceof Stop)) throw error;
      return { content: [{ text: error.message }], isError: true };
    });
    // Clients show structured content instead of the text.
    const words = result.content.map(({ text = '' }) => text).join('');
    const text = result.structuredContent ? JSON.stringify(result.structuredContent) : words;
    return { text, isError: result.isError === true, meta: result._meta };
  }

  /** Runs a command on each host, all in one turn. */
  everywhere(agent, hosts, command) {
    return agent.together(hosts.map((host) => this.commandCall(host, command)));
  }

  run(agent, host, command, options) {
    return agent.call(...this.commandCall(host, command, options));
  }

  async stop() {
    if (!this.client) return;
    const timer = setTimeout(() => this.client.kill(), 2000);
    await this.client.close().finally(() => clearTimeout(timer));
  }
}
