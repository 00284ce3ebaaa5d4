// Whether the program has the messages that the page on troubleshooting explains.

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Stop, root } from '../lib/repository.mjs';

/** Shorter pieces of a message are everywhere. */
const LONG_ENOUGH = 8;

/** Checks each message of the tables' first column; returns how many there are. */
export function checkErrorTexts() {
  const page = readFileSync(join(root, 'docs', 'troubleshooting.md'), 'utf8');
  const source = sourcesBelow(join(root, 'src'))
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n')
    // As the compiler joins a text of several lines.
    .replaceAll(/\\\n\s*/g, '');
  const messages = page
    .split('\n')
    .filter((line) => /^\| .*[`"]/.test(line))
    .flatMap((line) => [...line.split(' | ')[0].matchAll(/(`+) ?(.*?) ?\1(?!`)/g)].map(([, , message]) => message));
  const unknown = messages.filter((message) => !pieces(message).every((piece) => source.includes(piece)));
  if (unknown.length > 0) throw new Stop(`docs/troubleshooting.md has messages that the program has not: ${unknown.join('; ')}`);
  return `${messages.length} messages`;
}

/** What a message says whatever names and numbers are in it. */
function pieces(message) {
  return message
    .split(/…|\(process|\[?[\w.:]+\]?:\d+|[()]/)
    .map((piece) => piece.trim().replace(/:$/, ''))
    .filter((piece) => piece.length >= LONG_ENOUGH);
}

function sourcesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourcesBelow(path);
    return path.endsWith('.rs') ? [path] : [];
  });
}
