// The start of every MCP conversation up to revision 2025-11-25, whatever carries it.

export const clientInfo = { name: 'mcp-ssh-sessions-scripts', version: '0' };

/**
 * Sends `initialize` and the notification that follows; resolves to the answer.
 *
 * @param {{ request: Function, notify: Function }} client
 * @param {{ revision?: string, capabilities?: object }} [options]
 */
export async function initialize(client, { revision = '2025-11-25', capabilities = {} } = {}) {
  const result = await client.request('initialize', { protocolVersion: revision, capabilities, clientInfo });
  await client.notify('notifications/initialized');
  return result;
}
