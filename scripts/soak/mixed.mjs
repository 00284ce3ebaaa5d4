// The mixed load: all that clients can ask of the shared daemon, for so many minutes, over a link that breaks all the time.

import { mkdirSync, readdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { all } from '../../npm/processes.mjs';
import { privateEnv } from '../lib/daemon.mjs';
import { initialize } from '../lib/mcp/handshake.mjs';
import { Legacy, Sessionful, Stateless } from '../lib/mcp/http.mjs';
import { Client } from '../lib/mcp/stdio.mjs';
import { Stop } from '../lib/repository.mjs';
import { kill, startSshd } from '../lib/sshd.mjs';
import { Calls, answered } from './calls.mjs';
import { Gauge } from './gauge.mjs';
import { Link } from './link.mjs';
import { cancel, exec, jobs, look, sessions, shell, transfer, visit } from './work.mjs';

const CUT_EVERY_MS = 20_000;
const SAMPLE_EVERY_MS = 5_000;
/**
 * More clients that go without a word than the daemon keeps the HTTP sessions of, with what was answered there last; so
 * that those that come later are no growth.
 */
const DESERTERS = 300;

/** What is done at once, and by which clients: 0 with `--shared` and over stdio, others over HTTP. */
const LOAD = [
  [exec, 0],
  [exec, 2],
  [exec, 3],
  [shell, 1],
  [shell, 0],
  [transfer, 0],
  [transfer, 2],
  [jobs, 3],
  [jobs, 0],
  [sessions, 2],
  [cancel, 0],
  [visit],
  [visit],
];

/**
 * @param {string} binary the program
 * @param {string} sshdProgram
 * @param {string} scratch a folder
 * @param {number} minutes
 */
export async function mixed(binary, sshdProgram, scratch, minutes) {
  const stage = await Stage.set(binary, sshdProgram, scratch);
  const { calls, link } = stage;
  let isOver = false;
  const cutting = setInterval(() => link.cut(), CUT_EVERY_MS);
  const failed = [];
  const workers = LOAD.map(async ([work, kind], number) => {
    const client = kind === undefined ? undefined : await stage.newClient(kind);
    while (!isOver) await work({ ...stage, client, leave: stage.leave }, number);
    if (client) await stage.leave(client, true);
  });
  const broken = Promise.all(workers).catch((error) => failed.push(error));
  for (let minute = 1; minute <= minutes && failed.length === 0; minute++) {
    for (const end = Date.now() + 60_000; Date.now() < end && failed.length === 0; await sleep(SAMPLE_EVERY_MS)) {
      await stage.gauge.sample();
    }
    console.log(`${minute}: ${stage.gauge.minute(stage.counts())}`);
  }
  isOver = true;
  await answered(broken, 'the last calls');
  clearInterval(cutting);
  console.log(`\n${stage.gauge.table(['right', 'cut', 'cancelled', 'wrong', 'cuts'])}\n`);
  console.log(calls.compare());
  const left = [stage.local, stage.remote].flatMap((folder) => readdirSync(folder)).filter((name) => !OURS.test(name));
  console.log(`left in the folders of the transfers: ${left.join(', ') || 'nothing'}`);
  if (failed.length > 0) throw failed[0];
  if (calls.wrong.length > 0) throw new Stop(`${calls.wrong.length} answers are wrong, the first: ${calls.wrong[0]}`);
  const growth = stage.gauge.growth();
  if (growth.length > 0) throw new Stop(`not flat: ${growth.join('; ')}`);
  console.log(`flat: in the last third no median is above that of the second third by more than is allowed`);
}

/** What the workers put there. */
const OURS = /^(from|there|back|shell)-\d+(-folder)?$/;

class Stage {
  static async set(binary, sshdProgram, scratch) {
    const folder = (name) => (mkdirSync(join(scratch, name), { mode: 0o700 }), join(scratch, name));
    const link = new Link();
    const remoteHome = join(scratch, 'sshd');
    const sshd = await startSshd(sshdProgram, remoteHome, { host: 'soak', reach: (port) => link.to(port) });
    const runtime = folder('run');
    const env = { ...privateEnv(join(scratch, 'home')), MCP_SSH_CONFIG: sshd.sshConfig, XDG_RUNTIME_DIR: runtime };
    const [local, remote] = [folder('local'), folder('remote')];
    const stage = new Stage();
    const calls = new Calls(link, join(scratch, 'ran'));
    Object.assign(stage, { binary, env, link, remoteHome, local, remote, calls });
    stage.newClient = stage.newClient.bind(stage);
    const first = await stage.newClient(0);
    const place = join(runtime, 'mcp-ssh-sessions');
    stage.socket = join(place, readdirSync(place).find((name) => name.endsWith('.sock')));
    const pid = all().find(({ command }) => command.includes(`${scratch}/`) && command.endsWith('shared-daemon --serve'))?.pid;
    if (!pid) throw new Stop('the shared daemon is not to be found');
    process.on('exit', () => kill(pid));
    stage.gauge = new Gauge(pid, sshd, remoteHome, () => statusAt(stage.socket));
    for (const name of ['exec', 'shells', 'files', 'jobs']) await calls.insist(first, 'ssh_connect', { host: 'soak', name });
    await stage.leave(first, true);
    for (let number = 0; number < DESERTERS; number++) await stage.leave(await look(stage, 2), false);
    return stage;
  }

  /** @param {number} kind 0: `--shared`; 1 to 3: the dialects of HTTP */
  async newClient(kind) {
    if (kind > 0) {
      const client = new [Legacy, Sessionful, Stateless][kind - 1]('http://localhost/mcp', this.socket);
      await answered(client.open(), 'the first request');
      return client;
    }
    const client = new Client(this.binary, ['--shared'], this.env);
    await answered(initialize(client), 'initialize');
    return client;
  }

  /** Politely, or as a crash does. */
  async leave(client, politely) {
    if (!(client instanceof Client)) return client.leave(politely);
    if (!politely) return client.kill();
    const { code } = await client.close();
    if (code !== 0) throw new Stop(`a front has ended with status ${code}: ${client.log}`);
  }

  counts() {
    const { right, cut, cancelled } = this.calls.counts;
    return [right, cut, cancelled, this.calls.wrong.length, this.link.cuts];
  }
}

async function statusAt(socketPath) {
  const asking = new Promise((resolve, reject) => {
    const sent = request('http://localhost/status', { socketPath }, resolve);
    sent.on('error', reject).end();
  });
  const response = await answered(asking, 'GET /status');
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return JSON.parse(text);
}
