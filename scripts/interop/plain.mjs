// Plain `ssh`, `sftp` and `scp`, by which the answers of this program are judged.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { kill } from '../lib/sshd.mjs';

/** 50 MB over a slow server, on a busy machine. */
const PATIENCE_MS = 60_000;

export class Plain {
  /** @param {import('./stage.mjs').Stage} stage */
  constructor(stage) {
    this.stage = stage;
  }

  /**
   * Runs a command on the host.
   *
   * @param {string[]} args of `ssh`, after the name of the host
   * @param {object} [options]
   * @param {string | Buffer} [options.input] its stdin
   * @param {string[]} [options.flags] such as `['-tt']`
   * @param {number} [options.patienceMs]
   */
  ssh(args, { input = '', flags = [], patienceMs } = {}) {
    return run('ssh', ['-F', this.stage.sshConfig, ...flags, this.stage.name, ...args], input, patienceMs);
  }

  /** Whether `ssh` logs in. */
  async connects() {
    const flags = ['-v', '-N', '-o', 'PermitLocalCommand=yes', '-o', 'LocalCommand=kill $PPID'];
    const { stderr } = await this.ssh([], { flags, patienceMs: 20_000 });
    return stderr.includes('Authenticated to ');
  }

  /** Runs `ssh`, which keeps its stdin open, for a caller who ends it. */
  start(args, flags) {
    return spawn('ssh', ['-F', this.stage.sshConfig, ...flags, this.stage.name, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Carries out lines of `sftp`, and says whether all of them worked. */
  async sftp(lines) {
    const args = ['-q', '-F', this.stage.sshConfig, '-b', '-', this.stage.name];
    return run('sftp', args, `${lines.join('\n')}\n`);
  }

  /** The protocol of old, which needs a command on the host. */
  async scp(from, to, flags = []) {
    return run('scp', ['-q', '-O', '-p', ...flags, '-F', this.stage.sshConfig, from, to]);
  }
}

/**
 * Runs a program to its end, or to the end of the patience.
 *
 * @returns {Promise<{ status: number | null, stdout: Buffer, stderr: string, words: string }>} status null: it took too long
 */
export async function run(program, args, input = '', patienceMs = PATIENCE_MS, env = process.env) {
  const child = spawn(program, args, { stdio: 'pipe', env, detached: true });
  const [out, problems] = [[], []];
  child.stdout.on('data', (data) => out.push(data));
  child.stderr.on('data', (data) => problems.push(data));
  child.stdin.on('error', () => {}).end(input);
  // With what it has started: sftp's own ssh would keep its output open.
  const timer = setTimeout(() => kill(-child.pid), patienceMs);
  const [status] = await once(child, 'close');
  clearTimeout(timer);
  const [stdout, stderr] = [Buffer.concat(out), Buffer.concat(problems).toString('latin1')];
  return { status, stdout, stderr, words: `${stderr}${stdout.toString('latin1')}`.trim() };
}
