// Tokens of a model, as o200k counts them.

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { installed } from '../../scripts/lib/installed.mjs';

const VERSION = '4.0.0';

/** @returns {Promise<(text: string) => number>} counts the tokens of a text */
export async function tokenizer() {
  const folder = await installed('gpt-tokenizer', { 'gpt-tokenizer': VERSION });
  const module = join(folder, 'node_modules', 'gpt-tokenizer', 'esm', 'encoding', 'o200k_base.js');
  const { countTokens } = await import(pathToFileURL(module).href);

  // A text of a server may contain a word that is special to a model.
  return (text) => countTokens(text, { disallowedSpecial: new Set() });
}
