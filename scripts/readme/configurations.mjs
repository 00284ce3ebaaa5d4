// The README's ways to configure a client. All of them are to start the same program.

import { initialize } from '../lib/mcp/handshake.mjs';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';

/** What each of them starts. */
const WANTED = 'npx -y mcp-ssh-sessions';

/**
 * @param {string} text the README
 * @param {import('../lib/markdown.mjs').Block[]} blocks of the README
 * @param {string} program what npx would start
 */
export async function configurations(text, blocks, program) {
  const ways = [
    ...[...text.matchAll(/`(claude|codex) mcp add ssh -- (.*?)`/g)].map(([, client, command]) => [client, command]),
    ...[...text.matchAll(/https:\/\/(?:\w+\.)*(vscode|cursor)\.\S+[?&]config=([^)&]+)/g)].map(([, client, config]) => {
      const json = decodeURIComponent(config);
      return [client, commandOf(JSON.parse(json.startsWith('{') ? json : Buffer.from(json, 'base64')))];
    }),
    ...blocks.filter(({ language }) => language === 'json').map(({ code }) => ['JSON', fromJson(code)]),
    ...blocks.filter(({ language }) => language === 'toml').map(({ code }) => ['TOML', fromToml(code)]),
  ];
  const wrong = ways.filter(([, command]) => command !== WANTED);
  if (wrong.length > 0) throw new Stop(`README.md, not ${WANTED}: ${wrong.map((way) => way.join(': ')).join('; ')}`);

  // As the client does with it.
  const client = new Client(program, [], process.env);
  await initialize(client);
  const { tools } = await client.request('tools/list');
  await client.close();
  return `${ways.map(([client]) => client).join(', ')}; ${tools.length} tools`;
}

function fromJson(code) {
  const [server] = Object.values(JSON.parse(code).mcpServers);
  return commandOf(server);
}

/** Of the few kinds of lines that it has. */
function fromToml(code) {
  const pairs = code.split('\n').flatMap((line) => {
    const [, key, value] = line.match(/^(\w+) = (.*)$/) ?? [];
    return key ? [[key, JSON.parse(value)]] : [];
  });
  if (!/^\[mcp_servers\.\w+\]$/m.test(code)) throw new Stop('README.md: the TOML is not a server of Codex');
  return commandOf(Object.fromEntries(pairs));
}

function commandOf({ command, args }) {
  return [command, ...args].join(' ');
}
