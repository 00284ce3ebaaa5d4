// A model on 127.0.0.1 that says what it is given to say, one call of a tool after the other, and keeps what it is sent.
// It speaks the Messages API for Claude Code and the Responses API for Codex.

import { once } from 'node:events';
import { createServer } from 'node:http';

/**
 * @typedef {object} Step a call that the model makes
 * @property {string} tool as the client calls it
 * @property {object | ((results: string[]) => object)} args perhaps after the results so far
 * @property {boolean} [search] of the client's own search for tools
 */

export class ScriptedModel {
  /** What the client has sent, conversations only. */
  requests = [];

  /** Resolves when all steps are done and the client has got the last words. */
  finished;

  #steps;
  #next = 0;
  #server;
  #finish;

  /** @param {Step[]} steps */
  constructor(steps) {
    this.#steps = steps;
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  /** The number of the last call that the model has made, from 0. */
  get step() {
    return this.#next - 1;
  }

  /** Starts to listen, and returns the URL. */
  async open() {
    this.#server = createServer((request, response) => this.#answer(request, response).catch(() => response.destroy()));
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  close() {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /**
   * What the model has received for each step.
   *
   * @returns {{ text: string, images: string[], tools: string[] }[]} the words, the images in base64, and the tools
   *   that a search has found
   */
  received() {
    const last = this.requests.at(-1);
    if (!last) return [];
    const items = last.input ?? last.messages.flatMap(({ content }) => (Array.isArray(content) ? content : []));
    return this.#steps.map((_, index) => {
      const own = items.filter((item) => [item.call_id, item.tool_use_id].includes(id(index)));
      const answers = own.filter(({ type }) => ['tool_result', 'function_call_output', 'tool_search_output'].includes(type));
      return { text: answers.map(textOf).join(''), images: answers.flatMap(imagesOf), tools: answers.flatMap(toolsOf) };
    });
  }

  async #answer(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    if (request.method !== 'POST') return response.writeHead(404).end();
    const body = JSON.parse(Buffer.concat(chunks).toString() || '{}');
    const messages = request.url.startsWith('/v1/messages');
    if (request.url.includes('count_tokens')) return response.writeHead(200, JSON_TYPE).end('{"input_tokens":1}');
    if (!messages && !request.url.endsWith('/responses')) return response.writeHead(404).end();

    // A request without tools is about a title or the like.
    const step = body.tools?.length > 0 ? this.#steps[this.#next] : undefined;
    if (body.tools?.length > 0) this.requests.push(body);
    const call = step && { id: id(this.#next++), ...step, args: this.#arguments(step) };
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const event of messages ? message(call) : responseItems(call)) {
      response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    }
    response.end();
    if (body.tools?.length > 0 && !step) this.#finish();
  }

  #arguments({ args }) {
    return typeof args === 'function' ? args(this.received().map(({ text }) => text)) : args;
  }
}

const JSON_TYPE = { 'Content-Type': 'application/json' };

function id(index) {
  return `toolu_step_${index}`;
}

/** A message of the Messages API, in events. */
function message(call) {
  const block = call ? { type: 'tool_use', id: call.id, name: call.tool, input: {} } : { type: 'text', text: '' };
  const delta = call
    ? { type: 'input_json_delta', partial_json: JSON.stringify(call.args) }
    : { type: 'text_delta', text: 'done' };
  const start = { id: 'msg_1', type: 'message', role: 'assistant', model: 'scripted', content: [] };
  const usage = { input_tokens: 1, output_tokens: 1 };
  return [
    { type: 'message_start', message: { ...start, stop_reason: null, stop_sequence: null, usage } },
    { type: 'content_block_start', index: 0, content_block: block },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: call ? 'tool_use' : 'end_turn', stop_sequence: null }, usage },
    { type: 'message_stop' },
  ];
}

/** An answer of the Responses API, in events. */
function responseItems(call) {
  const item = call ? itemOf(call) : { type: 'message', role: 'assistant', id: 'm', content: [{ type: 'output_text', text: 'done' }] };
  const usage = { input_tokens: 1, input_tokens_details: null, output_tokens: 1, output_tokens_details: null, total_tokens: 2 };
  return [
    { type: 'response.created', response: { id: 'resp_1' } },
    { type: 'response.output_item.done', item },
    { type: 'response.completed', response: { id: 'resp_1', usage } },
  ];
}

function itemOf({ id: callId, tool, args, search }) {
  if (search) return { type: 'tool_search_call', call_id: callId, execution: 'client', status: 'completed', arguments: args };
  const [namespace, name] = tool.includes('/') ? tool.split('/') : [undefined, tool];
  return { type: 'function_call', call_id: callId, name, ...(namespace && { namespace }), arguments: JSON.stringify(args) };
}

/** The words of a result, of whichever shape. */
function textOf({ content, output }) {
  const all = content ?? output ?? '';
  if (typeof all === 'string') return all;
  return Array.isArray(all) ? all.map(({ text = '' }) => text).join('') : String(all.content ?? JSON.stringify(all));
}

/** The images of a result, of whichever shape. */
function imagesOf({ content, output }) {
  const all = content ?? output;
  if (!Array.isArray(all)) return [];
  return all.flatMap(({ source, image_url: url }) => source?.data ?? url?.replace(/^data:image\/\w+;base64,/, '') ?? []);
}

/** The names of tools that a search has found, in its order. */
function toolsOf({ content, tools = [] }) {
  const references = Array.isArray(content) ? content.flatMap(({ tool_name: name }) => name ?? []) : [];
  return [...references, ...tools.flatMap((one) => (one.tools ? one.tools.map(({ name }) => name) : [one.name]))];
}
