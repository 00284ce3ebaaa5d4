// Tables and numbers in Markdown.

/**
 * @param {string[]} head
 * @param {string[][]} rows
 * @param {boolean} numbers in all columns but the first
 */
export function table(head, rows, numbers) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (numbers && column > 0 ? '--:' : '---'));
  return [head, rule, ...rows].map(line).join('\n');
}

export function factor(number) {
  return `${number < 10 ? number.toFixed(2) : round(number)} ×`;
}

export function time(ms) {
  return ms < 1000 ? `${round(ms)} ms` : `${round(ms / 1000)} s`;
}

export function megabytes(bytesPerSecond) {
  return `${round(bytesPerSecond / 1e6)} MB/s`;
}

export function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

/** To three digits. */
export function round(number) {
  return Number(number.toPrecision(3)).toLocaleString('en');
}
