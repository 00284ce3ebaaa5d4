// What a script leaves behind: nothing.

import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { tree } from '../../npm/processes.mjs';

/**
 * A temporary folder. When this process ends, by a signal too, all that it has started is killed and the folder removed.
 *
 * @param {string} name what the folder is for
 * @returns {string} its path
 */
export function scratchFolder(name) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), `mcp-ssh-sessions-${name}-`)));
  process.on('exit', () => {
    for (const { pid } of tree(process.pid).slice(1)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {} // It has ended meanwhile.
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  }
  return folder;
}
