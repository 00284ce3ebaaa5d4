// What a daemon takes: measured often, told by the minute, and judged at the end.

import { readFileSync, readdirSync } from 'node:fs';
import { median } from '../../benches/lib/numbers.mjs';
import { table } from '../../benches/lib/markdown.mjs';
import { tree } from '../../npm/processes.mjs';

/** Of the last third against the one before: whichever allows more. */
const GROWTH_MB = 2;
const GROWTH = 0.1;
/** What comes and goes with the calls that are under way. */
const FLUCTUATION = 8;

/** What is measured, and by how much the last third's median may be above the second one's. */
const COLUMNS = {
  'RSS, MB': (before) => Math.max(GROWTH_MB, before * GROWTH),
  'open files': () => FLUCTUATION,
  threads: () => FLUCTUATION,
  connections: () => FLUCTUATION,
  sessions: () => FLUCTUATION,
  shells: () => FLUCTUATION,
  'jobs at work': () => FLUCTUATION,
  'jobs kept': () => FLUCTUATION,
  'remote processes': () => FLUCTUATION,
};

export class Gauge {
  #samples = [];
  #rows = [];

  /**
   * @param {number} pid the daemon's
   * @param {import('../lib/sshd.mjs').Sshd} sshd
   * @param {string} remoteHome of all that sshd runs
   * @param {() => Promise<object>} status what the daemon says of itself
   */
  constructor(pid, sshd, remoteHome, status) {
    Object.assign(this, { pid, sshd, remoteHome, status });
  }

  async sample() {
    const field = (name) => Number(readFileSync(`/proc/${this.pid}/status`, 'utf8').match(`${name}:\\s*(\\d+)`)[1]);
    const { sessions, shells, jobs } = await this.status();
    const atWork = jobs.filter(({ status }) => status === 'running').length;
    this.#samples.push([
      field('VmRSS') / 1024,
      readdirSync(`/proc/${this.pid}/fd`).length,
      field('Threads'),
      tree(this.sshd.child.pid).filter(({ parent }) => parent === this.sshd.child.pid).length,
      sessions.filter(({ state }) => state === 'connected').length,
      shells.length,
      atWork,
      jobs.length - atWork,
      remoteProcesses(this.remoteHome).length,
    ]);
  }

  /** Closes a minute: the median of what was measured in it, for the table. */
  minute(counts) {
    const numbers = Object.keys(COLUMNS).map((_, column) => median(this.#samples.map((sample) => sample[column])));
    this.#samples = [];
    this.#rows.push({ counts, numbers });
    return [...counts, ...shown(numbers)].join(' · ');
  }

  table(heads) {
    const rows = this.#rows.map(({ counts, numbers }, index) => [`${index + 1}`, ...counts.map(String), ...shown(numbers)]);
    return table(['minute', ...heads, ...Object.keys(COLUMNS)], rows, true);
  }

  /** What has grown, in words; none if all is flat. */
  growth() {
    const third = Math.floor(this.#rows.length / 3);
    if (third === 0) return [];
    const of = (rows, column) => median(rows.map(({ numbers }) => numbers[column]));
    return Object.entries(COLUMNS).flatMap(([name, allowed], column) => {
      const [before, after] = [this.#rows.slice(-2 * third, -third), this.#rows.slice(-third)].map((rows) => of(rows, column));
      const words = `${name}: ${before.toFixed(1)} in the second third, ${after.toFixed(1)} in the last`;
      return after - before > allowed(before) ? [words] : [];
    });
  }
}

/** The commands, without sshd's own, of all processes with that home. */
export function remoteProcesses(home) {
  return readdirSync('/proc').filter(Number).flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`HOME=${home}`)) return [];
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      return command && !/^sshd|sftp-server/.test(command) ? [command] : [];
    } catch {
      return []; // It has ended meanwhile.
    }
  });
}

function shown(numbers) {
  return numbers.map((number) => (Number.isInteger(number) ? String(number) : number.toFixed(1)));
}
