// The TypeScript SDK 2, from the folder where it is installed.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { drive } from './driver.mjs';

const require = createRequire(join(process.argv[2], 'package.json'));
const { Client, SSEClientTransport, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');
const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio');

async function connect({ transport, url, headers, command, args, env, legacy }) {
  const mode = legacy ? 'legacy' : 'auto';
  const client = new Client({ name: 'typescript-v2', version: '0' }, { versionNegotiation: { mode } });
  const options = { requestInit: { headers } };
  const make = {
    http: () => new StreamableHTTPClientTransport(new URL(url), options),
    sse: () => new SSEClientTransport(new URL(url), options),
    stdio: () => new StdioClientTransport({ command, args, env, stderr: 'ignore' }),
  };
  await client.connect(make[transport]());
  return client;
}

drive(connect, (client, params, options) => client.callTool(params, options));
