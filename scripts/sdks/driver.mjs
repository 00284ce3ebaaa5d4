// An SDK's client that does what is asked of it over stdin: JSON-RPC 2.0, one message a line.
//
//   connect {transport, url, headers, command, args, env, legacy}   → {name, revision}; the latter if it is known
//   tools                                                           → the names
//   call {key, tool, arguments}                                     → {text, isError, facts}
//   cancel {key}                                                    → that call then ends with an error
//   close

import { createInterface } from 'node:readline';

/**
 * Serves until stdin ends.
 *
 * @param {(to: object) => Promise<object>} connect resolves to an SDK's `Client`
 * @param {(client: object, params: object, options: object) => Promise<object>} callTool
 */
export function drive(connect, callTool) {
  let client;
  const running = new Map();
  const methods = {
    async connect(to) {
      client = await connect(to);
      const revision = client.getNegotiatedProtocolVersion?.() ?? client.transport.protocolVersion;
      return { name: client.getServerVersion().name, revision };
    },
    async tools() {
      return (await client.listTools()).tools.map(({ name }) => name);
    },
    async call({ key, tool, arguments: args }) {
      const stop = new AbortController();
      running.set(key, stop);
      // The SDK's own limit is a minute; a sign of life extends it.
      const options = { signal: stop.signal, onprogress: () => {}, resetTimeoutOnProgress: true };
      const result = await callTool(client, { name: tool, arguments: args }, options);
      const text = result.content.map((block) => block.text).join('');
      return { text, isError: result.isError ?? false, facts: result._meta?.['mcp-ssh-sessions/result'] };
    },
    async cancel({ key }) {
      running.get(key).abort('not wanted any more');
    },
    async close() {
      // Of sessions, those that have them tell the server that this one is over.
      await client.transport?.terminateSession?.();
      await client.close();
    },
  };
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const { id, method, params } = JSON.parse(line);
    const answer = await methods[method](params).then(
      (result) => ({ result: result ?? null }),
      (error) => ({ error: { code: error.code ?? 0, message: error.message ?? String(error) } }),
    );
    console.log(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
  });
  process.stdin.on('end', () => process.exit(0));
}
