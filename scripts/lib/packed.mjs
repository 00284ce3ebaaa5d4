// The README in packages, which have no other file of the repository.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withAddresses } from './markdown.mjs';
import { root } from './repository.mjs';

/**
 * README.md with addresses of the repository's web page in place of paths, for the version that is packed. npm itself does
 * so for some links, but not for the `srcset` of pictures.
 *
 * @param {{ repository: string, version: string }} package what Cargo.toml says
 */
export function packedReadme({ repository, version }) {
  const raw = repository.replace('https://github.com/', 'https://raw.githubusercontent.com/');
  const address = (path, isPicture) => (isPicture ? `${raw}/v${version}/${path}` : `${repository}/blob/v${version}/${path}`);
  return withAddresses(readFileSync(join(root, 'README.md'), 'utf8'), address);
}
