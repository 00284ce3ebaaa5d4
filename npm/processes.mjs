// What runs below a process, where that can be seen: Linux and macOS.

import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** @typedef {{ pid: number, parent: number, rss: number, command: string }} Process rss in kB */

/**
 * `pid` and all below it.
 *
 * @param {number} pid
 * @returns {Process[]} none on Windows
 */
export function tree(pid) {
  const processes = all();
  const below = (parent) => processes.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)]);
  return [...processes.filter((one) => one.pid === pid), ...below(pid)];
}

/**
 * Waits until `processes` have ended, and for `deadlineMs` at most.
 *
 * @param {Process[]} processes
 * @param {number} deadlineMs
 * @returns {Promise<Process[]>} those that still run
 */
export async function survivors(processes, deadlineMs) {
  for (const end = Date.now() + deadlineMs; ; await sleep(50)) {
    const running = new Set(all().map(({ pid }) => pid));
    const left = processes.filter(({ pid }) => running.has(pid));
    if (left.length === 0 || Date.now() > end) return left;
  }
}

/**
 * All of this machine that can be seen.
 *
 * @returns {Process[]} none on Windows
 */
export function all() {
  if (process.platform === 'win32') return [];
  if (process.platform === 'linux') return readdirSync('/proc').filter(Number).flatMap(fromProc);
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,rss=,stat=,args='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().match(/^(\d+) +(\d+) +(\d+) +(\S+) +(.*)$/) ?? [])
    .filter(([line, , , , state]) => line && !state.startsWith('Z'))
    .map(([, pid, parent, rss, , command]) => ({ pid: +pid, parent: +parent, rss: +rss, command }));
}

/** ps is no part of a small Linux image. */
function fromProc(pid) {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name) => status.match(new RegExp(`^${name}:\\s*(\\S+)`, 'm'))?.[1];
    if (field('State') === 'Z') return [];
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return [{ pid: Number(pid), parent: Number(field('PPid')), rss: Number(field('VmRSS')), command }];
  } catch {
    return []; // It has ended meanwhile.
  }
}
