// How to start the programs that come with Node.

import { join, dirname } from 'node:path';

export function npm(...args) {
  return ofNode('npm', args);
}

export function npx(...args) {
  return ofNode('npx', args);
}

/** On Windows npm is a batch file, which only a shell runs, with its quoting; the script behind it needs none. */
function ofNode(name, args) {
  if (process.platform !== 'win32') return { command: name, args };
  const script = join(dirname(process.execPath), 'node_modules', 'npm', 'bin', `${name}-cli.js`);
  return { command: process.execPath, args: [script, ...args] };
}
