// What a page of Markdown consists of, as far as the scripts need it.

/** A fenced block of code: its language, its text, and the line of the fence. */
const FENCE = /^( *)(`{3,}|~{3,})(\w*)[^\n]*\n(.*?)^\1\2 *$/gms;

/** @typedef {{ language: string, code: string, line: number }} Block */

/**
 * @param {string} text
 * @returns {Block[]}
 */
export function codeBlocks(text) {
  return [...text.matchAll(FENCE)].map(({ index, 1: indent, 3: language, 4: code }) => ({
    language,
    code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    line: text.slice(0, index).split('\n').length,
  }));
}

/** The page without blocks and pieces of code, and without comments; every line keeps its number. */
export function withoutCode(text) {
  const blank = (part) => part.replace(/[^\n]/g, ' ');
  return text.replaceAll(FENCE, blank).replaceAll(/<!--.*?-->/gs, blank).replaceAll(/(`+)(?!`).*?[^`]\1(?!`)/g, blank);
}

/**
 * Links and pictures, of Markdown and of HTML.
 *
 * @param {string} text
 * @returns {{ target: string, line: number }[]}
 */
export function linksIn(text) {
  const prose = withoutCode(text);
  const found = [/\]\(\s*<?([^)\s>]*)>?[^)]*\)/g, /\b(?:href|src|srcset)="([^"\s]*)[^"]*"/g].flatMap((form) => [
    ...prose.matchAll(form),
  ]);
  return found.map(({ index, 1: target }) => ({ target, line: prose.slice(0, index).split('\n').length }));
}

/**
 * The anchors of a page's headings, which GitHub and mdBook make alike: small letters, hyphens for spaces, no punctuation.
 *
 * @param {string} text
 * @returns {Set<string>}
 */
export function anchorsIn(text) {
  const seen = new Map();
  const headings = text.replaceAll(FENCE, '').matchAll(/^#{1,6} +(.*?) *#*$/gm);
  const anchors = [...headings].map(([, heading]) => {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/[`*]/g, '');
    const anchor = words
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-');
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    return times === 0 ? anchor : `${anchor}-${times}`;
  });
  return new Set(anchors);
}

/**
 * The page with other addresses for its links and pictures that lead to files.
 *
 * @param {string} text
 * @param {(target: string, isPicture: boolean) => string} address
 */
export function withAddresses(text, address) {
  const isLocal = (target) => !/^([a-z][a-z+.-]*:|#|$)/i.test(target);
  const change = (target, isPicture) => (isLocal(target) ? address(target, isPicture) : target);
  return text
    .replaceAll(/(!?)(\[[^\]]*\]\()([^)\s]*)/g, (_, mark, before, target) => mark + before + change(target, mark === '!'))
    .replaceAll(/\b(href|src|srcset)="([^"]*)"/g, (_, name, target) => `${name}="${change(target, name !== 'href')}"`);
}
