// Three words for an answer: right, refused, wrong.

/**
 * @typedef {object} Seen what a row saw of this program
 * @property {boolean} right the content is what it has to be
 * @property {string} text the answer, or what was there instead
 * @property {boolean} [isError] the call has failed
 *
 * @typedef {object} Reference what plain `ssh`, `sftp` or `scp` did
 * @property {boolean} works
 * @property {string} words theirs, or the host's
 */

/**
 * `refused` is an answer that nothing is wrong with: plain `ssh` cannot do it either, and the answer says so, in words of
 * the host or with a hint. What plain `ssh` can do, this program has to do.
 *
 * @param {Seen} seen
 * @param {() => Promise<Reference>} reference asked only where the answer is not right
 * @returns {Promise<{ word: 'right' | 'refused' | 'wrong', text: string }>}
 */
export async function judge(seen, reference) {
  if (seen.right) return { word: 'right', text: '' };
  const { works, words } = await reference();
  const text = oneLine(seen.text);
  if (works) return { word: 'wrong', text: `plain ssh can: ${text}` };
  if (isClear(seen, words)) return { word: 'refused', text };
  return { word: 'wrong', text: `not clear (plain ssh: ${oneLine(words)}): ${text}` };
}

function isClear({ text, isError }, words) {
  if (/no answer|may have run|panicked/i.test(text)) return false;
  if (isError && /^hint: \S/m.test(text)) return true;
  // The host does not end it, and it goes on as a job.
  if (/whether its processes are gone is not known|ssh_job continues/.test(text)) return true;
  // ssh's own lines say nothing that a user of this program has to hear.
  const said = words.split(/\r?\n/).map((line) => line.trim());
  const host = said.filter((line) => line.length > 3 && !/^(debug\d|Warning|Connection to|subsystem request|sftp>)/i.test(line));
  // The numbers are those of the marks, others each time.
  const plain = (one) => one.replaceAll(/\d{6}/g, 'N');
  return host.some((line) => plain(text).includes(plain(line.replace(/Connection to .*/, ''))));
}

export function oneLine(text) {
  const line = text.trim().replaceAll(/\s*\n\s*/g, ' ¶ ').replaceAll(/[^\x20-\u{10ffff}]/gu, '?');
  return line.length > 500 ? `${line.slice(0, 300)} … ${line.slice(-190)}` : line;
}
