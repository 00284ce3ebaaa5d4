// The page on which a person types secrets, in a real browser, while an MCP client waits for its call.

import { join } from 'node:path';
import { fact, title } from '../demo/screen.mjs';
import { privateEnv } from '../lib/daemon.mjs';
import { initialize } from '../lib/mcp/handshake.mjs';
import { Client } from '../lib/mcp/stdio.mjs';

const SHOWN = 'SSH log-in';

/**
 * @param {object} with
 * @param {string} with.binary the program
 * @param {{ sshConfig: string, password: string }} with.sshd the demo's
 * @param {import('./browser.mjs').Browser} with.browser
 * @param {(name: string) => Promise<void>} with.pictures keeps pictures of the page
 * @param {string} with.folder for files
 */
export async function secrets({ binary, sshd, browser, pictures, folder }) {
  const client = new Client(binary, ['--ssh-config', sshd.sshConfig], privateEnv(join(folder, 'home')));
  const asked = questions(client);
  await initialize(client, { capabilities: { elicitation: { url: {} } } });
  const connect = (host) => client.request('tools/call', { name: 'ssh_connect', arguments: { host } }, 120_000);

  title('A password, at first a wrong one');
  let call = connect('demo-password');
  let url = await asked();
  await browser.open(url, SHOWN);
  await browser.type('wrong');
  fact('the field has the focus', (await browser.evaluate('document.activeElement.id')) === 'answer0');
  await browser.click('button.main');
  await browser.titled('Thank you');
  url = await asked();
  // Another site sends a form to the address, which it cannot know.
  const hostile = `<title>evil</title><form method=post action="${url}"><input name=answer0 value=x><button>Win!</button>`;
  await browser.open(`data:text/html,${encodeURIComponent(hostile)}`, 'evil');
  await browser.click('button');
  await browser.titled('Not allowed');
  await browser.open(url, SHOWN);
  await browser.type(sshd.password);
  await pictures('password');
  await browser.press('Enter', 13);
  await browser.titled('Thank you');
  await pictures('thanks');
  let result = await call;
  fact('the call succeeds', !result.isError, result);
  fact('the password is not in its result', !JSON.stringify(result).includes(sshd.password));

  title("A server's questions");
  call = connect('demo-questions');
  await browser.open(await asked(), SHOWN);
  await browser.type(sshd.password);
  await browser.press('Tab', 9);
  await browser.type('at home');
  await pictures('questions');
  await browser.click('button.main');
  await browser.titled('Thank you');
  result = await call;
  fact('the call succeeds', !result.isError, result);

  title('The person does not want to');
  await client.request('tools/call', { name: 'ssh_disconnect', arguments: { session: 'demo-questions', forget: true } });
  call = connect('demo-questions');
  await browser.open(await asked(), SHOWN);
  await browser.click('button[name=refuse]');
  await browser.titled('Not answered');
  result = await call;
  fact('the call fails and says so', result.isError && result.content[0].text.includes('permission denied'), result);

  await client.close();
}

/** Says yes to whatever is asked; the function that is returned waits for the next address. */
function questions(client) {
  const urls = [];
  const waiting = [];
  client.onRequest = ({ params }) => {
    const next = waiting.shift();
    if (next) next(params.url);
    else urls.push(params.url);
    return { action: 'accept' };
  };
  return () => (urls.length > 0 ? urls.shift() : new Promise((resolve) => waiting.push(resolve)));
}
