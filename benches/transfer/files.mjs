// What is transferred, and whether it has arrived.

import { createHash, randomFillSync } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync, readdirSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';

/** @typedef {{ path: string, name: string, files: number, bytes: number, hash: string }} Source */

const CHUNK = 4 * 2 ** 20;
const DIRECTORIES = 100;
const SMALL_FILE = 1024;

/**
 * Makes a file, a tree of small files in a hundred directories, one such directory, and one with a single file, all of
 * random bytes. What reads them later finds them in memory.
 *
 * @param {string} folder new
 * @param {{ mib: number, files: number }} sizes
 * @returns {Record<'file' | 'tree' | 'part' | 'one', Source>}
 */
export function makeSources(folder, { mib, files }) {
  mkdirSync(folder);
  const path = (name) => join(folder, name);
  const each = files / DIRECTORIES;
  makeFile(path('file'), mib * 2 ** 20);
  mkdirSync(path('tree'));
  for (let number = 0; number < DIRECTORIES; number++) makeDirectory(join(path('tree'), `directory-${number}`), each);
  makeDirectory(path('part'), each);
  makeDirectory(path('one'), 1);
  return Object.fromEntries(['file', 'tree', 'part', 'one'].map((name) => [name, source(path(name))]));
}

/**
 * Whether a copy is what was sent: the same names, sizes and contents.
 *
 * @param {Source} sent
 * @param {string} folder what it was sent into
 */
export function arrived(sent, folder) {
  if (readdirSync(folder).join() !== sent.name) return false;
  return source(join(folder, sent.name)).hash === sent.hash;
}

function makeFile(path, bytes) {
  const file = openSync(path, 'wx');
  const chunk = Buffer.alloc(CHUNK);
  for (let left = bytes; left > 0; left -= CHUNK) writeSync(file, randomFillSync(chunk), 0, Math.min(left, CHUNK));
  closeSync(file);
}

function makeDirectory(path, files) {
  mkdirSync(path);
  for (let number = 0; number < files; number++) {
    writeFileSync(join(path, `file-${number}`), randomFillSync(Buffer.alloc(SMALL_FILE)));
  }
}

/** Reads all of it. */
function source(path) {
  const all = createHash('sha256');
  const total = { files: 0, bytes: 0 };
  const chunk = Buffer.alloc(CHUNK);
  const take = (path, name) => {
    const stats = statSync(path);
    if (stats.isDirectory()) {
      for (const entry of readdirSync(path).sort()) take(join(path, entry), `${name}/${entry}`);
      return;
    }
    all.update(`${name}\0${stats.size}\0`);
    const file = openSync(path, 'r');
    for (let read; (read = readSync(file, chunk)) > 0;) all.update(chunk.subarray(0, read));
    closeSync(file);
    total.files += 1;
    total.bytes += stats.size;
  };
  const name = basename(path);
  take(path, name);
  return { path, name, ...total, hash: all.digest('hex') };
}
