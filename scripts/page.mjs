// `npm run page`: a person with a real browser (Chromium) types secrets into the page that the program shows, while an
// MCP client waits for its call; then watches, and stops, what agents do with a daemon.
//
//   node scripts/page.mjs                   builds the program and the demo's SSH server first
//   node scripts/page.mjs --binary PATH     takes that program
//   node scripts/page.mjs --sshd PATH       takes that `demo-sshd`
//   node scripts/page.mjs --browser PATH    takes that browser of the Chromium family
//   node scripts/page.mjs --pictures FOLDER keeps pictures of the pages there

import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { survivors, tree } from '../npm/processes.mjs';
import { epilogue, fact, title } from './demo/screen.mjs';
import { build, needCargo } from './lib/cargo.mjs';
import { privateEnv, startDemoSshd } from './lib/daemon.mjs';
import { initialize } from './lib/mcp/handshake.mjs';
import { Client } from './lib/mcp/stdio.mjs';
import { needProgram } from './lib/programs.mjs';
import { Stop, fail, seconds } from './lib/repository.mjs';
import { scratchFolder } from './lib/scratch.mjs';
import { Browser } from './page/browser.mjs';
import { watch } from './page/watch.mjs';

const NAME = 'mcp-ssh-sessions';
const SIZES = { desktop: [1280, 800], phone: [390, 844], dark: [1280, 800, 'dark'] };
const SHOWN = 'SSH log-in';

/** What is left when all has been closed gets this long to end. */
const PATIENCE_MS = 5_000;

const start = Date.now();
const scratch = scratchFolder('page');

try {
  const path = { type: 'string' };
  const { values } = parseArgs({ options: { binary: path, sshd: path, browser: path, pictures: path } });
  needProgram('ssh', 'openssh-client');
  const elsewhere = 'elsewhere name one with --browser PATH';
  const browserProgram = values.browser ?? needProgram('chromium', 'chromium', elsewhere);
  const binary = values.binary ? resolve(values.binary) : built(NAME, ['--bin', NAME]);
  const sshdProgram = values.sshd ? resolve(values.sshd) : built('demo-sshd', ['--example', 'demo-sshd']);
  if (values.pictures) mkdirSync(values.pictures, { recursive: true });

  const sshd = await startDemoSshd(sshdProgram, join(scratch, 'remote'));
  const browser = await Browser.start(browserProgram, join(scratch, 'browser'));
  const client = new Client(binary, ['--ssh-config', sshd.sshConfig], privateEnv(join(scratch, 'home')));
  const asked = questions(client);
  await initialize(client, { capabilities: { elicitation: { url: {} } } });
  const connect = (host) => client.request('tools/call', { name: 'ssh_connect', arguments: { host } }, 120_000);
  const pictures = async (name) => {
    for (const [size, view] of Object.entries(SIZES)) {
      await browser.show(...view);
      if (values.pictures) await browser.picture(join(values.pictures, `page-${name}-${size}.png`));
      const overflows = await browser.evaluate('document.documentElement.scrollWidth > innerWidth');
      fact(`${name}, ${size}: nothing is wider than the window`, !overflows);
    }
    await browser.show(...SIZES.desktop);
  };

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
  await watch({ binary, sshd, browser, pictures, folder: scratch });
  await browser.close();
  sshd.child.stdin.end();
  const left = await survivors(tree(process.pid).slice(1), PATIENCE_MS);
  epilogue(seconds(Date.now() - start), left.map(({ pid, command }) => `process ${pid} (${command})`));
} catch (error) {
  fail('page', error);
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

function built(name, args) {
  needCargo();
  return build(args).get(name);
}
