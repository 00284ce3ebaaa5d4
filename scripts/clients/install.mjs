// Installs a client from the npm registry that this machine uses, with the settings of its user.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../npm/peer.mjs';
import { fact } from '../demo/screen.mjs';
import { lastWords, runNpm } from '../lib/installed.mjs';

/** @typedef {{ bin: string, version: string, command: string, args: string[] }} Client `args` come before its own */

/**
 * Installs what a plain `npm install` chooses, which heeds the package's `engines`, and the newest version if that is
 * another: people have either.
 *
 * @param {string} packageName
 * @param {string} bin the command's name
 * @param {import('./stage.mjs').Stage} stage
 * @returns {Promise<{ versions: Client[], problems: string[] }>} a problem for each that cannot be had or run here
 */
export async function install(packageName, bin, stage) {
  const attempts = [await installOne(packageName, bin, stage, stage.path('clients', bin))];
  const { stdout } = await runNpm(['view', packageName, 'version'], process.cwd());
  const newest = stdout.trim();
  if (newest && attempts[0].client && attempts[0].client.version !== newest) {
    attempts.push(await installOne(`${packageName}@${newest}`, bin, stage, stage.path('clients', `${bin}-newest`)));
  }
  return {
    versions: attempts.flatMap(({ client }) => client ?? []),
    problems: attempts.flatMap(({ problem }) => problem ?? []),
  };
}

async function installOne(spec, bin, stage, folder) {
  const packageName = spec.replace(/(?<=.)@.*$/, '');
  mkdirSync(folder, { recursive: true });
  // Claude Code puts its program in place by an install script; npm 12 runs those that are named here.
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts: { [packageName]: true } }));
  console.log(`    $ npm install ${spec}`);
  const ended = await runNpm(['install', '--prefix', folder, '--no-audit', '--no-fund', spec], folder);
  if (ended.status !== 0) return { problem: `npm install ${spec} failed: ${lastWords(ended)}` };
  const installed = join(folder, 'node_modules', ...packageName.split('/'));
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  const file = join(installed, typeof manifest.bin === 'string' ? manifest.bin : manifest.bin[bin]);
  const start = /\.[cm]?js$/.test(file) ? { command: process.execPath, args: [file] } : { command: file, args: [] };
  const client = { bin, version: manifest.version, ...start };
  const { env } = stage.newHome();
  const version = run({ ...start, args: [...start.args, '--version'] }, { env });
  const own = await version.catch(({ message }) => ({ message }));
  if (own.status !== 0) {
    return { problem: `${spec} ${manifest.version} does not run here: ${own.message ?? lastWords(own)}` };
  }
  fact(`${bin} --version: ${own.stdout.trim()}`, own.stdout.includes(manifest.version), own.stdout);
  return { client };
}
