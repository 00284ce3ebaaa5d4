// Pictures for the README and the manual: a card with colours for light and dark pages. It has its own background, because
// a picture in a page only learns which colours the person prefers, not which ones the page has.

const COLOURS = {
  card: ['#ffffff', '#0d1117'],
  edge: ['#d1d9e0', '#3d444d'],
  text: ['#1f2328', '#f0f6fc'],
  muted: ['#59636e', '#9198a1'],
  accent: ['#0969da', '#4493f8'],
  bar: ['#c8d1da', '#3d444d'],
  good: ['#1a7f37', '#3fb950'],
  bad: ['#d1242f', '#f85149'],
};

const SANS = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif";
const MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

/**
 * @param {object} picture
 * @param {number} picture.width in pixels
 * @param {number} picture.height in pixels
 * @param {string} picture.title what it shows, for those who do not see it
 * @param {boolean} [picture.isCode] in a font of equal widths
 * @param {string[]} picture.body elements, whose classes are names of colours
 * @returns {string} the SVG file
 */
export function card({ width, height, title, isCode = false, body }) {
  const fills = (scheme) => Object.entries(COLOURS).map(([name, pair]) => `.${name}{fill:${pair[scheme]}}`);
  const edge = (scheme) => `.card{stroke:${COLOURS.edge[scheme]}}`;
  const font = `text{font-family:${isCode ? MONO : SANS};white-space:pre}.strong{font-weight:600}`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${[font, ...fills(0), edge(0)].join('')}@media(prefers-color-scheme:dark){${[...fills(1), edge(1)].join('')}}</style>`,
    `<rect class="card" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    ...body,
    '</svg>',
  ].join('\n')}\n`;
}

/**
 * A line of text.
 *
 * @param {number} x
 * @param {number} y of the base line
 * @param {number} size of the font in pixels
 * @param {string} classes
 * @param {string} content
 * @param {'start' | 'end'} [anchor] which end of the text is at `x`
 */
export function line(x, y, size, classes, content, anchor = 'start') {
  const end = anchor === 'end' ? ' text-anchor="end"' : '';
  return `<text x="${x}" y="${y}" font-size="${size}" class="${classes}"${end}>${escape(content)}</text>`;
}

/** @param {string} text */
export function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
