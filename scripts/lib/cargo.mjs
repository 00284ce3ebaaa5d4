// Runs cargo in the repository.

import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { Stop, UNAVAILABLE, root } from './repository.mjs';

/** Throws a Stop when there is no cargo. */
export function needCargo() {
  if (!answers(['--version'])) throw new Stop('Rust is missing; install it: https://rustup.rs', UNAVAILABLE);
}

/**
 * Whether `cargo …args` works here; it shows nothing.
 *
 * @param {string[]} args such as `['clippy', '--version']`
 */
export function answers(args) {
  return spawnSync('cargo', args, { cwd: root, stdio: 'ignore' }).status === 0;
}

/**
 * Builds the program and the demo's SSH server for development.
 *
 * Both at once: the server comes with the crates of the tests, and with their features. Each of the two by itself would
 * have cargo compile a quarter of all crates again.
 *
 * @returns {{ program: string, sshd: string }} their paths
 */
export function buildForDevelopment() {
  const programs = build(['--bin', 'mcp-ssh-sessions', '--example', 'demo-sshd']);
  return { program: programs.get('mcp-ssh-sessions'), sshd: programs.get('demo-sshd') };
}

/**
 * Runs `cargo build --locked …args` and finds what it made, wherever its target folder is.
 *
 * @param {string[]} args
 * @returns {Map<string, string>} the path of each executable by its name
 */
export function build(args) {
  const command = ['build', '--locked', '--message-format=json-render-diagnostics', ...args];
  const { status, signal, stdout } = spawnSync('cargo', command, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (signal) throw new Stop(`cargo build was stopped by ${signal}`, 128 + constants.signals[signal]);
  if (status !== 0) throw new Stop(`cargo build --locked ${args.join(' ')} failed; its own messages are above`);
  const artifacts = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  const programs = artifacts.filter((artifact) => artifact.executable);
  return new Map(programs.map(({ target, executable }) => [target.name, executable]));
}
