// `npm run manual`: the manual in docs/. Writes its generated parts, checks its links, and builds it with mdBook.
//
//   node scripts/manual.mjs            writes; builds the program first, which is asked for its tools
//   node scripts/manual.mjs --check    writes nothing in docs/; a part that is not up to date is a failure

import { parseArgs } from 'node:util';
import { charts } from '../benches/charts.mjs';
import { comparison } from '../benches/comparison.mjs';
import { buildForDevelopment } from './lib/cargo.mjs';
import { fail } from './lib/repository.mjs';
import { toolsOf } from './lib/tools.mjs';
import { buildBook } from './manual/book.mjs';
import { checkCalls } from './manual/calls.mjs';
import { checkErrorTexts } from './manual/errors.mjs';
import { checkLinks } from './manual/links.mjs';
import { parameterTables } from './manual/parameters.mjs';

try {
  const { check } = parseArgs({ options: { check: { type: 'boolean', default: false } } }).values;
  const tools = await toolsOf(buildForDevelopment().program);
  for (const [title, step] of [
    ['parameters', () => parameterTables(tools, !check)],
    ['calls', () => checkCalls(tools)],
    ['charts', () => charts(!check)],
    ["the README's comparison", () => comparison(!check)],
    ['error texts', checkErrorTexts],
    ['links', checkLinks],
    ['book', buildBook],
  ]) {
    console.log(`  ✓ ${title}: ${await step()}`);
  }
} catch (error) {
  fail('manual', error);
}
