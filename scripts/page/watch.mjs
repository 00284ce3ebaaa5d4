// The page that shows what the agents do, in a real browser: who gets in, what is to be seen, what its buttons do.

import { truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tree } from '../../npm/processes.mjs';
import { fact, title } from '../demo/screen.mjs';
import { Daemon, privateEnv } from '../lib/daemon.mjs';
import { Stop } from '../lib/repository.mjs';
import { Stateless } from '../lib/mcp/http.mjs';

const SHOWN = 'SSH sessions';
const LOCKED = 'This page needs its link';
const USED = 'This link does not work any more';

/** A transfer of this takes more than a moment, and less room: it is all zeros. */
const LARGE_BYTES = 512 * 1024 * 1024;

/** No step takes a third of it, not even on a slow machine. */
const PATIENCE_MS = 30_000;

/**
 * @param {object} with
 * @param {string} with.binary the program
 * @param {{ sshConfig: string, child: { pid: number } }} with.sshd the demo's
 * @param {import('./browser.mjs').Browser} with.browser
 * @param {(name: string) => Promise<void>} with.pictures keeps pictures of the page
 * @param {string} with.folder for files
 */
export async function watch({ binary, sshd, browser, pictures, folder }) {
  const env = privateEnv(join(folder, 'watch'));
  const args = ['--ssh-config', sshd.sshConfig];
  let daemon = await Daemon.start(binary, env, args);
  const { origin } = new URL(daemon.url);
  const agent = new Stateless(daemon.url);
  const call = async (name, params) => {
    const result = await agent.request('tools/call', { name, arguments: params });
    if (result.isError) throw new Stop(`${name}: ${result.content[0].text}`);
    return result;
  };
  const link = await until('the link', () => daemon.log.match(/ watch at (http:\S+)/)?.[1]);
  const shown = (text) => browser.evaluate(`document.querySelector('main').textContent.includes(${JSON.stringify(text)})`);
  const shows = (text) => until(`${text} on the page`, () => shown(text));
  const runs = (word) => tree(sshd.child.pid).some(({ command }) => command.split(' ').includes(word));

  title('Who gets in');
  await browser.open(`${origin}/`, LOCKED);
  await browser.open(`${origin}/?key=${'0'.repeat(32)}`, USED);
  await pictures('watch-locked');
  await browser.open(link, SHOWN);
  fact('a link lets in, and its key is not in the address any more', (await address(browser)) === `${origin}/`);
  const other = await fetch(link);
  fact('it does so once', other.status === 403 && (await other.text()).includes('status --http'));
  await shows('No command is running.');
  await pictures('watch-empty');

  title('What is to be seen');
  await call('ssh_connect', { host: 'demo', name: 'web' });
  await call('ssh_connect', { host: 'demo', name: 'db' });
  await call('ssh_shell', { session: 'web', command: 'mkdir -p releases/42 && cd releases/42' });
  await call('ssh_shell', { session: 'db', shell: 'backup', command: 'cd /tmp; exit_code() { return 3; }; exit_code' });
  await call('ssh_exec', { session: 'web', command: 'echo "disk almost full" >&2; exit 4' });
  const gate = join(folder, 'gate');
  const deploy = `echo 'Fetching packages … done'; printf 'Building %s/3\\n' 1 2; until test -e '${gate}'; do sleep 0.02; done
echo 'The gate'' is open'; printf '<script>document.title = 1</script> \\033[31mred\\n'; echo 'warning: 2 tests skipped' >&2
exec sleep 31415`;
  const deploying = call('ssh_shell', { session: 'web', shell: 'deploy', command: deploy });
  await call('ssh_exec', { session: 'db', command: 'printf "Overwrite? [y/N] "; read -r answer', background: true });
  await shows('Building 2/3');
  const opened = performance.now();
  writeFileSync(gate, '');
  await until('the new line', () => shown('The gate is open'), 5);
  const took = performance.now() - opened;
  fact(`a new line is on the page ${took.toFixed(0)} ms after it was to be written`, took < 1_000, took);
  await shows('<script>document.title = 1</script> red');
  await shows('It seems to wait for input at Overwrite? [y/N]');
  fact('what a host printed is text', (await browser.evaluate('document.title')) === SHOWN);
  const large = join(folder, 'large');
  writeFileSync(large, '');
  truncateSync(large, LARGE_BYTES);
  const uploading = call('ssh_upload', { session: 'web', localPath: large, remotePath: 'large' });
  const bar = "document.querySelector('progress[max]')";
  fact('a bar shows how far a transfer is', await until('the bar', () => browser.evaluate(`${bar}?.value > 0 && ${bar}.max`)));
  await pictures('watch-busy');
  await uploading;
  await until('the end of the transfer', () => browser.evaluate("!document.querySelector('progress')"));

  title('An edit, and its diff');
  const edited = join(folder, 'edited.conf');
  writeFileSync(edited, 'first\n<script>document.title = 2</script>\nlast\n');
  const oldText = '<script>document.title = 2</script>';
  await call('ssh_edit', { session: 'web', path: edited, oldText, newText: '<b>new</b>' });
  await shows('+<b>new</b>');
  const diff = `[...document.querySelectorAll('#edits details:first-of-type pre > *')].map(({ nodeName, textContent }) => nodeName + textContent)`;
  const lines = await browser.evaluate(diff);
  fact('lines that went and came are marked, and are text', lines.join() === `DEL-${oldText},INS+<b>new</b>`, lines);
  await browser.click('#edits summary');
  await call('ssh_exec', { session: 'db', command: 'echo beside' });
  await shows('echo beside');
  fact('it stays open when something else changes', await browser.evaluate("document.querySelector('#edits details').open"));
  await pictures('watch-edit');

  title('A forwarded port, and its button');
  const site = createServer((_, answer) => answer.end('<title>of the host</title>'));
  await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));
  const to = site.address().port;
  await call('ssh_forward', { session: 'web', to });
  const anchor = "document.querySelector('#forwards a')";
  const url = await until('the forward', () => browser.evaluate(`${anchor}?.href`));
  await shows(`→ web 127.0.0.1:${to}`);
  await pictures('watch-forward');
  await browser.open(url, 'of the host');
  await browser.open(`${origin}/`, SHOWN);
  await until('the connections', () => browser.evaluate("/[1-9]\\d* connections/.test(document.querySelector('#forwards')?.textContent)"));
  await browser.click('form[action="/close"] button');
  await until('its end on the page', () => browser.evaluate("!document.querySelector('#forwards')"));
  const refused = await fetch(url).then(() => 'answered', (error) => error.cause?.code);
  fact('nobody listens there any more', refused === 'ECONNREFUSED', refused);
  site.closeAllConnections();
  site.close();

  title('A button stays where it is');
  await browser.evaluate(`window.button = document.querySelector('#running form[action="/stop"] button'); 0`);
  await call('ssh_exec', { session: 'db', command: 'echo another' });
  await shows('echo another');
  fact('what changes around it leaves it alone', await browser.evaluate('window.button.isConnected'));

  title('Forged forms');
  const hostile = `<title>evil</title><form method=post action="${origin}/disconnect"><input name=session value=web>
    <input name=key value=${'0'.repeat(32)}><button>Win!</button></form>`;
  await browser.open(`data:text/html,${encodeURIComponent(hostile)}`, 'evil');
  await browser.click('button');
  await until('the refusal', () => browser.evaluate("document.body.innerText.includes('is not allowed')"));
  await browser.open(`${origin}/`, SHOWN);
  const wrong = `fetch('/stop', { method: 'POST', body: new URLSearchParams({ key: 'x', job: '1' }) })`;
  await browser.evaluate(`${wrong}.then(({ status }) => { document.title = status }); 0`);
  await browser.titled('403');
  await browser.open(`${origin}/`, SHOWN);
  await shows('The gate is open');
  fact('nothing was stopped', runs('31415'));

  title('The button stops the remote process');
  await browser.click('form[action="/stop"] button[aria-label$=" web"]');
  await until('the end of the process', () => !runs('31415'));
  const told = (await deploying).content.at(-1).text;
  fact('the agent is told who it was', told.includes('the person stopped it'), told);
  await shows('by you');

  title('Without JavaScript');
  await browser.scripts(false);
  await browser.open(`${origin}/`, SHOWN);
  await pictures('watch-no-script');
  const says = await browser.evaluate("getComputedStyle(document.querySelector('noscript')).display !== 'none'");
  fact('it says how to see more', says);
  await browser.click('form[action="/disconnect"] button[aria-label$=" db"]');
  await until('the session is disconnected', () => browser.evaluate("!!document.querySelector('small.disconnected')"));
  fact('a button leads back to the page', (await address(browser)) === `${origin}/`);
  await browser.scripts(true);

  title('The daemon ends, and another one comes');
  await browser.open(`${origin}/`, SHOWN);
  const { port } = daemon;
  agent.leave();
  await daemon.stop();
  await until('the page says so', () => browser.evaluate("document.querySelector('#live').className === 'bad'"));
  daemon = await Daemon.start(binary, env, args, port);
  await browser.titled(LOCKED);
  await daemon.stop();
}

const address = (browser) => browser.evaluate('location.href');

async function until(what, condition, everyMs = 20) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(everyMs)) {
    const found = await condition();
    if (found) return found;
  }
  throw new Stop(`this does not come: ${what}`);
}
