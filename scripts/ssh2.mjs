// `node scripts/ssh2.mjs`: installs ssh2, an SSH server from npm that the tests run against, into `target/installed`, once.

import { pathToFileURL } from 'node:url';
import { installed } from './lib/installed.mjs';
import { fail } from './lib/repository.mjs';

const VERSION = '1.17.0';

export function installSsh2() {
  return installed('ssh2', { ssh2: VERSION });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  installSsh2().catch((error) => fail('ssh2', error));
}
