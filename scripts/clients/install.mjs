// Installs a client from the npm registry that this machine uses, with the settings of its user.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { npm } from '../../npm/clients.mjs';
import { run } from '../../npm/peer.mjs';
import { fact } from '../demo/screen.mjs';

/** A slow connection and 250 MB. */
const PATIENCE_MS = 900_000;

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

async function runNpm(args, cwd) {
  // Under `npm run` there is more than settings.
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^npm_(?!config_)/i.test(key)));
  // The Node that runs this chooses.
  env.PATH = [dirname(process.execPath), process.env.PATH].join(delimiter);
  return run(npm(...args), { cwd, env, timeout: PATIENCE_MS });
}

function lastWords({ status, signal, stderr }) {
  const said = stderr.split('\n').filter((line) => line.trim() && !/^npm (warn|notice)|complete log/i.test(line));
  return [signal ?? `status ${status}`, ...said.slice(0, 3)].join(' · ');
}
