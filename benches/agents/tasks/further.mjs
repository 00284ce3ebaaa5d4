// Further tasks, which are rarer or harder.

import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quote } from '../sets/shell.mjs';
import { PASSWORD } from '../world.mjs';
import { ended, lacks } from './checks.mjs';

const EDIT_SECRET = "sed -i 's/old/new/' app/secret.conf";
const CHANGE = { from: 'option_77 = 532', to: 'option_77 = 99' };
const EDIT_CRLF = "sed -i 's/^mode=slow/mode=fast/' app/legacy.ini && grep -n '^mode' app/legacy.ini";

export const further = [
  {
    id: 'find-edit',
    title: 'find, change and check one line of 240',
    prepare: (world) => {
      world.before = world.read('web', 'app/app.conf');
    },
    plans: {
      any: async (agent, set) => {
        await set.run(agent, 'web', "grep -n 'option_77' app/app.conf");
        const change = `sed -i 's/^${CHANGE.from}$/${CHANGE.to}/' app/app.conf`;
        return set.run(agent, 'web', `${change} && grep -n -C 2 'option_77' app/app.conf`);
      },
      ours: async (agent, set, world) => {
        if (!set.has('ssh_edit') || !set.has('ssh_search')) return planOfAny('find-edit', agent, set);
        const [path, session] = [world.at('web', 'app/app.conf'), await set.on(agent, 'web')];
        await agent.call('ssh_search', { pattern: 'option_77', path, ...session });
        return agent.call('ssh_edit', { path, oldText: CHANGE.from, newText: CHANGE.to, ...session });
      },
    },
    check: (world, results) => {
      const wanted = world.before.replace(`${CHANGE.from}\n`, `${CHANGE.to}\n`);
      if (wanted === world.before || world.read('web', 'app/app.conf') !== wanted) return 'the file is not as wanted';
      return lacks(results, CHANGE.from, CHANGE.to);
    },
  },
  {
    id: 'root',
    title: 'change a file that only root may write',
    plans: {
      any: (agent, set) => set.run(agent, 'web', `sudo -n ${EDIT_SECRET}`),
      ours: async (agent, set, world) => {
        const session = await set.on(agent, 'web');
        if (!set.has('ssh_edit')) return agent.call('ssh_exec', { command: EDIT_SECRET, sudo: true, ...session });
        const edit = { path: world.at('web', 'app/secret.conf'), oldText: 'token=old', newText: 'token=new', sudo: true };
        return agent.call('ssh_edit', { ...edit, ...session });
      },
    },
    check: (world) => {
      const mode = statSync(world.at('web', 'app/secret.conf')).mode & 0o777;
      if (mode !== 0o600) return `its mode is ${mode.toString(8)}`;
      return world.read('web', 'app/secret.conf') === 'token=new\n' ? undefined : 'it has not changed';
    },
  },
  {
    id: 'crlf',
    title: 'change a line of a file with CRLF',
    plans: {
      any: (agent, set) => set.run(agent, 'web', EDIT_CRLF),
      ours: async (agent, set, world) => {
        if (!set.has('ssh_edit')) return set.run(agent, 'web', EDIT_CRLF);
        const edit = { path: world.at('web', 'app/legacy.ini'), oldText: 'mode=slow', newText: 'mode=fast' };
        return agent.call('ssh_edit', { ...edit, ...(await set.on(agent, 'web')) });
      },
    },
    check: (world) => (world.read('web', 'app/legacy.ini') === '[main]\r\nmode=fast\r\nlimit=10\r\n' ? undefined : 'the file differs'),
  },
  {
    id: 'restart',
    title: 'restart a service, and see that it runs',
    plans: { any: (agent, set) => set.run(agent, 'web', 'sudo -n systemctl restart app && systemctl is-active app') },
    check: (world, results) => lacks(results, 'active') ?? (world.read('web', 'service.log') === 'restart\n' ? undefined : 'not restarted once'),
  },
  {
    id: 'compare',
    title: 'compare a tree with its copy',
    // One file is other on the host, and one more is there.
    prepare: (world) => {
      const near = join(world.project, 'site', 'page0', 'file0.html');
      writeFileSync(near, '<p>changed</p>\n');
    },
    plans: {
      any: compare,
      ssh: (agent) =>
        agent.call('Bash', {
          command: `diff <(cd site && find . -type f -exec sha256sum {} + | sort) <(ssh web 'cd site && find . -type f -exec sha256sum {} + | sort')`,
        }),
    },
    check: (_, results) => lacks(results, 'page0/file0.html'),
  },
  {
    id: 'unknown-host',
    title: 'an unknown host, whose fingerprint the person knows',
    plans: {
      any: (agent, set) => set.run(agent, 'stray', 'cat hostname'),
      ours: async (agent, set) => {
        await agent.call('ssh_connect', { host: 'stray' });
        return agent.call('ssh_exec', { command: 'cat hostname', session: 'stray' });
      },
      ssh: (agent, _, world) => agent.call('Bash', { command: `${trust(world)} && ssh stray 'cat hostname'` }),
      // It refuses unknown keys, and has no tool that learns one.
      'portal-mcp-server': async (agent, set, world) => {
        await agent.call('Bash', { command: trust(world) });
        return set.run(agent, 'stray', 'cat hostname');
      },
    },
    check: (world, results) => {
      const key = readFileSync(world.at('stray', 'host_key.pub'), 'utf8').split(' ')[1];
      if (!results.includes('stray')) return 'no answer of the host';
      return readFileSync(world.knownHosts, 'utf8').includes(key) ? undefined : 'trusted without a question';
    },
  },
  {
    id: 'prompt',
    title: 'a program that asks for a password at the terminal',
    plans: {
      ours: async (agent, set) => {
        const begun = await agent.call('ssh_exec', { command: 'dbtool', pty: true, waitMs: 2000, ...(await set.on(agent, 'web')) });
        const job = begun.meta?.['mcp-ssh-sessions/outcome']?.job;
        return agent.call('ssh_job', { job, input: `${PASSWORD}\n` });
      },
      ssh: (agent) => agent.call('Bash', { command: `(sleep 1; echo ${PASSWORD}) | ssh -tt web dbtool` }),
      'mcp-ssh-gateway': async (agent, set) => {
        const { text } = await set.run(agent, 'web', 'dbtool');
        const session = JSON.parse(text).session_id;
        return agent.call('signal', { session_id: session, action: 'stdin', text: PASSWORD });
      },
      peer: (agent, set) => set.run(agent, 'web', `(sleep 1; echo ${PASSWORD}) | script -qec dbtool /dev/null`),
    },
    check: (_, results) => lacks(results, 'rows: 42'),
  },
  {
    id: 'follow',
    title: 'follow a log for a minute',
    slow: true,
    plans: {
      any: (agent, set, world) => set.run(agent, 'web', follow(world)),
      ours: async (agent, set, world) => {
        const session = await set.on(agent, 'web');
        const command = `app/live & tail -f app/live.log`;
        const timeoutMs = world.slowSeconds * 1000 + 1000;
        return set.toEnd(agent, await agent.call('ssh_exec', { command, timeoutMs, ...session }));
      },
    },
    check: (_, results) => ended(results, 'event 10'),
  },
];

function planOfAny(id, agent, set) {
  return further.find((task) => task.id === id).plans.any(agent, set);
}

/** Starts what writes the log, and follows it until that has ended. */
function follow({ slowSeconds }) {
  return `app/live & timeout ${slowSeconds + 1} tail -f app/live.log`;
}

/** A command that learns the key of the unknown host if it has the fingerprint that the person knows. */
function trust(world) {
  const { address, port } = world.hosts.stray;
  const file = join(world.home, 'key');
  const scan = `ssh-keyscan -t ed25519 -p ${port} ${address} 2>/dev/null > ${file}`;
  const matches = `ssh-keygen -lf ${file} | grep -qF ${quote(world.fingerprint('stray'))}`;
  return `${scan} && ${matches} && cat ${file} >> ${world.knownHosts}`;
}

/** Brings the sums of the near side to the host, which says what differs; an agent has its own shell, too. */
async function compare(agent, set) {
  await agent.call('Bash', { command: '(cd site && find . -type f -exec sha256sum {} +) > sums' });
  await set.upload(agent, 'web', 'sums', 'sums');
  return set.run(agent, 'web', '(cd site && sha256sum -c --quiet ../sums)');
}
