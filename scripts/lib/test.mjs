// The tests, and a second look at those that fail beside hundreds of others on a busy machine.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Stop, root } from './repository.mjs';

/** Of about 700 tests, more than so many at once are not an accident. */
const MOST = 6;

/**
 * Runs all tests. The few that fail are run once more, by themselves: who fails again has failed, the others are named.
 *
 * @returns {Promise<string | undefined>} what is to be said of tests that passed at the second look only
 */
export async function test() {
  const { status, failed, crashed } = await cargoTest('--no-fail-fast');
  if (status === 0) return undefined;
  if (crashed || failed.length === 0 || failed.length > MOST) throw new Stop('tests have failed; their own messages are above');
  const again = await cargoTest('--', '--exact', ...failed);
  if (again.status !== 0) throw new Stop(`failed twice: ${again.failed.join(', ')}; the messages are above`);
  return `unsteady, look into it: ${failed.join(', ')}`;
}

/**
 * @returns {Promise<{ status: number, failed: string[], crashed: boolean }>} cargo's exit status, the names of the tests
 * that failed, and whether a program of tests began and did not say how it ended
 */
async function cargoTest(...args) {
  const all = ['test', '--locked', ...args];
  console.log(`$ cargo ${all.join(' ')}`);
  // No standard input: nothing here may wait for a person.
  const cargo = spawn('cargo', all, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(cargo, 'close');
  const failed = [];
  let running = 0;
  for await (const line of createInterface({ input: cargo.stdout })) {
    console.log(line);
    const name = /^test (\S+) \.\.\. FAILED$/.exec(line)?.[1];
    if (name) failed.push(name);
    if (/^running \d+ tests?$/.test(line)) running++;
    if (line.startsWith('test result: ')) running--;
  }
  const [status] = await closed;
  return { status: status ?? 1, failed, crashed: running > 0 };
}
