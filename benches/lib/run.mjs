// A run of a bench: the program that it measures, what it says of itself, and where its results go.

import { spawnSync } from 'node:child_process';
import { readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, type } from 'node:os';
import { join, resolve } from 'node:path';
import { charts } from '../charts.mjs';
import { comparison } from '../comparison.mjs';
import { build, needCargo } from '../../scripts/lib/cargo.mjs';
import { Stop, root } from '../../scripts/lib/repository.mjs';

const NAME = 'mcp-ssh-sessions';
const RESULTS = join(root, 'docs', 'benchmarks.md');

/** The path of the program: the one that was given, else the release program, which is built. */
export function binaryOf(given) {
  if (given) return resolve(given);
  needCargo();
  return build(['--release', '--bin', NAME]).get(NAME);
}

/** The command of this run; without the program that was given, which is nobody else's. */
export function commandLine(script, options, names) {
  const given = names.filter((name) => options[name]);
  const args = given.map((name) => ` --${name}${options[name] === true ? '' : ` '${options[name]}'`}`);
  return `npm run ${script}${args.length > 0 ? ' --' : ''}${args.join('')}`;
}

/** Those of our program and of OpenSSH's. */
export function versions(binary, options) {
  const commit = options.binary ? '' : ` (commit ${firstLine('git', '-C', root, 'rev-parse', '--short', 'HEAD')})`;
  const ssh = spawnSync('ssh', ['-V'], { encoding: 'utf8' }).stderr.split(',')[0];
  return `${firstLine(binary, '--version')}${commit}, ${ssh}`;
}

/** The system, its processors, and where the files of the run are. See statfs(2). */
export function machine() {
  const kinds = { 0x01021994: 'memory (tmpfs)', 0xef53: 'ext4', 0x58465342: 'xfs', 0x9123683e: 'btrfs' };
  const kind = kinds[statfsSync(tmpdir()).type] ?? 'the temporary folder';
  return `${type()} ${release().match(/^[\d.]+/)[0]}, ${cpus().length} CPUs; files in ${kind}`;
}

/** The first line that a program prints. */
export function firstLine(program, ...args) {
  return spawnSync(program, args, { encoding: 'utf8' }).stdout.split('\n')[0].trim();
}

/** Puts results into docs/benchmarks.md, between their marks, and brings up to date what is made of them. */
export function write(results, begin, end) {
  const text = readFileSync(RESULTS, 'utf8');
  const [before, rest, ...others] = text.split(begin);
  const [old, ...after] = rest?.split(end) ?? [];
  if (old === undefined || after.length === 0 || others.length > 0)
    throw new Stop(`${RESULTS} needs one place for the results: ${begin} … ${end}`);
  writeFileSync(RESULTS, `${before}${begin}\n\n${results}\n${end}${after.join(end)}`);
  console.log(`written to ${RESULTS}; charts: ${charts(true)}; compared in README.md: ${comparison(true)}`);
}
