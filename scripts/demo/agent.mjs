// The agent of the demo: it calls tools, and shows what it called and what it got.

import { answer, call, fact, timed } from './screen.mjs';

export class Agent {
  /** @type {object[]} what `send` has returned so far */
  calls = [];

  /** @param {import('../lib/mcp/stdio.mjs').Client} client */
  constructor(client) {
    this.client = client;
  }

  /** Calls a tool in full view; a result that is an error ends the demo. */
  async use(tool, params = {}) {
    call(tool, params);
    const result = await this.send(tool, params);
    answer(result.text, result.milliseconds);
    if (result.isError) fact(`${tool} works`, false, result.text);
    return result;
  }

  /** Calls a tool silently. The result has the typed facts of the tool, if it has any, and these fields. */
  async send(tool, params) {
    const [result, milliseconds] = await timed(this.client.request('tools/call', { name: tool, arguments: params }));
    const blocks = result.content.map(({ text }) => text);
    const called = {
      ...result._meta?.['mcp-ssh-sessions/result'],
      outcome: result._meta?.['mcp-ssh-sessions/outcome'],
      isError: result.isError === true,
      text: blocks.map((block) => (block.endsWith('\n') ? block : `${block}\n`)).join(''),
      blocks,
      tool,
      params,
      milliseconds,
    };
    this.calls.push(called);
    return called;
  }

  /** Shows what `send` has done. */
  show({ tool, params, text, milliseconds }) {
    call(tool, params);
    answer(text, milliseconds);
  }
}
