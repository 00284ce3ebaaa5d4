// `npm run build`: the release binary.

import { statSync } from 'node:fs';
import { build, needCargo } from './lib/cargo.mjs';
import { fail } from './lib/repository.mjs';

try {
  needCargo();
  const program = build(['--release', '--bin', 'mcp-ssh-sessions']).get('mcp-ssh-sessions');
  console.log(`${program}  ${(statSync(program).size / 1e6).toFixed(1)} MB`);
} catch (error) {
  fail('build', error);
}
