// The TypeScript SDK 1, from the folder where it is installed.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { drive } from './driver.mjs';

const require = createRequire(join(process.argv[2], 'package.json'));
const sdk = (file) => require(`@modelcontextprotocol/sdk/client/${file}.js`);

async function connect({ transport, url, headers, command, args, env }) {
  const client = new (sdk('index').Client)({ name: 'typescript-v1', version: '0' });
  const options = { requestInit: { headers } };
  const make = {
    http: () => new (sdk('streamableHttp').StreamableHTTPClientTransport)(new URL(url), options),
    sse: () => new (sdk('sse').SSEClientTransport)(new URL(url), options),
    stdio: () => new (sdk('stdio').StdioClientTransport)({ command, args, env, stderr: 'ignore' }),
  };
  await client.connect(make[transport]());
  return client;
}

drive(connect, (client, params, options) => client.callTool(params, undefined, options));
