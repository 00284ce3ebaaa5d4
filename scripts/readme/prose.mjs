// The README is short: people look before they read.

import { Stop } from '../lib/repository.mjs';
import { withoutCode } from '../lib/markdown.mjs';

const MOST_BYTES = 8_000;
const MOST_WORDS = 16;

/** Checks the size of a page and the average length of its sentences. */
export function prose(text) {
  const bytes = Buffer.byteLength(text);
  if (bytes > MOST_BYTES) throw new Stop(`README.md has ${bytes} bytes, and should have ${MOST_BYTES} at most`);
  const lengths = sentences(text).map((sentence) => sentence.split(/\s+/).length);
  const average = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  if (average > MOST_WORDS) {
    throw new Stop(`the sentences of README.md have ${average.toFixed(1)} words, and should have ${MOST_WORDS} at most`);
  }
  return `${bytes} bytes, ${lengths.length} sentences of ${average.toFixed(1)} words`;
}

/** Those of paragraphs and lists; headings, tables and pictures have none. A piece of code counts as a word. */
function sentences(text) {
  const words = text.replaceAll(/(?<!`)`[^`\n]+`(?!`)/g, 'code');
  return withoutCode(words)
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .split(/\n\s*\n|\n(?=- )/)
    .filter((part) => part.trim() && !/^\s*[#|]/.test(part))
    .flatMap((part) => part.split(/[.?!]\*{0,2}"?\*?(?:\s|$)/))
    .map((sentence) => sentence.replace(/^\s*- /, '').trim())
    .filter((sentence) => /\w/.test(sentence));
}
