// `npm run demo`: the built program, driven as an agent drives it, against an SSH server that lives only as long as the
// demo. Everything is in one temporary folder; nobody's ~/.ssh is read or written.
//
//   node scripts/demo.mjs                   the demo
//   node scripts/demo.mjs --picture FILE    also draws an SVG of some of its calls, as docs/pictures/agent.svg

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { buildForDevelopment, needCargo } from './lib/cargo.mjs';
import { needProgram } from './lib/programs.mjs';
import { fail, seconds } from './lib/repository.mjs';
import { Stage } from './demo/stage.mjs';
import { picture } from './demo/picture.mjs';
import * as screen from './demo/screen.mjs';
import { story } from './demo/story.mjs';

const stage = new Stage();
let interrupted = false;

// Ctrl-C, `kill` and a closed terminal: clean up, then end with the status that a shell gives for the signal.
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
]) {
  process.on(signal, () => {
    interrupted = true;
    console.error('\ndemo: interrupted');
    stage.close().finally(() => process.exit(128 + number));
  });
}
// Whatever else ends this process.
process.on('exit', () => stage.abandon());

try {
  const { values } = parseArgs({ options: { picture: { type: 'string' } } });
  needCargo();
  needProgram('ssh', 'openssh-client');
  screen.prologue();
  const { program, sshd } = buildForDevelopment();
  const start = Date.now();
  await stage.open(sshd, program);
  const calls = await story(stage);
  if (values.picture) writeFileSync(values.picture, picture(calls, stage.path('remote', 'home')));
  await stage.close();
  screen.epilogue(seconds(Date.now() - start), stage.remains());
} catch (error) {
  await stage.close();
  // The signal's handler ends the process; that the story broke off is its doing.
  if (!interrupted) {
    screen.complain(stage.log());
    fail('demo', error);
  }
}
