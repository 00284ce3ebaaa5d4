// What the built program says of itself.

import { join } from 'node:path';
import { initialize } from './mcp/handshake.mjs';
import { Client } from './mcp/stdio.mjs';
import { root } from './repository.mjs';

/**
 * Asks a program for its tools, as an MCP client does.
 *
 * @param {string} program its path
 * @returns {Promise<{ name: string, description: string, inputSchema: object }[]>}
 */
export async function toolsOf(program) {
  // Not this person's sessions.
  const client = new Client(program, [], { ...process.env, MCP_SSH_STORE: join(root, 'target/no-sessions.json') });
  try {
    await initialize(client);
    return (await client.request('tools/list')).tools;
  } finally {
    await client.close();
  }
}
