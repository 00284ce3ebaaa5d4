// Pictures for the README: the page that shows what the agents do, on a busy day.

import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fact, title } from '../demo/screen.mjs';
import { Daemon, privateEnv } from '../lib/daemon.mjs';
import { Stateless } from '../lib/mcp/http.mjs';
import { Stop } from '../lib/repository.mjs';

const SHOWN = 'SSH sessions';
const [WIDTH, HEIGHT] = [720, 668];

/** A program on the host, which still runs when the picture is taken. */
const DEPLOY = `#!/bin/sh
echo 'Fetching packages … done'
echo 'Building 1/3'
echo 'Building 2/3'
exec sleep 300
`;

/**
 * @param {object} with
 * @param {string} with.binary the program
 * @param {{ sshConfig: string }} with.sshd the demo's
 * @param {import('./browser.mjs').Browser} with.browser
 * @param {string} with.folder the folder in which the server has its own, remote
 * @param {string} with.pictures the folder for page-light.png and page-dark.png
 */
export async function portrait({ binary, sshd, browser, folder, pictures }) {
  title('Pictures for the README');
  const daemon = await Daemon.start(binary, privateEnv(join(folder, 'portrait')), ['--ssh-config', sshd.sshConfig]);
  const agent = new Stateless(daemon.url);
  const call = async (name, params) => {
    const result = await agent.request('tools/call', { name, arguments: params });
    if (result.isError) throw new Stop(`${name}: ${result.content[0].text}`);
  };

  const home = join(folder, 'remote', 'home');
  writeFileSync(join(home, 'deploy'), DEPLOY, { mode: 0o755 });
  writeFileSync(join(home, 'shop.conf'), 'port = 8080\ndebug = true\nworkers = 4\n');
  for (const name of ['web', 'db', 'build']) await call('ssh_connect', { host: 'demo', name });
  await call('ssh_edit', { session: 'web', path: 'shop.conf', oldText: 'debug = true', newText: 'debug = false' });
  const deploying = call('ssh_shell', { session: 'web', shell: 'deploy', command: './deploy shop' }).catch(() => {});

  const link = daemon.log.match(/ watch at (http:\S+)/)?.[1];
  await browser.open(link, SHOWN);
  await browser.evaluate("document.querySelector('#edits details').open = true; 0");
  await until(() => browser.evaluate("document.body.innerText.includes('Building 2/3')"));
  await browser.hideScrollbars();
  for (const colours of ['light', 'dark']) {
    await browser.show(WIDTH, HEIGHT, colours);
    const picture = join(pictures, `page-${colours}.png`);
    await browser.picture(picture);
    fact(`${picture}: ${Math.round(statSync(picture).size / 1000)} kB`, true);
  }

  agent.leave();
  await daemon.stop();
  await deploying;
}

async function until(condition) {
  for (let tries = 0; tries < 500; tries += 1, await sleep(20)) if (await condition()) return;
  throw new Stop('the page does not show what runs');
}
