// Makes the packages of systems from the archives of a release:
//
//   node scripts/packages.mjs [--archives target/distrib] [--out target/packages]
//   node scripts/packages.mjs --binary PATH    the Debian package of this machine's program alone, to try it
//
// Writes a Debian package for each Linux archive, and winget/ with the manifests for the Windows archives. Needs
// `cargo deb` (cargo install cargo-deb --locked).

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { metadata } from './lib/manifest.mjs';
import { Stop, fail, root } from './lib/repository.mjs';

/** Of the schema at https://aka.ms/winget-manifest.installer.1.10.0.schema.json. */
const WINGET_SCHEMA = '1.10.0';

try {
  const { archives, binary, out } = parseArgs({
    options: {
      archives: { type: 'string', default: join(root, 'target/distrib') },
      binary: { type: 'string' },
      out: { type: 'string', default: join(root, 'target/packages') },
    },
  }).values;
  make(metadata().package, resolve(archives), binary && resolve(binary), resolve(out));
} catch (error) {
  fail('packages', error);
}

function make(cargo, archives, binary, out) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, 'winget'), { recursive: true });
  if (binary) {
    debianPackage(binary, [], 'target/release', cargo, out);
    return;
  }
  const targets = Object.values(JSON.parse(readFileSync(join(root, 'npm/targets.json'), 'utf8')));
  for (const { triple } of targets.filter(({ os }) => os === 'linux')) {
    const folder = join(out, triple);
    mkdirSync(folder);
    run('tar', ['-xzf', archive(archives, `${cargo.name}-${triple}.tar.gz`), '-C', folder, '--strip-components=1']);
    debianPackage(join(folder, cargo.name), ['--target', triple], `target/${triple}/release`, cargo, out);
    rmSync(folder, { recursive: true });
  }
  const windows = targets.filter(({ os }) => os === 'win32');
  for (const [name, text] of Object.entries(wingetManifests(cargo, windows, archives))) {
    writeFileSync(join(out, 'winget', name), text);
    console.log(join(out, 'winget', name));
  }
}

/** The assets in Cargo.toml name the program where cargo would have built it. */
function debianPackage(program, target, folder, cargo, out) {
  mkdirSync(join(root, folder), { recursive: true });
  if (resolve(program) !== join(root, folder, cargo.name)) copyFileSync(program, join(root, folder, cargo.name));
  mkdirSync(join(root, 'target/deb'), { recursive: true });
  writeFileSync(join(root, 'target/deb/changelog'), debianChangelog(cargo));
  run('cargo', ['deb', '--locked', '--no-build', '--no-strip', ...target, '--output', out]);
}

/** deb-changelog(5), with the time of the commit. */
function debianChangelog({ name, version, repository, metadata }) {
  const { status, stdout } = spawnSync('git', ['log', '-1', '--format=%aD'], { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Stop('git log failed: the package needs the time of the commit');
  const heading = `${name} (${version}-1) unstable; urgency=medium`;
  const entry = `  * Release ${version}:\n    ${repository}/releases/tag/v${version}`;
  return `${heading}\n\n${entry}\n\n -- ${metadata.deb.maintainer}  ${stdout.trim()}\n`;
}

/** https://learn.microsoft.com/windows/package-manager/package/manifest */
function wingetManifests(cargo, windows, archives) {
  const { name, version, description, repository, license, keywords } = cargo;
  const owner = new URL(repository).pathname.split('/')[1];
  const identifier = `${owner}.${name}`;
  const head = { PackageIdentifier: identifier, PackageVersion: version };
  const installers = windows.map(({ triple, cpu }) => {
    const file = `${name}-${triple}.zip`;
    const digest = createHash('sha256').update(readFileSync(archive(archives, file))).digest('hex');
    return {
      Architecture: cpu,
      InstallerUrl: `${repository}/releases/download/v${version}/${file}`,
      InstallerSha256: digest.toUpperCase(),
    };
  });
  const manifest = (kind, fields) => {
    const schema = `https://aka.ms/winget-manifest.${kind}.${WINGET_SCHEMA}.schema.json`;
    const all = { ...head, ...fields, ManifestType: kind, ManifestVersion: WINGET_SCHEMA };
    return `# yaml-language-server: $schema=${schema}\n${yaml(all)}`;
  };
  return {
    [`${identifier}.yaml`]: manifest('version', { DefaultLocale: 'en-US' }),
    [`${identifier}.installer.yaml`]: manifest('installer', {
      InstallerType: 'zip',
      NestedInstallerType: 'portable',
      NestedInstallerFiles: [{ RelativeFilePath: `${name}.exe`, PortableCommandAlias: name }],
      Installers: installers,
    }),
    [`${identifier}.locale.en-US.yaml`]: manifest('defaultLocale', {
      PackageLocale: 'en-US',
      Publisher: `The authors of ${name}`,
      PackageName: name,
      PackageUrl: repository,
      License: license,
      LicenseUrl: `${repository}/blob/v${version}/LICENSE`,
      ShortDescription: description,
      Moniker: name,
      Tags: keywords,
      ReleaseNotesUrl: `${repository}/releases/tag/v${version}`,
    }),
  };
}

/** Fields, and lists of texts or of fields. JSON strings are YAML strings. */
function yaml(fields) {
  const block = (entries) => entries.map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  return Object.entries(fields)
    .flatMap(([key, value]) => {
      if (!Array.isArray(value)) return block([[key, value]]);
      const items = value.map((item) => (typeof item === 'string' ? [JSON.stringify(item)] : block(Object.entries(item))));
      return [`${key}:`, ...items.flatMap(([first, ...rest]) => [`- ${first}`, ...rest.map((line) => `  ${line}`)])];
    })
    .map((line) => `${line}\n`)
    .join('');
}

function archive(folder, file) {
  const path = join(folder, file);
  if (!existsSync(path)) throw new Stop(`there is no ${path}; dist makes it`);
  return path;
}

function run(program, args) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Stop(`${program} ${args.join(' ')} failed${error ? `: ${error.message}` : '; its messages are above'}`);
}
