#!/usr/bin/env node
'use strict';

// Finds the native program that was installed for this platform as an optional dependency, and becomes it: by execve
// where Node has that (22.15 and later, not on Windows), else as a child that gets our signals and gives us its end.

const { accessSync, chmodSync, constants, readFileSync, realpathSync, statSync } = require('node:fs');
const { basename, dirname, join } = require('node:path');
const { version, optionalDependencies } = require('../package.json');

const NAME = 'mcp-ssh-sessions';
const OVERRIDE = 'MCP_SSH_SESSIONS_BINARY';
const WINDOWS = process.platform === 'win32';
const PLATFORM = `${process.platform}-${process.arch}`;

/** What the system itself may run when Node and the installed package differ (Rosetta, Windows on ARM). */
const EMULATED = { 'darwin-x64': 'darwin-arm64', 'darwin-arm64': 'darwin-x64', 'win32-arm64': 'win32-x64' };

become(process.env[OVERRIDE] ? overridden(process.env[OVERRIDE]) : installed(), process.argv.slice(2));

function overridden(file) {
  const problem = unusable(file);
  if (problem) stop(`${OVERRIDE} is set to ${file}, which ${problem}`);
  return file;
}

function installed() {
  const packages = Object.keys(optionalDependencies);
  const wanted = `${NAME}-${PLATFORM}`;
  if (!packages.includes(wanted)) {
    const platforms = packages.map((name) => name.slice(NAME.length + 1)).join(', ');
    stop(`there is no prebuilt program for ${PLATFORM} (there is for ${platforms})`, ...fromSource());
  }
  const candidates = [wanted, `${NAME}-${EMULATED[PLATFORM]}`].flatMap(manifests);
  const chosen = candidates.find((candidate) => candidate.version === version);
  if (!chosen) stop(...missing(wanted, packages, candidates[0]));
  const file = join(chosen.folder, 'bin', WINDOWS ? `${NAME}.exe` : NAME);
  if (unusable(file)) {
    // Some stores and archives drop the executable bit.
    try {
      chmodSync(file, 0o755);
    } catch {}
    const problem = unusable(file);
    if (problem) stop(`${file} ${problem}`, 'Install again.', ...fromSource());
  }
  return file;
}

/** The packages of this name that were installed for this one, the nearest first. */
function manifests(name) {
  return places(name).flatMap((folder) => {
    try {
      return [{ version: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version, folder }];
    } catch {
      return [];
    }
  });
}

/**
 * Where an installer puts a package that this one depends on: below it or beside it. Never in a `node_modules` further up,
 * where Node would look, too: such a folder may be of another user, as `/tmp/node_modules` can be.
 */
function places(name) {
  if (process.versions.pnp) {
    // Yarn without node_modules: it looks in its own table, in which only what we depend on has an entry for us.
    try {
      return [dirname(require.resolve(`${name}/package.json`))];
    } catch {
      return [];
    }
  }
  const own = realpathSync(join(__dirname, '..'));
  const around = dirname(own);
  const folders = [join(own, 'node_modules')];
  if (basename(around) === 'node_modules') folders.push(around);
  // Yarn's `nodeLinker: pnpm`: node_modules/.store/ONE/package, and beside it ONE/node_modules.
  if (basename(own) === 'package' && basename(dirname(around)) === '.store') folders.push(join(around, 'node_modules'));
  return folders.map((folder) => join(folder, name));
}

function missing(wanted, packages, stray) {
  if (stray) {
    return [`this is version ${version}, but ${stray.folder} is version ${stray.version}`, `Install ${NAME} again.`];
  }
  const others = packages.filter((name) => manifests(name).length > 0);
  return [
    `the package ${wanted}, which holds the program for this platform, is not installed`,
    ...(others.length > 0
      ? [
          `Found instead: ${others.join(', ')}. Was node_modules copied from another system (Docker, WSL)?`,
          'Delete node_modules and install again on this one.',
        ]
      : [
          'It is an optional dependency: install again without --omit=optional (--no-optional).',
          'If a lock file was made on another system, delete it and node_modules first.',
        ]),
    'Under npx, delete the broken copy: the folder _npx in the folder that `npm config get cache` prints.',
    ...fromSource(),
  ];
}

function fromSource() {
  return [`Or build it from source: cargo install ${NAME}; then set ${OVERRIDE} to the program.`];
}

/** Why `file` cannot be run, or undefined. Node up to 24 aborts when execve fails, so this is found out before. */
function unusable(file) {
  try {
    if (!statSync(file).isFile()) return 'is not a file';
  } catch {
    return 'does not exist';
  }
  try {
    accessSync(file, constants.X_OK);
    return undefined;
  } catch {
    return 'is not executable';
  }
}

function become(file, args) {
  if (!WINDOWS && process.execve) {
    // Node ignores SIGXFSZ; what is ignored stays so across execve, what has a handler does not.
    process.on('SIGXFSZ', () => {});
    process.execve(file, [file, ...args], process.env);
  }
  const child = require('node:child_process').spawn(file, args, { stdio: 'inherit', windowsHide: true });
  child.on('error', (error) => stop(`${file} cannot be run: ${error.message}`));
  child.on('exit', endLike);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  if (!WINDOWS && process.env.npm_lifecycle_event === 'npx') {
    // npx runs us in a shell and passes its signals to that, which dies of them alone: our parent changes, no more.
    const parent = process.ppid;
    setInterval(() => process.ppid === parent || child.kill('SIGTERM'), 1000).unref();
  }
}

function endLike(status, signal) {
  if (!signal) process.exit(status);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // A signal that does not end Node as it ended the program.
  setTimeout(() => process.exit(128 + require('node:os').constants.signals[signal]), 200);
}

function stop(problem, ...advice) {
  process.stderr.write([`${NAME}: ${problem}`, ...advice].join('\n  ') + '\n');
  process.exit(1);
}
