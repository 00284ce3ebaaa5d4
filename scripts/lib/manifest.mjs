// What Cargo.toml says of the package.

import { spawnSync } from 'node:child_process';
import { Stop, root } from './repository.mjs';

/**
 * `cargo metadata`: this package and all that it depends on, on whatever platform.
 *
 * @returns {{ package: object, packages: object[], resolve: object }} `package` is ours
 */
export function metadata() {
  const { status, stdout } = spawnSync('cargo', ['metadata', '--locked', '--format-version=1'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Stop('cargo metadata --locked failed; its own messages are above');
  const { packages, resolve } = JSON.parse(stdout);
  return { package: packages.find(({ id }) => id === resolve.root), packages, resolve };
}

/**
 * The name in the MCP registry, where GitHub proves who publishes.
 *
 * @param {{ name: string, repository: string }} of the package
 */
export function registryName({ name, repository }) {
  return `io.github.${new URL(repository).pathname.split('/')[1]}/${name}`;
}
