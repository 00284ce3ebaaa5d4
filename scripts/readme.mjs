// `node scripts/readme.mjs`: what README.md says, done. Runs its examples against the demo's SSH server, starts the program
// as its configurations say, and looks at its size and its sentences.
//
//   node scripts/readme.mjs                 builds the program and the demo's SSH server first
//   node scripts/readme.mjs --binary PATH   takes that program
//   node scripts/readme.mjs --sshd PATH     takes that `demo-sshd`

import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildForDevelopment } from './lib/cargo.mjs';
import { codeBlocks } from './lib/markdown.mjs';
import { fail, root } from './lib/repository.mjs';
import { scratchFolder } from './lib/scratch.mjs';
import { commands } from './readme/commands.mjs';
import { configurations } from './readme/configurations.mjs';
import { examples } from './readme/examples.mjs';
import { prose } from './readme/prose.mjs';

try {
  const path = { type: 'string' };
  const { values } = parseArgs({ options: { binary: path, sshd: path } });
  const built = values.binary && values.sshd ? {} : buildForDevelopment();
  const programs = {
    program: values.binary ? resolve(values.binary) : built.program,
    sshd: values.sshd ? resolve(values.sshd) : built.sshd,
  };
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const blocks = codeBlocks(text);
  const folder = scratchFolder('readme');
  for (const [title, step] of [
    ['prose', () => prose(text)],
    ['commands', () => commands(blocks, programs.program, folder)],
    ['configurations', () => configurations(text, blocks, programs.program)],
    ['examples', () => examples(blocks, programs, folder)],
  ]) {
    console.log(`  ✓ ${title}: ${await step()}`);
  }
} catch (error) {
  fail('readme', error);
}
