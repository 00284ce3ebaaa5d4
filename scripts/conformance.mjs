// `npm run conformance`: the official conformance suite against the daemon, for the revisions of MCP that it knows.
// Needs the npm registry the first time, and keeps what it installs in target/.
//
//   node scripts/conformance.mjs                  builds the release program first
//   node scripts/conformance.mjs --binary PATH    takes that program

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { run } from '../npm/peer.mjs';
import { build, needCargo } from './lib/cargo.mjs';
import { Daemon, privateEnv } from './lib/daemon.mjs';
import { installed, newNode } from './lib/installed.mjs';
import { Stop, fail, root } from './lib/repository.mjs';

const NAME = 'mcp-ssh-sessions';
const SUITE = '@modelcontextprotocol/conformance';
const VERSION = '0.2.0-alpha.12';
const REVISIONS = ['2025-11-25', '2026-07-28'];

/** Both take three seconds. */
const PATIENCE_MS = 300_000;

const scratch = mkdtempSync(join(tmpdir(), `${NAME}-conformance-`));
let daemon;

process.on('exit', () => {
  daemon?.kill();
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

try {
  const { values } = parseArgs({ options: { binary: { type: 'string' } } });
  const node = await newNode();
  const suite = join(await installed('conformance', { [SUITE]: VERSION }), 'node_modules', SUITE, 'dist', 'index.js');
  const binary = values.binary ? resolve(values.binary) : built();
  daemon = await Daemon.start(binary, privateEnv(join(scratch, 'home')));
  const failed = [];
  for (const revision of REVISIONS) {
    if (!(await conforms(node, suite, revision))) failed.push(revision);
  }
  const { code } = await daemon.stop();
  if (failed.length > 0) throw new Stop(`not as expected, see above: ${failed.join(', ')}`);
  if (code !== 0) throw new Stop(`the daemon has ended with status ${code}: ${daemon.log}`);
  console.log(`\n${SUITE} ${VERSION}: all as expected`);
} catch (error) {
  fail('conformance', error);
}

function built() {
  needCargo();
  return build(['--release', '--bin', NAME]).get(NAME);
}

/** Runs all scenarios of a revision, those too that the suite does not count, and shows how they ended. */
async function conforms(node, suite, revision) {
  const expected = join(root, 'scripts', 'conformance', `expected-${revision}.yml`);
  const args = ['server', '--url', daemon.url, '--suite', 'all', '--spec-version', revision];
  const command = { command: node, args: [suite, ...args, '--expected-failures', expected] };
  const ended = await run(command, { cwd: scratch, timeout: PATIENCE_MS, env: { ...process.env, NO_COLOR: '1' } });
  const summary = ended.stdout.split('=== SUMMARY ===')[1]?.replace(/\x1b\[\d*m/g, '').trim();
  if (!summary) throw new Stop(`the suite does not run: ${(ended.stderr + ended.stdout).slice(-2000)}`);
  console.log(`\n── ${revision}\n${readable(summary)}`);
  return ended.status === 0;
}

/** The suite marks a scenario with an expected failure like one with another. */
function readable(summary) {
  const unexpected = new Set([...summary.matchAll(/^  ✗ ([^:\s]+)/gm)].map(([, scenario]) => scenario));
  return summary
    .replace(/^✗ ([^:]+): (.*)$/gm, (line, scenario, counts) =>
      unexpected.has(scenario) ? line : `~ ${scenario}: ${counts}, as expected`,
    )
    .replace(/^Expected failures .*\n(  ~ .*\n)*\n/m, '');
}
