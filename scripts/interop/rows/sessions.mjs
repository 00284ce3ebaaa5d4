// Rows about the session itself.

import { fits } from '../speech.mjs';

const connect = {
  name: 'connect',
  async ours({ ours }) {
    const answer = await ours.call('ssh_connect');
    return { ...answer, right: !answer.isError && answer.text.startsWith(`${ours.host}: connected · `) };
  },
  // Without that there is no column.
  plain: async () => ({ works: true, words: '' }),
};

/** The link breaks, and the next call has to work as if nothing had been; then a new log-in. */
const reconnect = {
  name: 'reconnect',
  async ours(host) {
    host.stage.link.cut();
    const after = await usable(host);
    if (!after.right) return after;
    const fresh = await host.ours.call('ssh_reconnect', { fresh: true });
    return fresh.isError ? { ...fresh, right: false } : usable(host);
  },
  plain: connect.plain,
};

/** A report that says of commands and of SFTP what plain `ssh` and `sftp` say. */
const doctor = {
  name: 'doctor',
  async ours(host) {
    const { text, report } = await host.ours.doctor();
    if (!report) return { right: false, isError: true, text };
    const works = (name) => report.stages.some(({ stage, outcome }) => stage === name && outcome === 'passed');
    // Some servers leave sftp waiting for their end.
    const { stdout } = await host.plain.sftp(['pwd']);
    const sftp = stdout.includes('Remote working directory: ');
    const exec = await host.execWorks();
    const wrong = [
      !report.connects && 'it says that the host does not connect',
      works('sftp') !== sftp && `sftp ${sftp ? 'works' : 'does not work'}`,
      works('channel') && !exec && !sftp && 'no channel is of use',
    ].filter(Boolean);
    const said = report.stages.map(({ stage, outcome, summary }) => `${stage} ${outcome}: ${summary}`).join('\n');
    return { right: wrong.length === 0, text: `${wrong.join(', ')}; the report:\n${report.verdict}\n${said}` };
  },
  plain: connect.plain,
};

/** Runs the simplest command, or where there are none looks at a folder. */
async function usable({ ours, speech, execWorks, folder }) {
  if (!(await execWorks())) {
    const answer = await ours.call('ssh_read', { path: folder });
    return { ...answer, right: !answer.isError && answer.text.includes('reached') };
  }
  const { command, input, stdout } = speech.exec;
  const answer = await ours.exec(command, input === undefined ? {} : { stdin: input });
  return { ...answer, right: fits(stdout, answer.stdout) };
}

export const sessions = { connect, reconnect, doctor };
