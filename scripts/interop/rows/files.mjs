// Rows about files: a file, an edit of one, a tree, 50 MB. Each is compared byte by byte, on the host and after the way back.

import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mark } from '../speech.mjs';
import { isThere } from '../stage.mjs';

const LARGE = 50_000_000;

const file = { name: 'file', ...thereAndBack((path) => writeFileSync(path, randomBytes(100_000), { mode: 0o640 })) };
const large = { name: '50 MB', ...thereAndBack((path) => writeFileSync(path, randomBytes(LARGE))) };
const tree = { name: 'tree', ...thereAndBack(makeTree, ['-r']) };

const edit = {
  name: 'edit',
  async ours({ ours, folder, local }) {
    const name = `edited-${mark()}.conf`;
    const path = `${folder}/${name}`;
    const begun = await ours.call('ssh_edit', { path, content: 'port = 8080\ndebug = true\n' });
    if (begun.isError) return begun;
    const shown = await ours.call('ssh_read', { path });
    if (shown.isError) return shown;
    const answer = await ours.call('ssh_edit', { path, oldText: 'debug = true', newText: 'debug = false' });
    if (answer.isError) return answer;
    const there = readFileSync(join(local, name), 'utf8');
    const right = /2\s+debug = true/.test(shown.text) && there === 'port = 8080\ndebug = false\n';
    return { ...answer, right, text: `${shown.text}\n${answer.text}\non the host: ${there}` };
  },
  plain: (host) => file.plain(host),
};

export const files = [file, edit, tree, large];

/** A row that makes something here, sends it, looks at it there, and fetches it under another name. */
function thereAndBack(make, flags = []) {
  return {
    async ours({ ours, stage, folder, local }) {
      const { name, from, back } = made(make, stage);
      const sent = await ours.call('ssh_upload', { localPath: from, remotePath: `${folder}/${name}` });
      if (sent.isError) return sent;
      const there = difference(from, join(local, name));
      if (there) return { right: false, text: `on the host: ${there}\n${sent.text}` };
      const fetched = await ours.call('ssh_download', { remotePath: `${folder}/${name}`, localPath: back });
      if (fetched.isError) return fetched;
      const here = difference(from, back);
      return { ...fetched, right: !here, text: `${here && `on the way back: ${here}`}\n${sent.text}\n${fetched.text}` };
    },
    async plain({ plain, stage, folder, local }) {
      const { name, from, back } = made(make, stage);
      const r = flags.length > 0 ? '-R ' : '';
      const remote = `${folder}/${name}`;
      // Into the folder: some servers know no real path of what is not there yet.
      // The content counts, not the status: some servers leave sftp waiting for their end.
      const sftp = await plain.sftp([`put ${r}${from} ${folder}`, `get ${r}${remote} ${back}`]);
      if (contentIs(from, join(local, name), back)) return { works: true, words: '' };
      const scp = await plain.scp(from, `${stage.name}:${remote}`, flags);
      if (scp.status === 0 && contentIs(from, join(local, name))) return { works: true, words: '' };
      const piped = await pipe(plain, from, remote);
      if (piped.status === 0 && contentIs(from, join(local, name))) return { works: true, words: '' };
      return { works: false, words: `${sftp.words}\n${scp.words}\n${piped.words}` };
    },
  };
}

/** What remains without SFTP and scp: `cat`, and `tar` for a tree. */
function pipe(plain, from, remote) {
  if (lstatSync(from).isFile()) return plain.ssh([`cat > ${remote}`], { input: readFileSync(from) });
  const input = execFileSync('tar', ['-C', from, '-c', '.'], { maxBuffer: 1 << 28 });
  return plain.ssh([`mkdir ${remote} && tar -C ${remote} -x`], { input });
}

function made(make, stage) {
  const name = `thing-${mark()}`;
  const from = stage.file(name);
  make(from);
  return { name, from, back: stage.file(`${name}-back`) };
}

function makeTree(path) {
  for (const folder of ['', 'sub', 'sub/deep', 'empty', 'with blanks é']) mkdirSync(join(path, folder));
  for (let number = 0; number < 20; number++) writeFileSync(join(path, 'sub', `file-${number}`), randomBytes(number * 100));
  writeFileSync(join(path, 'with blanks é', "it's €.txt"), 'text\n');
  writeFileSync(join(path, 'run'), '#!/bin/sh\n');
  chmodSync(join(path, 'run'), 0o755);
  symlinkSync('sub/file-1', join(path, 'link'));
}

/** Whether they are the same as far as plain copies keep it: the content of the files. */
function contentIs(from, ...others) {
  const content = (path) => entries(path).filter(([, what]) => what.startsWith('file')).join('\n');
  return others.every((other) => isThere(other) && content(other) === content(from));
}

/** In words, where two files or trees differ; empty if they do not. */
function difference(from, to) {
  if (!isThere(to)) return 'nothing is there';
  const [wanted, found] = [from, to].map((path) => new Map(entries(path)));
  for (const [name, what] of wanted) {
    const there = found.get(name);
    // Some servers make the target of a link absolute.
    const sameLink = what.startsWith('link to ') && there?.endsWith(`/${what.slice('link to '.length)}`);
    if (there !== what && !sameLink) return `${name || 'it'} is ${there}, not ${what}`;
  }
  const more = [...found.keys()].filter((name) => !wanted.has(name));
  return more.length > 0 ? `more is there: ${more.join(', ')}` : '';
}

/** Every entry at and below a path, with what it is. */
function entries(path, name = '') {
  const status = lstatSync(path);
  if (status.isSymbolicLink()) return [[name, `link to ${readlinkSync(path)}`]];
  if (status.isFile()) {
    const digest = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16);
    return [[name, `file ${status.size} ${digest}`]];
  }
  const inside = readdirSync(path).sort();
  return [[name, 'folder'], ...inside.flatMap((one) => entries(join(path, one), join(name, one)))];
}
