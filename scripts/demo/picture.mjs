// A picture of the demo for the README: some of its calls with the answers that came back.

import { card, line } from '../lib/svg.mjs';

const WIDTH = 600;
const [SIZE, LINE] = [13, 18];
/** Between an answer and the next call. */
const GAP = 9;
/** Characters of this size that fit into a line, in the widest of the fonts. */
const COLUMNS = 70;
const [LEFT, TOP] = [20, 32];

/** What is shown, in this order. */
const SHOWN = [
  ({ tool, params }) => tool === 'ssh_connect' && params.host === 'demo',
  ({ tool, params }) => tool === 'ssh_shell' && params.command.includes('PORT=8080'),
  ({ tool, params }) => tool === 'ssh_shell' && params.command.includes('echo port $PORT'),
  ({ tool, params, isError }) => tool === 'ssh_edit' && !isError && params.newText,
  ({ tool, params }) => tool === 'ssh_shell' && params.timeoutMs,
  ({ tool, outcome }) => tool === 'ssh_exec' && outcome?.status === 'connectionLost',
  ({ tool, params }) => tool === 'ssh_shell' && params.command === 'pwd',
];

/** How a line begins that takes another colour. */
const PAINT = [
  [/^→/, 'accent'],
  [/^\+/, 'good'],
  [/^-/, 'bad'],
  [/^\[|^@@/, 'muted'],
];

/**
 * @param {{ tool: string, params: object, text: string }[]} calls what the agent did, with the results
 * @param {string} home the folder of the remote account, which is shown as ~
 * @returns {string} the SVG file
 */
export function picture(calls, home) {
  const body = [];
  let y = TOP;
  for (const wanted of SHOWN) {
    for (const text of linesOf(calls.find(wanted), home)) {
      const paint = PAINT.find(([form]) => form.test(text))?.[1] ?? 'text';
      for (const part of wrap(text)) {
        body.push(line(LEFT, y, SIZE, paint, part));
        y += LINE;
      }
    }
    y += GAP;
  }
  return card({
    width: WIDTH,
    height: y - GAP + 2,
    title: 'An agent connects, works in a shell that remembers, edits a file, and goes on after a lost connection',
    isCode: true,
    body,
  });
}

/** The call and its answer, in which equal lines that follow each other are shown once. */
function linesOf({ tool, params, text }, home) {
  const given = Object.entries(params).filter(([name]) => name !== 'session');
  const call = `→ ${tool}(${given.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join(', ')})`;
  const answer = text.replaceAll(home, '~').trimEnd().split('\n');
  return [call, ...answer.filter((each, index) => each !== answer[index - 1])];
}

/** Breaks a line between words; what follows is set in. */
function wrap(text) {
  if (text.length <= COLUMNS) return [text];
  const end = text.lastIndexOf(' ', COLUMNS);
  const at = end > 4 ? end : COLUMNS;
  return [text.slice(0, at), ...wrap(`    ${text.slice(at).trimStart()}`)];
}
