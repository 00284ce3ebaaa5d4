// `node benches/comparison.mjs`: writes the README's comparison from the tables in docs/benchmarks.md; it measures nothing.
//
//   node benches/comparison.mjs --check    writes nothing; a comparison that is not that of the tables is a failure

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Stop, fail, root } from '../scripts/lib/repository.mjs';
import { table } from './lib/markdown.mjs';
import { OURS, answers, published, shares, times } from './lib/results.mjs';

const PLACE = /(?<=<!-- comparison: begin -->\n).*?(?=<!-- comparison: end -->)/s;
const SINGLE = [OURS, 'ssh', 'ControlMaster'];

/** The questions that the README shows, in its words. */
const QUESTIONS = {
  'directory and variables kept': 'directory and variables stay',
  'killed after a timeout': 'a time limit ends the remote process',
  'killed after a cancel': 'so does a cancelled call',
  'the link is lost: the next call works': 'the link is lost, and the next call works',
  'an unknown host key is not trusted in silence': 'an unknown host key is not trusted in silence',
  'a changed host key is refused': 'a changed host key is refused',
};

/**
 * Writes the comparison, or checks that it is that of the tables.
 *
 * @param {boolean} write
 * @returns {string} what is compared
 */
export function comparison(write) {
  const path = join(root, 'README.md');
  const text = readFileSync(path, 'utf8');
  if (!PLACE.test(text)) throw new Stop('README.md has no place for its comparison');
  const page = published();
  const wanted = `\n${tableOf(page)}\n\n`;
  if (text.match(PLACE)[0] !== wanted) {
    if (!write) throw new Stop('the comparison in README.md is not that of docs/benchmarks.md; run npm run manual');
    writeFileSync(path, text.replace(PLACE, () => wanted));
  }
  return `${SINGLE.length - 1} and ${others(times(page, '### 40 ms')).length} others`;
}

function tableOf(page) {
  const rights = shares(page);
  const commands = times(page, '### 40 ms');
  const questions = answers(page).filter(({ name }) => name in QUESTIONS);
  const missing = Object.keys(QUESTIONS).filter((wanted) => !questions.some(({ name }) => name === wanted));
  if (missing.length > 0) throw new Stop(`docs/benchmarks.md does not ask: ${missing.join('; ')}`);

  const head = ['', 'this server', '`ssh`', 'ControlMaster', `${others(rights).length} other MCP servers`];
  const single = (results) => SINGLE.map((wanted) => results.find(({ name }) => name === wanted).text);
  return table(
    head,
    [
      ['right answers of the bench', ...single(rights), range(rights)],
      ['one command, round trip 40 ms', ...single(commands), range(commands)],
      ...questions.map(({ name, cells }) => {
        const rest = [...cells].filter(([program]) => !SINGLE.includes(program)).map(([, mark]) => mark);
        const right = rest.filter((mark) => mark === '✓').length;
        return [QUESTIONS[name], ...SINGLE.map((program) => cells.get(program)), `${right} of ${rest.length}`];
      }),
    ],
    false,
  );
}

/** From the least to the most of the other servers. */
function range(results) {
  const sorted = others(results).sort((one, other) => one.value - other.value);
  return `${sorted[0].text.match(/[\d.]+/)[0]} to ${sorted.at(-1).text}`;
}

function others(results) {
  return results.filter(({ name }) => !SINGLE.includes(name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(comparison(!process.argv.includes('--check')));
  } catch (error) {
    fail('comparison', error);
  }
}
