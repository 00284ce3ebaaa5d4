// `npm run clients`: the packages, and the daemon, in real clients. Installs Claude Code, Codex CLI and Gemini CLI from npm
// into a temporary folder, adds the server to them with the documented commands and files, and sees it connected and its
// tools answering. Then a scripted model on 127.0.0.1 shows that our words arrive, which tools a search finds, and that
// work on files needs no command. Last come `setup`, its undo, and the plugin. Needs the npm registry for the installations
// alone (a gigabyte when unpacked), and no account: no real model is asked anything.
//
//   node scripts/clients.mjs                    builds the release program and the demo's SSH server first
//   node scripts/clients.mjs --binary PATH      takes that program
//   node scripts/clients.mjs --sshd PATH        takes that `demo-sshd`
//   node scripts/clients.mjs --words            the parts with the scripted model only
//   node scripts/clients.mjs --policy           what the person allows, and the hook, only
//   node scripts/clients.mjs --setup            only what `setup` does to their files, and the plugin
//   node scripts/clients.mjs --require          a client that cannot be installed is a failure, too

import { constants } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { claude } from './clients/claude.mjs';
import { codex } from './clients/codex.mjs';
import { files } from './clients/files.mjs';
import { install } from './clients/install.mjs';
import { policy } from './clients/policy.mjs';
import { plugin } from './clients/plugin.mjs';
import { setup } from './clients/setup.mjs';
import { Stage } from './clients/stage.mjs';
import { words } from './clients/words.mjs';
import { epilogue, title } from './demo/screen.mjs';
import { build, needCargo } from './lib/cargo.mjs';
import { needProgram } from './lib/programs.mjs';
import { Stop, UNAVAILABLE, fail, seconds } from './lib/repository.mjs';

const NAME = 'mcp-ssh-sessions';

const clients = [
  { name: 'Claude Code', packageName: '@anthropic-ai/claude-code', bin: 'claude', parts: [claude, words, files, policy, setup, plugin] },
  { name: 'Codex CLI', packageName: '@openai/codex', bin: 'codex', parts: [codex, words, files, policy, setup, plugin] },
  { name: 'Gemini CLI', packageName: '@google/gemini-cli', bin: 'gemini', parts: [setup, plugin] },
];

const start = Date.now();
const stage = new Stage();
const seen = [];
const absent = [];
const failed = [];

process.on('exit', () => stage.abandon());
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => process.exit(128 + constants.signals[signal]));
}

try {
  const options = {
    binary: { type: 'string' },
    sshd: { type: 'string' },
    words: { type: 'boolean', default: false },
    policy: { type: 'boolean', default: false },
    setup: { type: 'boolean', default: false },
    require: { type: 'boolean', default: false },
  };
  const { values } = parseArgs({ options });
  needProgram('ssh', 'openssh-client');
  const binary = values.binary ? resolve(values.binary) : built(NAME, ['--release', '--bin', NAME]);
  const sshd = values.sshd ? resolve(values.sshd) : built('demo-sshd', ['--example', 'demo-sshd']);
  await stage.open(binary, sshd);
  for (const client of clients) await tryOut(client, binary, values);
  const left = await stage.survivors();
  const remains = left.map(({ pid, command }) => `process ${pid} (${command})`);
  if (stage.refused.length > 0) {
    console.log(`\nRefused, on the way to the internet: ${[...new Set(stage.refused)].join(', ')}`);
  }
  await stage.close();
  // The epilogue speaks of success.
  if (seen.length > 0 && failed.length === 0) epilogue(seconds(Date.now() - start), remains);
  for (const problem of absent) console.log(`\nNOT RUN: ${problem}`);
  if (failed.length > 0) throw new Stop(`FAILED: ${failed.join('\n  ')}`);
  if (absent.length > 0 && values.require) throw new Stop('not every client could be installed', UNAVAILABLE);
} catch (error) {
  fail('clients', error);
}

function built(name, args) {
  needCargo();
  return build(args).get(name);
}

/** One client, in each of its versions. What goes wrong keeps nothing else from its turn. */
async function tryOut({ name, packageName, bin, parts }, binary, only) {
  const wanted = [...(only.words ? [words, files] : []), ...(only.policy ? [policy] : []), ...(only.setup ? [setup, plugin] : [])];
  const chosen = wanted.length > 0 ? parts.filter((part) => wanted.includes(part)) : parts;
  if (chosen.length === 0) return;
  const remark = `what npm chooses for Node ${process.version}, and the newest version if that is another`;
  title(`${name} from npm`, remark);
  const { versions, problems } = await install(packageName, bin, stage);
  absent.push(...problems.map((problem) => `${name}: ${problem}`));
  for (const problem of problems) console.log(`    not run: ${problem}`);
  for (const client of versions) {
    for (const part of chosen) {
      try {
        await part(client, stage, binary);
      } catch (error) {
        if (!(error instanceof Stop)) throw error;
        failed.push(`${name} ${client.version}: ${error.message.split('\n')[0]}`);
        console.log(`    ✗ ${error.message}`);
      }
    }
    seen.push(client);
  }
}
