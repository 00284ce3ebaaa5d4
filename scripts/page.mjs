// `npm run page`: a person with a real browser (Chromium) types secrets into the page that the program shows, while an
// MCP client waits for its call; then watches, and stops, what agents do with a daemon.
//
//   node scripts/page.mjs                   builds the program and the demo's SSH server first
//   node scripts/page.mjs --binary PATH     takes that program
//   node scripts/page.mjs --sshd PATH       takes that `demo-sshd`
//   node scripts/page.mjs --browser PATH    takes that browser of the Chromium family
//   node scripts/page.mjs --pictures FOLDER keeps pictures of the pages there
//   node scripts/page.mjs --portrait FOLDER only takes the README's pictures, docs/pictures/page-{light,dark}.png

import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { survivors, tree } from '../npm/processes.mjs';
import { epilogue, fact } from './demo/screen.mjs';
import { buildForDevelopment, needCargo } from './lib/cargo.mjs';
import { startDemoSshd } from './lib/daemon.mjs';
import { needProgram } from './lib/programs.mjs';
import { fail, seconds } from './lib/repository.mjs';
import { scratchFolder } from './lib/scratch.mjs';
import { Browser } from './page/browser.mjs';
import { portrait } from './page/portrait.mjs';
import { secrets } from './page/secrets.mjs';
import { watch } from './page/watch.mjs';

const SIZES = { desktop: [1280, 800], phone: [390, 844], dark: [1280, 800, 'dark'] };

/** What is left when all has been closed gets this long to end. */
const PATIENCE_MS = 5_000;

const start = Date.now();
const scratch = scratchFolder('page');

try {
  const path = { type: 'string' };
  const { values } = parseArgs({ options: { binary: path, sshd: path, browser: path, pictures: path, portrait: path } });
  needProgram('ssh', 'openssh-client');
  const elsewhere = 'elsewhere name one with --browser PATH';
  const browserProgram = values.browser ?? needProgram('chromium', 'chromium', elsewhere);
  const built = values.binary && values.sshd ? {} : builtHere();
  const binary = values.binary ? resolve(values.binary) : built.program;
  const sshdProgram = values.sshd ? resolve(values.sshd) : built.sshd;
  if (values.pictures) mkdirSync(values.pictures, { recursive: true });

  const sshd = await startDemoSshd(sshdProgram, join(scratch, 'remote'));
  const browser = await Browser.start(browserProgram, join(scratch, 'browser'));
  const pictures = async (name) => {
    for (const [size, view] of Object.entries(SIZES)) {
      await browser.show(...view);
      if (values.pictures) await browser.picture(join(values.pictures, `page-${name}-${size}.png`));
      const overflows = await browser.evaluate('document.documentElement.scrollWidth > innerWidth');
      fact(`${name}, ${size}: nothing is wider than the window`, !overflows);
    }
    await browser.show(...SIZES.desktop);
  };

  const scene = { binary, sshd, browser, pictures, folder: scratch };
  if (values.portrait) {
    await portrait({ ...scene, pictures: values.portrait });
  } else {
    await secrets(scene);
    await watch(scene);
  }
  await browser.close();
  sshd.child.stdin.end();
  const left = await survivors(tree(process.pid).slice(1), PATIENCE_MS);
  epilogue(seconds(Date.now() - start), left.map(({ pid, command }) => `process ${pid} (${command})`));
} catch (error) {
  fail('page', error);
}

function builtHere() {
  needCargo();
  return buildForDevelopment();
}
