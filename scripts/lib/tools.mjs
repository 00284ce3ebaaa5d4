// What the built program says of itself.

import { join } from 'node:path';
import { Client } from '../demo/client.mjs';
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
    const clientInfo = { name: 'mcp-ssh-sessions-scripts', version: '0' };
    await client.request('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo });
    client.notify('notifications/initialized');
    return (await client.request('tools/list')).tools;
  } finally {
    await client.close();
  }
}
