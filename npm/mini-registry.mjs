// A read-only npm registry over a folder of .tgz files: on 127.0.0.1, without dependencies, with a log of requests.
//
//   node npm/mini-registry.mjs FOLDER [PORT]

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Serves the packages in `folder`.
 *
 * @param {string} folder
 * @param {{ port?: number, log?: (request: string) => void }} options port 0: any free one
 * @returns {Promise<{ url: string, close: () => void }>} without a final slash
 */
export async function serve(folder, { port = 0, log = () => {} } = {}) {
  const answers = new Map();
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url.split('?')[0]);
    log(`${request.method} ${path}`);
    const answer = answers.get(path);
    const type = Buffer.isBuffer(answer) ? 'application/octet-stream' : 'application/json';
    response.writeHead(answer ? 200 : 404, { 'content-type': type });
    response.end(Buffer.isBuffer(answer) ? answer : JSON.stringify(answer ?? { error: 'not found' }));
  });
  await new Promise((resolve, reject) => server.on('error', reject).listen(port, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  for (const file of readdirSync(folder)) {
    if (file.endsWith('.tgz')) addPackage(answers, url, folder, file);
  }
  const close = () => {
    server.close();
    server.closeAllConnections?.();
  };
  return { url, close };
}

function addPackage(answers, url, folder, file) {
  const bytes = readFileSync(join(folder, file));
  const manifest = JSON.parse(execFileSync('tar', ['-xzOf', file, 'package/package.json'], { cwd: folder }));
  const { name, version } = manifest;
  const document = answers.get(`/${name}`) ?? { name, 'dist-tags': {}, versions: {}, time: {} };
  const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
  const shasum = createHash('sha1').update(bytes).digest('hex');
  const path = `/${name}/-/${file}`;
  document.versions[version] = { ...manifest, dist: { tarball: url + path, integrity, shasum } };
  document['dist-tags'].latest = version;
  // Some clients do not take what was published only just now.
  document.time[version] = '2020-01-01T00:00:00.000Z';
  answers.set(`/${name}`, document).set(path, bytes);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, port = '0'] = process.argv.slice(2);
  if (!folder) {
    console.error('usage: node npm/mini-registry.mjs FOLDER [PORT]');
    process.exit(2);
  }
  const { url } = await serve(folder, { port: Number(port), log: (request) => console.log(request) });
  console.log(`serving at ${url}`);
}
