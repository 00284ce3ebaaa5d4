// Whether the calls that the pages show have parameters that the tools have.

import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { Stop, root } from '../lib/repository.mjs';
import { allPages } from './links.mjs';

/** `ssh_exec(command: "…", waitMs: 5)`, over several lines too. */
const CALL = /\b(ssh_\w+)\(((?:"(?:[^"\\]|\\.)*"|[^()"`])*)\)/g;
const STRING = /"(?:[^"\\]|\\.)*"/g;

/**
 * Checks all pages; returns what there was to check.
 *
 * @param {{ name: string, inputSchema: object }[]} tools what the program has
 */
export function checkCalls(tools) {
  const schemas = new Map(tools.map(({ name, inputSchema }) => [name, inputSchema]));
  const calls = allPages().flatMap((page) => [...readFileSync(page, 'utf8').matchAll(CALL)].map((call) => ({ page, call })));
  const wrong = calls.flatMap(({ page, call: [text, tool, given] }) => {
    const { properties = {}, required = [] } = schemas.get(tool) ?? {};
    const names = [...given.replaceAll(STRING, '""').matchAll(/(\w+):/g)].map(([, name]) => name);
    // Prose names a call without parameters too.
    const missing = names.length > 0 ? required.filter((name) => !names.includes(name)) : [];
    const problems = [
      ...(schemas.has(tool) ? [] : ['there is no such tool']),
      ...names.filter((name) => !(name in properties)).map((name) => `it has no ${name}`),
      ...missing.map((name) => `it needs ${name}`),
    ];
    return problems.map((problem) => `${relative(root, page)}: ${text}: ${problem}`);
  });
  if (wrong.length > 0) throw new Stop(`calls that are not possible:\n${wrong.join('\n')}`);
  return `${calls.length} calls in the pages`;
}
