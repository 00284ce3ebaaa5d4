// Whether the links within the repository's pages lead somewhere: files and anchors. Addresses of the web are not asked.

import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { Stop, root } from '../lib/repository.mjs';
import { anchorsIn, linksIn } from '../lib/markdown.mjs';

const MANUAL = join(root, 'docs');

/** Checks all pages; returns what there was to check. */
export function checkLinks() {
  const pages = allPages();
  const links = pages.flatMap((page) => linksIn(readFileSync(page, 'utf8')).map((link) => ({ page, ...link })));
  const local = links.filter(({ target }) => !/^[a-z][a-z+.-]*:/i.test(target));
  const broken = local.flatMap((link) => {
    const problem = problemOf(link);
    return problem ? [`${relative(root, link.page)}:${link.line}: ${link.target || 'an empty link'} ${problem}`] : [];
  });
  if (broken.length > 0) throw new Stop(`links that lead nowhere:\n${broken.join('\n')}`);
  return `${local.length} in ${pages.length} pages${checkSummary()}`;
}

/** The paths of all pages of the repository that people read. */
export function allPages() {
  return [...pagesIn(root), ...pagesBelow(MANUAL)];
}

/** Every page of the manual has to be in its table of contents. */
function checkSummary() {
  const summary = join(MANUAL, 'SUMMARY.md');
  const listed = new Set(linksIn(readFileSync(summary, 'utf8')).map(({ target }) => join(MANUAL, target)));
  const missing = pagesBelow(MANUAL).filter((page) => page !== summary && !listed.has(page));
  if (missing.length > 0) {
    throw new Stop(`docs/SUMMARY.md does not list ${missing.map((page) => relative(MANUAL, page)).join(', ')}`);
  }
  return `, ${listed.size} of them in the manual`;
}

function problemOf({ page, target }) {
  // A chapter that is still to be written.
  if (target === '') return page.endsWith('SUMMARY.md') ? undefined : 'has no target';
  const [path, anchor] = target.split('#');
  const file = path === '' ? page : join(dirname(page), decodeURIComponent(path));
  if (!existsSync(file)) return 'does not exist';
  if (anchor === undefined) return undefined;
  if (statSync(file).isDirectory()) return 'is a folder, which has no anchors';
  return anchorsIn(readFileSync(file, 'utf8')).has(anchor) ? undefined : 'has no such heading';
}

function pagesIn(folder) {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
}

function pagesBelow(folder) {
  const folders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...pagesIn(folder), ...folders.flatMap(({ name }) => pagesBelow(join(folder, name)))];
}
