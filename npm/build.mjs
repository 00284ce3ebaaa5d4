// Packs the npm packages: one for each platform with its program, and the main one that depends on all of them.
//
//   node npm/build.mjs [--release] --archives target/distrib    from the archives that dist made, all six of them
//   node npm/build.mjs --binary PATH                            this platform from PATH, the others as stubs: for tests
//
// Writes --out (target/npm): the *.tgz files, and order.json with their names in the order in which to publish them.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { packedReadme } from '../scripts/lib/packed.mjs';
import { Stop, fail, root } from '../scripts/lib/repository.mjs';
import { npm } from './clients.mjs';

const NAME = 'mcp-ssh-sessions';

const scratch = mkdtempSync(join(tmpdir(), `${NAME}-pack-`));
try {
  pack(
    parseArgs({
      options: {
        release: { type: 'boolean', default: false },
        archives: { type: 'string' },
        binary: { type: 'string' },
        out: { type: 'string', default: join(root, 'target/npm') },
      },
    }).values,
  );
} catch (error) {
  rmSync(scratch, { recursive: true });
  fail('npm/build', error);
}
rmSync(scratch, { recursive: true });

function pack({ release, archives, binary, out }) {
  if (!archives === !binary) throw new Stop('either --archives FOLDER or --binary PATH', 2);
  if (release && binary) throw new Stop('a release is made from --archives', 2);
  const common = commonFields(release);
  const targets = JSON.parse(readFileSync(join(root, 'npm/targets.json'), 'utf8'));
  const folders = Object.entries(targets).map(([platform, target]) => {
    const program = target.os === 'win32' ? `${NAME}.exe` : NAME;
    const source = archives ? unpacked(archives, target.triple, program) : localOrStub(binary, platform);
    return platformPackage(platform, target, program, source, common);
  });
  // Last, so that nobody meets it before its programs are there.
  folders.push(mainPackage(Object.keys(targets), common));
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const { command, args } = npm('pack', '--json', '--ignore-scripts', '--pack-destination', resolve(out), ...folders);
  const printed = JSON.parse(execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  // npm 12 prints an object by name, npm before it an array.
  const packed = Object.values(printed).map(({ name, filename, size, unpackedSize }) => {
    return { name, file: filename, size, unpackedSize };
  });
  const order = folders.map((folder) => packed.find(({ name }) => name === basename(folder)));
  writeFileSync(join(out, 'order.json'), text(order));
  for (const { file, size, unpackedSize } of order) {
    console.log(`${file.padEnd(46)} ${megabytes(size)} packed ${megabytes(unpackedSize)} unpacked`);
  }
}

/** What all packages have in common, from Cargo.toml. npm's trusted publishing compares `repository`. */
function commonFields(release) {
  const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8').match(/^\[package\]\n(.*?)(?=^\[)/ms)[1];
  const field = (name) => manifest.match(new RegExp(`^${name} = "(.*)"$`, 'm'))?.[1];
  const repository = field('repository');
  const owner = repository?.match(/^https:\/\/github\.com\/([^/]+)\/[^/]+$/)?.[1];
  if (release && !owner) {
    throw new Stop('Cargo.toml has no repository = "https://github.com/OWNER/NAME"; npm publishes for that alone');
  }
  return {
    version: field('version'),
    description: field('description'),
    license: field('license'),
    keywords: JSON.parse(manifest.match(/^keywords = (\[.*\])$/m)?.[1] ?? '[]'),
    ...(owner && { repository: { type: 'git', url: `git+${repository}.git` }, homepage: `${repository}#readme` }),
    ...(owner && { mcpName: `io.github.${owner}/${NAME}` }),
  };
}

function platformPackage(platform, { triple, os, cpu }, program, source, { version, license, repository }) {
  const folder = newPackage(`${NAME}-${platform}`, {
    version,
    description: `The ${platform} program of ${NAME}`,
    license,
    repository,
    os: [os],
    cpu: [cpu],
    files: ['bin'],
    // Yarn keeps packages zipped, and nothing in a zip can be executed.
    preferUnplugged: true,
  });
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin', program), source, { mode: 0o755 });
  writeFileSync(join(folder, 'README.md'), `The ${triple} program of \`${NAME}\`. Install \`${NAME}\`, not this.\n`);
  return folder;
}

function mainPackage(platforms, common) {
  const template = JSON.parse(readFileSync(join(root, 'npm', NAME, 'package.json'), 'utf8'));
  const optionalDependencies = Object.fromEntries(platforms.map((one) => [`${NAME}-${one}`, common.version]));
  const folder = newPackage(NAME, { ...template, ...common, optionalDependencies });
  cpSync(join(root, 'npm', NAME, 'bin'), join(folder, 'bin'), { recursive: true });
  const repository = common.homepage?.replace(/#readme$/, '');
  if (repository) writeFileSync(join(folder, 'README.md'), packedReadme({ repository, version: common.version }));
  return folder;
}

function newPackage(name, fields) {
  const folder = join(scratch, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), text({ name, ...fields }));
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  return folder;
}

/** The program in dist's archive for `triple`, after its checksum. */
function unpacked(archives, triple, program) {
  const stem = `${NAME}-${triple}`;
  const archive = ['.tar.gz', '.zip'].map((ending) => join(archives, stem + ending)).find(existsSync);
  if (!archive) throw new Stop(`no archive ${stem}.tar.gz or .zip in ${archives}`);
  if (!existsSync(`${archive}.sha256`)) throw new Stop(`${archive} has no ${basename(archive)}.sha256 beside it`);
  const expected = readFileSync(`${archive}.sha256`, 'utf8').trim().split(/\s+/)[0];
  const actual = createHash('sha256').update(readFileSync(archive)).digest('hex');
  if (actual !== expected) throw new Stop(`${archive}: its SHA-256 is ${actual}, not ${expected}`);
  const folder = mkdtempSync(join(scratch, 'archive-'));
  if (archive.endsWith('.zip')) execFileSync('unzip', ['-q', archive, '-d', folder]);
  else execFileSync('tar', ['-xzf', archive, '-C', folder]);
  // dist's tarballs have a top folder, its zips have none.
  const file = [join(folder, stem, program), join(folder, program)].find(existsSync);
  if (!file) throw new Stop(`${archive} holds no ${program}`);
  return readFileSync(file);
}

function localOrStub(binary, platform) {
  if (platform !== `${process.platform}-${process.arch}`) return 'a stub, for tests on another platform\n';
  if (!existsSync(binary)) throw new Stop(`there is no ${binary}`);
  return readFileSync(binary);
}

function text(value) {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(3).padStart(8)} MB`;
}
