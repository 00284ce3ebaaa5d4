// What the settings cost: `ssh_exec` without a settings file, with one, and with an audit log; the hook; and the check of
// an audit log.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Stop } from '../../scripts/lib/repository.mjs';
import { median } from '../lib/numbers.mjs';
import { Ours } from './ours.mjs';

/** Calls in the log that is checked. */
const AUDITED_CALLS = 10_000;
/** Calls on the way at once while that log is made. */
const AT_ONCE = 50;

/** A section for another host, and one for this host. */
const RULES = '[host."prod-*"]\naccess = "read"\n\n[host.bench]\nrun = "allow"\n';

class OursWithSettings extends Ours {
  /** @type {string} text of the settings file */
  settings;

  command() {
    const { program, args } = super.command();
    return { program, args: [...args, '--settings', this.file] };
  }

  get file() {
    return join(this.place.home, 'settings.toml');
  }

  get log() {
    return join(this.place.home, 'audit.jsonl');
  }

  async open() {
    writeFileSync(this.file, this.settings(this.log), { mode: 0o600 });
    await super.open();
  }
}

/**
 * @typedef {object} SettingsResults
 * @property {Record<'none' | 'rules' | 'audit' | 'required', number>} exec p50 of `ssh_exec`, in milliseconds
 * @property {{ hookMs: number, versionMs: number }} hook median of the hook as a process, and of `--version`
 * @property {{ calls: number, ms: number }} verify
 */

/**
 * Everything that is measured of settings, by turns.
 *
 * @param {import('./stage.mjs').Stage} stage over loopback
 * @param {{ latency: number, batch: number, launches: number }} sizes
 * @returns {Promise<SettingsResults>}
 */
export async function settingsResults(stage, { latency, batch, launches }) {
  const sshd = await stage.sshd();
  const kinds = {
    none: new Ours(stage.place(sshd)),
    rules: withSettings(stage.place(sshd), () => RULES),
    audit: withSettings(stage.place(sshd), (log) => `${RULES}\n[audit]\nfile = "${log}"\n`),
    required: withSettings(stage.place(sshd), (log) => `${RULES}\n[audit]\nfile = "${log}"\nrequired = true\n`),
  };
  for (const one of Object.values(kinds)) await one.open();

  const values = Object.fromEntries(Object.keys(kinds).map((name) => [name, []]));
  const names = Object.keys(kinds);
  for (let round = 0; round < latency; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      for (let count = 0; count < batch; count++) {
        const begun = performance.now();
        await kinds[name].exec('true');
        values[name].push(performance.now() - begun);
      }
    }
  }

  const hook = hookTimes(kinds.rules, launches);
  const verify = await verified(kinds.audit);
  for (const one of Object.values(kinds)) await one.stop();
  const exec = Object.fromEntries(Object.entries(values).map(([name, all]) => [name, median(all)]));
  return { exec, hook, verify };
}

function withSettings(place, settings) {
  const one = new OursWithSettings(place);
  one.settings = settings;
  return one;
}

/** The hook as a client runs it, and the same program with nothing to do. */
function hookTimes(one, launches) {
  const call = JSON.stringify({
    session_id: 'bench',
    hook_event_name: 'PreToolUse',
    tool_name: 'mcp__ssh__ssh_exec',
    tool_input: { session: one.place.host, command: 'uptime' },
    cwd: one.place.home,
  });
  const { program, args } = one.command();
  const times = { hook: [], version: [] };
  for (let round = 0; round < launches; round++) {
    times.hook.push(ran(program, [...args, 'hook'], one.place.env, call, '"allow"'));
    times.version.push(ran(program, ['--version'], one.place.env, '', 'mcp-ssh-sessions'));
  }
  return { hookMs: median(times.hook), versionMs: median(times.version) };
}

function ran(program, args, env, input, expected) {
  const begun = performance.now();
  const { stdout, stderr } = spawnSync(program, args, { env: { ...process.env, ...env }, input, encoding: 'utf8' });
  const ms = performance.now() - begun;
  if (!stdout.includes(expected)) throw new Stop(`${args.at(-1)} answered with ${stdout}${stderr}`);
  return ms;
}

/** The check of a log of so many calls. */
async function verified(one) {
  const missing = AUDITED_CALLS - readFileSync(one.log, 'utf8').split('\n').length / 2;
  for (let count = 0; count < missing; count += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => one.use('ssh_sessions', {})));
  }
  const { program } = one.command();
  const begun = performance.now();
  const { status, stdout, stderr } = spawnSync(program, ['audit', 'verify', '--file', one.log], { encoding: 'utf8' });
  const ms = performance.now() - begun;
  if (status !== 0) throw new Stop(`audit verify: ${stdout}${stderr}`);
  return { calls: AUDITED_CALLS, ms };
}
