// The thirteen tasks that an agent meets every day.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { running } from '../sets/ours.mjs';
import { KNOWN, settings } from '../world.mjs';
import { ended, filesIn, lacks } from './checks.mjs';

const ENV_FILE = `# it's "quoted"\nGREETING='hello $USER'\nPATH_TO="/opt/a b"\n`;

export const everyday = [
  {
    id: 'service',
    title: 'look at a service and its log',
    plans: { any: (agent, set) => set.run(agent, 'web', 'systemctl status app') },
    check: (_, results) => lacks(results, 'active', 'GET /item/59'),
  },
  {
    id: 'read',
    title: 'read lines 110 to 130 of a file',
    plans: {
      any: (agent, set) => set.run(agent, 'web', "sed -n '110,130p' app/app.conf"),
      ours: async (agent, set, world) =>
        set.has('ssh_read')
          ? agent.call('ssh_read', { path: world.at('web', 'app/app.conf'), offset: 110, limit: 21, ...(await set.on(agent, 'web')) })
          : set.run(agent, 'web', "sed -n '110,130p' app/app.conf"),
    },
    check: (_, results) => lacks(results, 'workers = 4', 'option_130'),
  },
  {
    id: 'edit',
    title: 'change one line of a file of 240 lines',
    plans: {
      any: (agent, set) => set.run(agent, 'web', "sed -i 's/^workers = 4$/workers = 8/' app/app.conf && grep -n '^workers' app/app.conf"),
      ours: async (agent, set, world) => {
        if (!set.has('ssh_edit')) return planOfAny('edit', agent, set);
        const edit = { path: world.at('web', 'app/app.conf'), oldText: 'workers = 4', newText: 'workers = 8' };
        return agent.call('ssh_edit', { ...edit, ...(await set.on(agent, 'web')) });
      },
    },
    check: (world) => {
      const wanted = settings('\n').replace('workers = 4\n', 'workers = 8\n');
      return world.read('web', 'app/app.conf') === wanted ? undefined : 'the file is not as wanted';
    },
  },
  {
    id: 'write',
    title: 'write a new file with quotes and $',
    plans: {
      any: (agent, set) => set.run(agent, 'web', `cat > app/.env <<'EOF'\n${ENV_FILE}EOF`),
      'ssh-mcp': (agent, _, world) =>
        agent.call('sftp-upload', { remotePath: world.at('web', 'app/.env'), content: ENV_FILE }),
      ours: async (agent, set, world) => {
        const session = await set.on(agent, 'web');
        if (set.has('ssh_edit')) return agent.call('ssh_edit', { path: world.at('web', 'app/.env'), content: ENV_FILE, ...session });
        return agent.call('ssh_exec', { command: 'cat > app/.env', stdin: ENV_FILE, ...session });
      },
    },
    check: (world) => (world.read('web', 'app/.env') === ENV_FILE ? undefined : 'the file differs'),
  },
  {
    id: 'search',
    title: 'find a word in a tree',
    plans: {
      any: (agent, set) => set.run(agent, 'web', 'grep -rn FIXME app/src'),
      ours: async (agent, set, world) =>
        set.has('ssh_search')
          ? agent.call('ssh_search', { pattern: 'FIXME', path: world.at('web', 'app/src'), ...(await set.on(agent, 'web')) })
          : planOfAny('search', agent, set),
    },
    check: (_, results) => lacks(results, 'part7.py', 'FIXME'),
  },
  {
    id: 'state',
    title: 'work in a directory with a variable, three steps',
    plans: {
      any: async (agent, set) => {
        const enter = 'cd app/src && export MODE=test';
        await set.run(agent, 'web', `${enter} && echo $MODE > mode.txt`);
        await set.run(agent, 'web', `${enter} && cp part1.py part99.py`);
        return set.run(agent, 'web', `${enter} && echo $MODE:$(ls *.py | wc -l)`);
      },
      // Every command runs in the same shell, which goes back to the home in the end.
      'mcp-ssh-gateway': async (agent, set) => {
        await set.run(agent, 'web', 'cd app/src && export MODE=test && echo $MODE > mode.txt');
        await set.run(agent, 'web', 'cp part1.py part99.py');
        return set.run(agent, 'web', 'echo $MODE:$(ls *.py | wc -l); cd ~');
      },
      ours: async (agent, set) => {
        const session = await set.on(agent, 'web');
        const shell = (command) => agent.call('ssh_shell', { command, ...session });
        await shell('cd app/src && export MODE=test && echo $MODE > mode.txt');
        await shell('cp part1.py part99.py');
        return shell('echo $MODE:$(ls *.py | wc -l)');
      },
    },
    check: (world, results) => lacks(results, 'test:13') ?? (world.read('web', 'app/src/mode.txt') === 'test\n' ? undefined : 'mode.txt'),
  },
  {
    id: 'failure',
    title: 'run tests that fail, and say why',
    plans: { any: (agent, set) => set.run(agent, 'web', 'app/test') },
    check: (_, results) => lacks(results, 'expected 200, got 500', '3'),
  },
  {
    id: 'output',
    title: 'find the end of 5,000 lines of output',
    plans: {
      any: (agent, set) => set.run(agent, 'web', 'app/report | tail -n 1'),
    },
    check: (_, results) => lacks(results, 'total: 12497500'),
  },
  {
    id: 'fan-out',
    title: 'the same question to three hosts',
    plans: { any: (agent, set) => set.everywhere(agent, KNOWN, 'cat hostname') },
    check: (_, results) => lacks(results, ...KNOWN),
  },
  {
    id: 'upload',
    title: 'upload a tree of 20 files',
    plans: {
      any: (agent, set) => set.upload(agent, 'web', 'site', 'site'),
    },
    check: (world) => {
      const near = digest(join(world.project, 'site'));
      const far = world.at('web', 'site');
      return existsSync(far) && digest(far) === near ? undefined : 'the tree differs';
    },
  },
  {
    id: 'download',
    title: 'download a file',
    plans: { any: (agent, set) => set.download(agent, 'db', 'dump.sql', 'dump.sql') },
    check: (world) => {
      const file = join(world.project, 'dump.sql');
      return existsSync(file) && readFileSync(file, 'utf8') === world.read('db', 'dump.sql') ? undefined : 'the file differs';
    },
  },
  {
    id: 'hang',
    title: 'stop a command that hangs, after 2 seconds',
    plans: { any: (agent, set) => set.run(agent, 'web', 'app/hang', { timeoutMs: 2000 }) },
    check: (world, results) => lacks(results, 'begun') ?? (world.processes().some(({ command }) => command === 'sleep 987654') ? 'it still runs' : undefined),
  },
  {
    id: 'build',
    title: 'a build that takes longer than one wait',
    slow: true,
    plans: {
      any: (agent, set) => set.run(agent, 'web', 'app/build'),
      ours: async (agent, set, world) => {
        // A full run is longer than the default wait; a quick one shortens the wait, too.
        const wait = world.slowSeconds > 45 ? {} : { waitMs: world.slowSeconds * 900 };
        const begun = await agent.call('ssh_exec', { command: 'app/build', ...wait, ...(await set.on(agent, 'web')) });
        return running(begun) ? set.toEnd(agent, begun) : begun;
      },
    },
    check: (_, results) => ended(results, 'BUILD OK'),
  },
];

function planOfAny(id, agent, set) {
  return everyday.find((task) => task.id === id).plans.any(agent, set);
}

/** Names and contents of a tree. */
function digest(folder) {
  const hash = createHash('sha256');
  for (const path of filesIn(folder)) hash.update(`${path}\0`).update(readFileSync(join(folder, path)));
  return hash.digest('hex');
}
