// The tables of parameters in the pages of the tools. The program's own list of tools decides which parameters there are
// and of which type; what a parameter means stands in the page.

import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { table } from '../../benches/lib/markdown.mjs';
import { Stop, root } from '../lib/repository.mjs';

const FOLDER = join(root, 'docs', 'tools');
const PLACE = /(?<=<!-- parameters: begin -->\n\n).*?(?=\n\n<!-- parameters: end -->)/s;

/**
 * Checks the tables, or writes them anew.
 *
 * @param {{ name: string, inputSchema: object }[]} tools what the program has
 * @param {boolean} write
 * @returns {string} what there was to check
 */
export function parameterTables(tools, write) {
  const pages = readdirSync(FOLDER).filter((page) => page !== 'README.md');
  const others = pages.filter((page) => !tools.some(({ name }) => page === `${name}.md`));
  if (others.length > 0) throw new Stop(`docs/tools has pages of no tool: ${others.join(', ')}`);

  for (const { name, inputSchema } of tools) {
    const path = join(FOLDER, `${name}.md`);
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const old = text.match(PLACE)?.[0];
    if (old === undefined) throw new Stop(`docs/tools/${name}.md has no place for its parameters`);
    const wanted = parameters(name, inputSchema, meanings(old));
    if (old === wanted) continue;
    if (!write) throw new Stop(`docs/tools/${name}.md: its parameters are not those of the program; run npm run manual`);
    writeFileSync(path, text.replace(PLACE, () => wanted));
  }
  return `${tools.length} tools, each with a page`;
}

function parameters(tool, { properties = {}, required = [] }, meaning) {
  const isOptional = ([name]) => !required.includes(name);
  const sorted = Object.entries(properties).sort((one, other) => isOptional(one) - isOptional(other));
  const rows = sorted.map(([name, schema]) => {
    if (!meaning.get(name)) throw new Stop(`docs/tools/${tool}.md does not say what ${name} means`);
    const type = [typeOf(schema), ...(isOptional([name]) ? [] : ['**required**'])].join(', ');
    return [`\`${name}\``, type, meaning.get(name)];
  });
  return table(['parameter', 'type', 'meaning'], rows, false);
}

/** What the table says of each parameter. */
function meanings(old) {
  const cells = old.split('\n').map((row) => row.split('|').map((cell) => cell.trim()));
  return new Map(cells.map(([, name, , meaning]) => [name?.replaceAll('`', ''), meaning]));
}

/** A JSON schema in a word. */
function typeOf({ type, items, enum: values, anyOf, oneOf }) {
  if (values) return values.filter((value) => value !== null).map((value) => `\`${value}\``).join(' or ');
  const variants = anyOf ?? oneOf;
  if (variants) return [...new Set(variants.filter((one) => one.type !== 'null').map(typeOf))].join(' or ');
  const types = [type].flat().filter((one) => one !== 'null');
  return types.map((one) => (one === 'array' ? `list of ${typeOf(items ?? {})}s` : (one ?? 'any'))).join(' or ');
}
