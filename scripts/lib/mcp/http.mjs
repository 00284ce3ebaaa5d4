// Three MCP clients over HTTP, one for each of its dialects, as small as they can be.
//
// Each has: open(), request(method, params), and leave(politely), which without politeness is what a crash looks like.

import { Agent, request } from 'node:http';
import { clientInfo, initialize } from './handshake.mjs';

/** A call waits for its turn behind hundreds of others, on a slow machine. */
const PATIENCE_MS = 180_000;

class Client {
  #lastId = 0;

  /**
   * @param {string} url the daemon's
   * @param {string} [socketPath] where it listens, if not there
   */
  constructor(url, socketPath) {
    this.url = url;
    this.agent = new Agent({ keepAlive: true, socketPath });
  }

  message(method, params) {
    return { jsonrpc: '2.0', id: ++this.#lastId, method, params };
  }

  /** Posts a message, and resolves to the answer's status, headers and text. */
  async post(body, headers = {}, url = this.url) {
    const accept = 'application/json, text/event-stream';
    const all = { 'content-type': 'application/json', accept, ...headers };
    const response = await this.send(url, { method: 'POST', headers: all }, JSON.stringify(body));
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    if (response.statusCode >= 300) throw new Error(`status ${response.statusCode}: ${text}`);
    return { headers: response.headers, text };
  }

  send(url, options, body) {
    return new Promise((resolve, reject) => {
      const sent = request(url, { agent: this.agent, timeout: PATIENCE_MS, ...options }, resolve);
      sent.on('error', reject).on('timeout', () => sent.destroy(new Error(`nothing in ${PATIENCE_MS / 1000} s`)));
      sent.end(body);
    });
  }
}

/** Revision 2026-07-28: no sessions. */
export class Stateless extends Client {
  async open() {
    return this.request('server/discover', {});
  }

  async request(method, params) {
    const revision = '2026-07-28';
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': revision,
      'io.modelcontextprotocol/clientInfo': clientInfo,
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const message = this.message(method, { ...params, _meta });
    const name = params.name ? { 'mcp-name': params.name } : {};
    const { text } = await this.post(message, { 'mcp-protocol-version': revision, 'mcp-method': method, ...name });
    return answerTo(message, messagesIn(text));
  }

  async leave() {
    this.agent.destroy();
  }
}

/** Streamable HTTP with a session, and with the stream for what nobody has asked for, which all SDKs open. */
export class Sessionful extends Client {
  #session = {};

  async open() {
    const result = await initialize(this);
    const accept = 'text/event-stream';
    this.stream = await this.send(this.url, { method: 'GET', headers: { accept, ...this.#session } });
    this.stream.on('error', () => {}).resume();
    return result;
  }

  async request(method, params) {
    const message = this.message(method, params);
    const { headers, text } = await this.post(message, this.#session);
    if (headers['mcp-session-id']) {
      this.#session = { 'mcp-session-id': headers['mcp-session-id'], 'mcp-protocol-version': '2025-11-25' };
    }
    return answerTo(message, messagesIn(text));
  }

  notify(method) {
    return this.post({ jsonrpc: '2.0', method }, this.#session);
  }

  async leave(politely) {
    if (politely) {
      const response = await this.send(this.url, { method: 'DELETE', headers: this.#session });
      if (response.statusCode >= 300) throw new Error(`DELETE: status ${response.statusCode}`);
      response.resume();
    }
    this.stream.destroy();
    this.agent.destroy();
  }
}

/** HTTP+SSE. */
export class Legacy extends Client {
  #waiting = new Map();
  #endpoint;

  async open() {
    this.stream = await this.send(this.url, { method: 'GET', headers: { accept: 'text/event-stream' } });
    let text = '';
    await new Promise((resolve, reject) => {
      const over = () => {
        reject(new Error('the event stream has ended'));
        for (const { refuse } of this.#waiting.values()) refuse(new Error('the event stream has ended'));
      };
      this.stream.setEncoding('utf8').on('error', over).on('close', over);
      this.stream.on('data', (chunk) => {
        const events = (text + chunk).split('\n\n');
        text = events.pop();
        for (const event of events) {
          const path = event.match(/^event: endpoint\ndata: (.*)$/)?.[1];
          if (path) resolve((this.#endpoint = new URL(path, this.url)));
          else for (const message of messagesIn(event)) this.#waiting.get(message.id)?.receive(message);
        }
      });
    });
    return initialize(this, { revision: '2024-11-05' });
  }

  async request(method, params) {
    const message = this.message(method, params);
    let timer;
    const answer = new Promise((receive, refuse) => {
      this.#waiting.set(message.id, { receive, refuse });
      timer = setTimeout(() => refuse(new Error(`nothing in ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
    });
    try {
      await Promise.all([this.post(message, {}, this.#endpoint), answer]);
      return answerTo(message, [await answer]);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(message.id);
    }
  }

  notify(method) {
    return this.post({ jsonrpc: '2.0', method }, {}, this.#endpoint);
  }

  /** To close the stream is all that there is. */
  async leave() {
    this.stream.destroy();
    this.agent.destroy();
  }
}

function messagesIn(text) {
  if (text.startsWith('{')) return [JSON.parse(text)];
  const data = text.split('\n').flatMap((line) => line.match(/^data: ?(\{.*)$/)?.[1] ?? []);
  return data.map((line) => JSON.parse(line));
}

function answerTo({ id, method }, messages) {
  const answers = messages.filter((message) => message.id === id);
  if (answers.length !== 1) throw new Error(`${method}: ${answers.length} answers: ${JSON.stringify(messages)}`);
  if (answers[0].error) throw new Error(`${method}: ${answers[0].error.message}`);
  return answers[0].result;
}
