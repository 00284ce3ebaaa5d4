// `npm run mcpb`: a bundle of the program for this platform, as desktop clients install it with a double click.
//
//   node scripts/mcpb.mjs                  builds the release program first
//   node scripts/mcpb.mjs --binary PATH    takes that one
//
// Writes target/mcpb/. The tool that checks and packs it comes from npm, into a folder that does not stay.

import { spawnSync } from 'node:child_process';
import { copyFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { npm } from '../npm/clients.mjs';
import { build, needCargo } from './lib/cargo.mjs';
import { metadata } from './lib/manifest.mjs';
import { packedReadme } from './lib/packed.mjs';
import { Stop, fail, root } from './lib/repository.mjs';
import { toolsOf } from './lib/tools.mjs';

const PACKER = '@anthropic-ai/mcpb@2.1.2';

const scratch = mkdtempSync(join(tmpdir(), 'mcp-ssh-sessions-mcpb-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true, maxRetries: 5 }));

try {
  needCargo();
  const { binary } = parseArgs({ options: { binary: { type: 'string' } } }).values;
  await bundle(metadata().package, binary && resolve(binary));
} catch (error) {
  fail('mcpb', error);
}

async function bundle(cargo, binary) {
  const program = binary ?? build(['--release', '--bin', cargo.name]).get(cargo.name);
  const tools = await toolsOf(program);
  const content = join(scratch, 'content');
  const path = `server/${cargo.name}${process.platform === 'win32' ? '.exe' : ''}`;
  mkdirSync(join(content, 'server'), { recursive: true });
  copyFileSync(program, join(content, path));
  chmodSync(join(content, path), 0o755);
  copyFileSync(join(root, 'LICENSE'), join(content, 'LICENSE'));
  writeFileSync(join(content, 'README.md'), packedReadme(cargo));
  writeFileSync(join(content, 'manifest.json'), `${JSON.stringify(manifest(cargo, path, tools), null, 2)}\n`);

  run(npm('install', '--prefix', join(scratch, 'packer'), '--ignore-scripts', '--no-audit', '--no-fund', PACKER));
  const cli = join(scratch, 'packer/node_modules/@anthropic-ai/mcpb/dist/cli/cli.js');
  const mcpb = (...args) => run({ command: process.execPath, args: [cli, ...args] });
  const folder = join(root, 'target/mcpb');
  const file = join(folder, `${cargo.name}-${cargo.version}-${process.platform}-${process.arch}.mcpb`);
  mkdirSync(folder, { recursive: true });
  mcpb('validate', join(content, 'manifest.json'));
  mcpb('pack', content, file);

  // What a client will do: unpack it, and start what is in it.
  mcpb('unpack', file, join(scratch, 'unpacked'));
  const installed = await toolsOf(join(scratch, 'unpacked', path));
  if (installed.length !== tools.length) throw new Stop(`the unpacked program has ${installed.length} tools`);
  console.log(`${file}  ${(statSync(file).size / 1e6).toFixed(1)} MB, ${tools.length} tools`);
}

/**
 * https://github.com/modelcontextprotocol/mcpb/blob/main/MANIFEST.md. No `user_config`: a client leaves the placeholder
 * of a setting that a person does not fill in as it is, and ssh would be asked for a file of that name.
 */
function manifest({ name, version, description, repository, license, keywords }, path, tools) {
  return {
    manifest_version: '0.3',
    name,
    display_name: 'SSH sessions',
    version,
    description,
    author: { name: `The authors of ${name}`, url: repository },
    repository: { type: 'git', url: `${repository}.git` },
    homepage: repository,
    documentation: `${repository}#readme`,
    support: `${repository}/issues`,
    server: {
      type: 'binary',
      entry_point: path,
      mcp_config: { command: `\${__dirname}/${path}`, args: [], env: {} },
    },
    tools: tools.map(({ name, description }) => ({ name, description })),
    keywords,
    license,
    // A manifest can name systems, not processors: the file's name does.
    compatibility: { platforms: [process.platform] },
  };
}

function run({ command, args }) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: scratch, encoding: 'utf8' });
  if (status !== 0) throw new Stop(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
}
