// Programs of other people, from the registries that this machine uses, with the settings of its user.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { npm } from '../../npm/clients.mjs';
import { run } from '../../npm/peer.mjs';
import { Stop, UNAVAILABLE, root } from './repository.mjs';

/** A slow connection and 250 MB. */
const PATIENCE_MS = 900_000;

/** What the programs here need at least, and what they get where this Node is older. */
const NEEDED_NODE = [22, 19];
const NODE = '22.23.3';

/**
 * Installs packages into `target/installed/NAME`, once.
 *
 * @param {string} name
 * @param {Record<string, string>} packages exact versions
 * @returns {Promise<string>} the folder with their `node_modules`; a Stop where they cannot be had
 */
export function installed(name, packages) {
  // The package `node` puts its program in place by an install script; npm 12 runs those that are named here.
  const manifest = JSON.stringify({ private: true, dependencies: packages, allowScripts: { node: true } });
  return once(name, manifest, async (folder) => {
    writeFileSync(join(folder, 'package.json'), manifest);
    const ended = await runNpm(['install', '--prefix', folder, '--no-audit', '--no-fund'], folder);
    if (ended.status !== 0) return `npm install failed: ${lastWords(ended)}`;
  });
}

/** The path of a Node that is new enough: this one, else one from npm. */
export async function newNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NEEDED_NODE[0] || (major === NEEDED_NODE[0] && minor >= NEEDED_NODE[1])) return process.execPath;
  const folder = await installed('node', { node: NODE });
  return join(folder, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

/**
 * Installs packages from PyPI into a virtual environment in `target/installed/NAME`, once.
 *
 * @param {string} name
 * @param {string[]} packages such as `mcp==2.3.0`
 * @returns {Promise<string>} the path of its Python; a Stop where they cannot be had
 */
export async function installedPython(name, packages) {
  const windows = process.platform === 'win32';
  const python = (folder) => join(folder, windows ? 'Scripts/python.exe' : 'bin/python');
  const folder = await once(name, packages.join(), async (folder) => {
    const steps = [
      [windows ? 'python' : 'python3', '-m', 'venv', folder],
      [python(folder), '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages],
    ];
    for (const [command, ...args] of steps) {
      const ending = run({ command, args }, { timeout: PATIENCE_MS });
      const ended = await ending.catch(({ message }) => ({ signal: message, stderr: '' }));
      if (ended.status !== 0) return `${args.slice(0, 3).join(' ')} failed: ${lastWords(ended)}`;
    }
  });
  return python(folder);
}

/**
 * Builds a program of the Rust registry into `target/installed/NAME`, once.
 *
 * @param {string} crate
 * @param {string} version
 * @returns {Promise<string>} the folder with its `bin`; a Stop where it cannot be had
 */
export function installedCrate(crate, version) {
  return once(crate, `${crate}@${version}`, async (folder) => {
    const args = ['install', '--quiet', '--locked', '--root', folder, `${crate}@${version}`];
    // The build takes a hundred times as much room as the program.
    const env = { ...process.env, CARGO_TARGET_DIR: join(folder, 'build') };
    const ending = run({ command: 'cargo', args }, { env, timeout: PATIENCE_MS });
    const ended = await ending.catch(({ message }) => ({ signal: message, stderr: '' }));
    rmSync(join(folder, 'build'), { recursive: true, force: true });
    if (ended.status !== 0) return `cargo install failed: ${lastWords(ended)}`;
  });
}

/**
 * Unpacks Debian packages into `target/installed/NAME`, once: programs that the machine itself need not have.
 *
 * @param {string} name
 * @param {string[]} packages
 * @returns {Promise<string>} the folder that is their root; a Stop where they cannot be had
 */
export function unpackedDebs(name, packages) {
  return once(name, packages.join(), async (folder) => {
    const here = { cwd: folder, timeout: PATIENCE_MS };
    const args = ['-o', 'APT::Sandbox::User=root', '-qq', 'download', ...packages];
    const ending = run({ command: 'apt-get', args }, here);
    const ended = await ending.catch(({ message }) => ({ signal: message, stderr: '' }));
    if (ended.status !== 0) return `apt-get download failed: ${lastWords(ended)}`;
    for (const archive of readdirSync(folder).filter((file) => file.endsWith('.deb'))) {
      const { status, stderr } = await run({ command: 'dpkg', args: ['-x', archive, folder] }, here);
      if (status !== 0) return `dpkg -x ${archive} failed: ${stderr}`;
      rmSync(join(folder, archive));
    }
  });
}

/**
 * Fetches the source of a Debian package into `target/installed/NAME-source`, once.
 *
 * @param {string} debianPackage
 * @returns {Promise<string>} the folder with its folder; a Stop where it cannot be had
 */
export function installedSource(debianPackage) {
  return once(`${debianPackage}-source`, debianPackage, async (folder) => {
    const lists = join(folder, 'lists');
    for (const name of ['sources', 'lists/partial', 'archives/partial']) mkdirSync(join(folder, name), { recursive: true });
    // The machine's own lists stay as they are.
    const found = debianSources();
    if (!found) return 'this is no Debian, or its sources have another form';
    writeFileSync(join(folder, 'sources/source.sources'), found);
    const places = { 'Dir::Etc::SourceParts': join(folder, 'sources'), 'Dir::Etc::SourceList': '/dev/null' };
    const all = { ...places, 'Dir::State::Lists': lists, 'Dir::Cache': folder, 'APT::Sandbox::User': 'root' };
    const options = Object.entries(all).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
    for (const args of [['update'], ['source', '--download-only', debianPackage]]) {
      const ended = await run({ command: 'apt-get', args: [...options, '-qq', ...args] }, { cwd: folder, timeout: PATIENCE_MS });
      if (ended.status !== 0) return `apt-get ${args.join(' ')} failed: ${lastWords(ended)}`;
    }
    const archive = readdirSync(folder).find((name) => /\.orig\.tar\.\w+$/.test(name));
    if (!archive) return 'it has no archive of its source';
    const ended = await run({ command: 'tar', args: ['-xf', archive] }, { cwd: folder, timeout: PATIENCE_MS });
    rmSync(lists, { recursive: true, force: true });
    if (ended.status !== 0) return `tar failed: ${lastWords(ended)}`;
  });
}

/** Where this Debian gets its packages first of all, turned to their sources. */
function debianSources() {
  const folder = '/etc/apt/sources.list.d';
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.sources')) : [];
  const [first = ''] = names.map((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n\n')[0]);
  return first.replace(/^Types:.*/m, 'Types: deb-src');
}

/** Runs npm as the person would, with the Node that runs this. */
export async function runNpm(args, cwd) {
  // Under `npm run` there is more than settings.
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^npm_(?!config_)/i.test(key)));
  env.PATH = [dirname(process.execPath), process.env.PATH].join(delimiter);
  return run(npm(...args), { cwd, env, timeout: PATIENCE_MS });
}

/** What a program that failed has said, in short. */
export function lastWords({ status, signal, stderr }) {
  const said = stderr.split('\n').filter((line) => line.trim() && !/^npm (warn|notice)|complete log/i.test(line));
  return [signal ?? `status ${status}`, ...said.slice(0, 3)].join(' · ');
}

/** Lets `install` fill a folder, unless it has done so before; what it returns is the problem. */
async function once(name, wanted, install) {
  const folder = join(root, 'target', 'installed', name);
  const mark = join(folder, 'installed.txt');
  if (existsSync(mark) && readFileSync(mark, 'utf8') === wanted) return folder;
  console.log(`installing ${name} …`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const problem = await install(folder);
  if (problem) throw new Stop(`${name} cannot be installed: ${problem}`, UNAVAILABLE);
  writeFileSync(mark, wanted);
  return folder;
}
