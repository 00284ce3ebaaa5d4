// The parts of the bench in which mcp-ssh-sessions stands alone or beside OpenSSH only.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { distant, loopback } from '../lib/lines.mjs';
import { commandLine, machine, versions, write } from '../lib/run.mjs';
import { forwardResults } from './forwards.mjs';
import { manyResults } from './many.mjs';
import { Ours } from './ours.mjs';
import { settingsResults } from './settings.mjs';
import { Stage } from './stage.mjs';
import {
  BEGIN_FORWARDS,
  BEGIN_MANY,
  BEGIN_SETTINGS,
  END,
  reportOfForwards,
  reportOfMany,
  reportOfSettings,
} from './table.mjs';

/**
 * @typedef {object} Run
 * @property {object} values the options
 * @property {object} sizes
 * @property {string} sshd
 * @property {string} scratch a folder of the part
 */

/** Forwarded ports. @param {Run} run */
export async function forwards({ values, sizes, sshd, scratch }) {
  const sections = [];
  const files = filesIn(scratch);
  for (const [title, open] of [
    ['loopback', loopback],
    ['40 ms', () => distant(40)],
  ]) {
    const line = await open();
    console.log(`\n── forwards, ${title}: ${line.how}`);
    const stage = new Stage(sshd, join(scratch, `line-${sections.length}`), line, files);
    const results = await forwardResults(stage, line, sizes, sections.length === 0);
    sections.push({ title, line, results });
    stage.close();
  }

  const how = `medians of ${sizes.forwardRounds} transfers of ${sizes.forwardMib} MiB, by turns`;
  publish(values, reportOfForwards(facts(values, 'forward', how), sections, sizes), BEGIN_FORWARDS);
}

/** Many hosts and many lines at once. @param {Run} run */
export async function many({ values, sizes, sshd, scratch }) {
  console.log('\n── many at once');
  const stage = new Stage(sshd, join(scratch, 'line'), await loopback(), filesIn(scratch));
  const found = await manyResults(stage, sizes);
  stage.close();

  const how = 'loopback; the hosts of a command are one sshd under many names, those of the upload one sshd each';
  publish(values, reportOfMany(facts(values, 'many', how), found), BEGIN_MANY);
}

/** What the settings cost. @param {Run} run */
export async function settings({ values, sizes, sshd, scratch }) {
  console.log('\n── settings, audit log and hook');
  const stage = new Stage(sshd, join(scratch, 'line'), await loopback(), filesIn(scratch));
  const found = await settingsResults(stage, sizes);
  stage.close();

  const how = `medians; commands one after the other, by turns: ${sizes.latency} rounds of ${sizes.batch}`;
  publish(values, reportOfSettings(facts(values, 'settings', how), found), BEGIN_SETTINGS);
}

function filesIn(scratch) {
  const files = join(scratch, 'files');
  mkdirSync(files);
  return files;
}

function facts(values, part, how) {
  return [
    `${new Date().toISOString().slice(0, 10)}, \`${commandLine('bench', values, ['quick', part, 'write'])}\``,
    `${versions(Ours.binary, values)}; ${machine()}`,
    how,
  ];
}

function publish(values, results, begin) {
  console.log(`\n${results}`);
  if (values.write) write(results, begin, END);
}
