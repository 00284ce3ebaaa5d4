// A preprocessor of mdBook. Links from the manual to files of the repository lead to its web page, since the book does not
// have those files. Links to a README.md lead to the index.html that mdBook makes of it. https://rust-lang.github.io/mdBook/for_developers/preprocessors.html

import { posix } from 'node:path';
import { text } from 'node:stream/consumers';
import { withAddresses } from '../lib/markdown.mjs';

// `supports RENDERER`: every one of them.
if (process.argv[2] === 'supports') process.exit(0);

const [context, book] = JSON.parse(await text(process.stdin));
const repository = context.config.output.html['git-repository-url'];

for (const item of book.items ?? book.sections) change(item.Chapter);
process.stdout.write(JSON.stringify(book));

function change(chapter) {
  if (!chapter) return;
  const folder = posix.dirname(posix.join('docs', chapter.path ?? ''));
  chapter.content = withAddresses(chapter.content, (target) => {
    const path = posix.join(folder, target);
    return path.startsWith('docs/') ? target.replace(/\bREADME\.md/, 'index.md') : `${repository}/blob/main/${path}`;
  });
  for (const item of chapter.sub_items) change(item.Chapter);
}
