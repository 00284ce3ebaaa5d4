// What several tasks check.

import { readdirSync } from 'node:fs';
import { join, relative } from 'node:path';

/** Says which words are not in the results. */
export function lacks(results, ...words) {
  const missing = words.filter((word) => !results.includes(word));
  return missing.length > 0 ? `no answer with ${missing.join(', ')}` : undefined;
}

/** Says whether the end of a program was seen. */
export function ended(results, last) {
  return results.includes(last) ? undefined : 'the end was not seen';
}

/** The paths of all files below a folder, in order. */
export function filesIn(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return entries.map(({ parentPath, path, name }) => relative(folder, join(parentPath ?? path, name))).sort();
}
