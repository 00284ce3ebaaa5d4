// A step of `npm run check`: what is said in more than one place is said alike. Needs no network.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildForDevelopment } from './lib/cargo.mjs';
import { metadata, registryName } from './lib/manifest.mjs';
import { Stop, fail, root } from './lib/repository.mjs';
import { toolsOf } from './lib/tools.mjs';

const cargo = metadata();
const { name, version, description, repository } = cargo.package;

const checks = [
  ['names and versions', namesAndVersions],
  ['plugin', plugin],
  ['platforms', platforms],
  ['minimum Rust', minimumRust],
  ['pinned actions', pinnedActions],
  ['tools in the README', toolsInReadme],
  ['packages of systems', packages],
  ['dist', dist],
];

try {
  for (const [title, check] of checks) console.log(`  ✓ ${title}: ${await check()}`);
} catch (error) {
  fail('consistent', error);
}

function namesAndVersions() {
  const server = JSON.parse(read('server.json'));
  same('server.json: name', server.name, registryName(cargo.package));
  same('server.json: version', server.version, version);
  same('server.json: description', server.description, description);
  same('server.json: repository', server.repository.url, repository);
  const book = read('book.toml').match(/^git-repository-url = "(.*)"$/m)?.[1];
  same('book.toml: repository', book, repository);
  same('server.json: package', server.packages[0].identifier, name);
  same('server.json: version of the package', server.packages[0].version, version);
  // npm/build.mjs adds what comes from Cargo.toml; what is said nevertheless has to be the same.
  const npm = JSON.parse(read(`npm/${name}/package.json`));
  same('the npm package: name', npm.name, name);
  same('the npm package: version', npm.version ?? version, version);
  same('the npm package: mcpName', npm.mcpName ?? server.name, server.name);
  return `${server.name} ${version}`;
}

/** The plugin: what each client reads of it says the same as Cargo.toml. */
function plugin() {
  const json = (path) => JSON.parse(read(path));
  const manifests = [
    'plugin/plugin.json',
    'plugin/.claude-plugin/plugin.json',
    'plugin/.codex-plugin/plugin.json',
    'plugin/gemini-extension.json',
  ];
  const entry = json('.claude-plugin/marketplace.json').plugins[0];
  same('.claude-plugin/marketplace.json: source', entry.source, './plugin');
  for (const [path, manifest] of [['.claude-plugin/marketplace.json', entry], ...manifests.map((one) => [one, json(one)])]) {
    same(`${path}: name`, manifest.name, name);
    same(`${path}: version`, manifest.version, version);
    same(`${path}: description`, manifest.description, description);
    same(`${path}: repository`, manifest.repository ?? repository, repository);
    same(`${path}: license`, manifest.license ?? cargo.package.license, cargo.package.license);
  }
  for (const path of ['plugin/mcp.json', 'plugin/.mcp.json', 'plugin/gemini-extension.json']) {
    const { ssh } = json(path).mcpServers;
    same(`${path}: command`, [ssh.command, ...ssh.args].join(' '), `npx -y ${name}`);
  }
  return `${manifests.length} manifests and a marketplace`;
}

function platforms() {
  const triples = Object.values(JSON.parse(read('npm/targets.json'))).map(({ triple }) => triple);
  const built = JSON.parse(`[${read('dist-workspace.toml').match(/^targets = \[(.*?),?\s*\]/ms)[1]}]`);
  same('npm/targets.json, against the targets of dist-workspace.toml,', list(triples), list(built));
  return `${triples.length} built and packed`;
}

/** clippy knows what our own code needs; this is what the crates below it say that they need. */
function minimumRust() {
  const packages = new Map(cargo.packages.map((one) => [one.id, one]));
  const below = new Map(cargo.resolve.nodes.map(({ id, deps }) => [id, deps]));
  const used = new Set();
  const walk = (id) => {
    if (used.has(id)) return;
    used.add(id);
    for (const { pkg, dep_kinds: kinds } of below.get(id)) if (kinds.some(({ kind }) => kind !== 'dev')) walk(pkg);
  };
  walk(cargo.package.id);
  const ours = cargo.package.rust_version;
  const all = [...used].map((id) => packages.get(id));
  const newer = all.filter((one) => compare(one.rust_version ?? '0', ours) > 0);
  if (newer.length > 0) {
    const lines = newer.map((one) => `${one.name} ${one.version} needs ${one.rust_version}`);
    throw new Stop(`Cargo.toml: rust-version is ${ours}, but ${lines.join(', ')}`);
  }
  const silent = all.filter((one) => !one.rust_version).length;
  return `${ours} is enough for ${all.length - silent} crates, ${silent} do not say`;
}

function pinnedActions() {
  const commits = new Map();
  for (const file of ['dist-workspace.toml', ...readdirSync(join(root, '.github/workflows'))]) {
    const path = file.endsWith('.toml') ? file : `.github/workflows/${file}`;
    // "actions/checkout" = "…" in the one, uses: actions/checkout@… in the others, which may also call one another.
    for (const [, action, commit] of read(path).matchAll(/^(?:"|.*\buses: )(\w[\w./-]+)(?:" = "|@)([^"\s]*)/gm)) {
      if (!/^[0-9a-f]{40}$/.test(commit)) throw new Stop(`${path}: ${action} is not pinned to a commit: ${commit}`);
      same(`${path}: ${action}`, commit, commits.get(action) ?? commit);
      commits.set(action, commit);
    }
  }
  return `${commits.size}, each at one commit`;
}

/** The pages of the tools have their parameters; see manual.mjs. */
async function toolsInReadme() {
  const tools = (await toolsOf(buildForDevelopment().program)).map((tool) => tool.name).join(', ');
  for (const [page, rows] of [
    ['README.md', /^\| `(ssh_\w+)` \|/gm],
    ['docs/tools/README.md', /^\| \[`(ssh_\w+)`\]/gm],
  ]) {
    same(`${page}, Tools`, [...read(page).matchAll(rows)].map(([, tool]) => tool).join(', '), tools);
  }
  return tools;
}

/** What stands beside the program is in each package. A test compares the man page with the command line. */
function packages() {
  const assets = cargo.package.metadata.deb.assets.map(([source]) => source);
  const missing = assets.find((source) => !source.startsWith('target/') && !existsSync(join(root, source)));
  if (missing) throw new Stop(`Cargo.toml, assets of the Debian package: there is no ${missing}`);
  const files = ['man', 'completions'].flatMap((folder) => readdirSync(join(root, folder)).map((file) => `${folder}/${file}`));
  // The other two shells have no folder for the scripts of packages.
  const placed = files.filter((file) => !/\.(elv|ps1)$/.test(file));
  for (const [where, text] of [
    ['Cargo.toml, assets of the Debian package', assets.join('\n')],
    ['flake.nix', read('flake.nix')],
  ]) {
    const left = placed.find((file) => !text.includes(file));
    if (left) throw new Stop(`${where}: ${left} is not there`);
  }
  same('dist-workspace.toml: include', read('dist-workspace.toml').match(/^include = (.*)$/m)?.[1], '["./completions", "./man"]');
  same('Cargo.toml: homepage', cargo.package.homepage, repository);
  const tap = read('dist-workspace.toml').match(/^tap = "(.*)"$/m)?.[1];
  same('publish-homebrew.yml: repository', read('.github/workflows/publish-homebrew.yml').match(/repository: (.*)$/m)?.[1], tap);
  return `${files.length} files beside the program`;
}

function dist() {
  if (spawnSync('dist', ['--version'], { stdio: 'ignore' }).status !== 0) {
    const wanted = read('dist-workspace.toml').match(/^cargo-dist-version = "(.*)"$/m)[1];
    return `skipped: it is not installed (cargo install cargo-dist@${wanted} --locked)`;
  }
  for (const args of [['generate', '--check'], ['plan']]) {
    const { status } = spawnSync('dist', args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Stop(`dist ${args.join(' ')} failed; its messages are above (dist generate may help)`);
  }
  return 'release.yml is what dist-workspace.toml says, and the plan works';
}

function read(path) {
  return readFileSync(join(root, path), 'utf8');
}

function list(names) {
  return [...names].sort().join(', ');
}

function same(what, actual, expected) {
  if (actual === expected) return;
  throw new Stop(`${what} is ${JSON.stringify(actual)}, and should be ${JSON.stringify(expected)}`);
}

/** Of versions such as 1.89 and 1.89.0. */
function compare(one, other) {
  const [a, b] = [one, other].map((text) => text.split('.').map(Number));
  return a[0] - b[0] || (a[1] ?? 0) - (b[1] ?? 0) || (a[2] ?? 0) - (b[2] ?? 0);
}
