// Rows about commands.

import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { kill } from '../../lib/sshd.mjs';
import { fits, mark } from '../speech.mjs';
import { isThere, running, until } from '../stage.mjs';

/** How long a stopped process may go on: INT, TERM and KILL take their time. */
const STOPPED_WITHIN_MS = 20_000;

const exec = {
  name: 'exec',
  async ours({ ours, speech }) {
    const { command, input, stdout, stderr, status } = speech.exec;
    const answer = await ours.exec(command, input === undefined ? {} : { stdin: input });
    const code = answer.outcome?.exitCode;
    return { ...answer, right: fits(stdout, answer.stdout) && fits(stderr, answer.stderr) && code === status };
  },
  async plain({ plain, speech }) {
    const { command, input, stdout, status } = speech.exec;
    return reference(await plain.ssh([command], { input }), stdout, status);
  },
};

const stdin = {
  name: 'stdin',
  async ours({ ours, speech }) {
    const { command, input, stdout } = speech.stdin(text());
    const answer = await ours.exec(command, { stdin: input });
    // What is too long for an answer is in a file.
    const { outputFile } = answer.outcome ?? {};
    const said = outputFile ? readFileSync(outputFile, 'utf8') : answer.stdout;
    return { ...answer, right: fits(stdout, said) && answer.outcome?.exitCode === 0 };
  },
  async plain({ plain, speech }) {
    const { command, input, stdout } = speech.stdin(text());
    return reference(await plain.ssh([command], { input }), stdout);
  },
};

const signal = {
  name: 'signal',
  async ours({ ours, speech }) {
    const { command, process } = speech.sleep(mark());
    const begun = await ours.exec(command, { background: true });
    const job = begun.outcome?.job;
    if (!job) return begun;
    if (!(await until(() => running(process).length > 0, 10_000))) return ended(ours, job, /^(?!)/, begun.stdout);
    const answer = await ours.call('ssh_job', { session: undefined, job, signal: 'INT' });
    const isGone = await stopped(process);
    // Some servers report no end of a command that a signal has ended.
    const { status, processGone } = answer.outcome ?? {};
    const isSaid = ['signaled', 'exited'].includes(status) || (status === 'cancelled' && processGone === true);
    return { ...answer, right: isGone && isSaid };
  },
  plain: stoppedByTerminal,
};

const timeout = {
  name: 'timeout',
  async ours({ ours, speech }) {
    const { command, process } = speech.sleep(mark());
    const answer = await ours.exec(command, { timeoutMs: 2_000 });
    const isGone = await stopped(process);
    return { ...answer, right: isGone && answer.outcome?.status === 'timedOut' };
  },
  plain: stoppedByTerminal,
};

const shell = {
  name: 'shell',
  async ours({ ours, speech }) {
    let answer;
    for (const [command, stdout] of speech.shell.steps) {
      answer = await ours.call('ssh_shell', { command });
      if (answer.stdout !== stdout || answer.outcome?.exitCode !== 0) return { ...answer, right: false };
    }
    return { ...answer, right: true };
  },
  async plain({ plain, speech }) {
    const { plain: program, steps } = speech.shell;
    const input = steps.map(([command]) => `${command}\n`).join('');
    return reference(await plain.ssh([program], { input }), steps.map(([, stdout]) => stdout).join(''));
  },
};

const background = {
  name: 'background',
  async ours({ ours, speech }) {
    const { command, stdout } = speech.slow;
    const begun = await ours.exec(command, { background: true });
    const job = begun.outcome?.job;
    if (!job) return begun;
    return ended(ours, job, stdout, begun.stdout);
  },
  async plain({ plain, speech }) {
    return reference(await plain.ssh([speech.slow.command]), speech.slow.stdout);
  },
};

const detach = {
  name: 'detach',
  async ours({ ours, stage, speech, folder, local }) {
    const file = `detached-${mark()}`;
    const { command, stdout } = speech.detached(`${folder}/${file}`);
    const begun = await ours.exec(command, { detach: true });
    const job = begun.outcome?.job;
    if (!job) return begun;
    // It lives on, and whoever comes back finds it.
    stage.link.cut();
    const wrote = await until(() => isThere(join(local, file)) && readFileSync(join(local, file), 'utf8') === 'two\n');
    const answer = await ended(ours, job, stdout, begun.stdout);
    return { ...answer, right: answer.right && wrote };
  },
  async plain({ plain, speech, folder, local }) {
    const file = `plain-${mark()}`;
    const { words } = await plain.ssh([speech.detached(`${folder}/${file}`).plain]);
    return { works: await until(() => isThere(join(local, file)), 5_000), words };
  },
};

const pty = {
  name: 'pty',
  async ours({ ours, speech }) {
    const { command, stdout } = speech.terminal;
    const answer = await ours.exec(command, { pty: true });
    // Some servers give no exit status to a command with a terminal.
    const ended = [0, null].includes(answer.outcome?.exitCode);
    return { ...answer, right: ended && fits(stdout, `${answer.stdout.trimEnd()}\n`) };
  },
  async plain({ plain, speech }) {
    const { command } = speech.terminal;
    const answer = await plain.ssh([command], { flags: ['-tt'] });
    return { works: answer.status === 0 && /terminal\r?\n/.test(answer.stdout), words: answer.words };
  },
};

export const commands = [exec, stdin, signal, shell, timeout, background, detach, pty];

/** Lines of random letters, some of more than one byte, longer than a packet. */
function text() {
  return Array.from({ length: 1_000 }, () => `${randomBytes(40).toString('base64')} äß€🚀\n`).join('');
}

function reference({ status, stdout, words }, expected, wanted = 0) {
  return { works: status === wanted && fits(expected, stdout.toString()), words };
}

/** Waits for the end of a job, which has to say this in all. */
async function ended(ours, job, stdout, said) {
  for (let all = said; ; ) {
    const answer = await ours.call('ssh_job', { session: undefined, job });
    all += answer.stdout;
    if (answer.isError) return answer;
    if (answer.outcome?.status === 'running') continue;
    return { ...answer, right: fits(stdout, all) && answer.outcome?.exitCode === 0, text: `${all}${answer.text}` };
  }
}

/** Whether a process ends. One that does not is killed, for it would be in the way. */
async function stopped(process) {
  const isGone = await until(() => running(process).length === 0, STOPPED_WITHIN_MS);
  running(process).forEach(kill);
  return isGone;
}

/** What a person does: Ctrl-C in a terminal. */
async function stoppedByTerminal({ plain, speech }) {
  const { command, process } = speech.sleep(mark());
  const child = plain.start([command], ['-tt']);
  let words = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (words += data));
  // ssh's own arguments have the command too.
  const begun = await until(() => running(process).length > 0, 5_000);
  await sleep(200);
  child.stdin.on('error', () => {}).write('\x03');
  const works = begun && (await until(() => running(process).length === 0, 5_000));
  child.kill('SIGKILL');
  running(process).forEach(kill);
  return { works, words };
}
