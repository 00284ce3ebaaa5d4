// A link that can be cut: a proxy on 127.0.0.1 that carries what it is given, until all of it breaks at once.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** How long before a call a cut may have been that it meets: the news of it is on its way. */
const NEWS_MS = 5_000;

export class Link {
  /** How often it was cut. */
  cuts = 0;

  #lastCut = -Infinity;
  #sockets = new Set();

  /** Carries what comes to a new port on to this one, and resolves to the new one. */
  async to(port) {
    const server = createServer({ noDelay: true }, (near) => {
      const far = connect({ port, host: '127.0.0.1', noDelay: true });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ]) {
        this.#sockets.add(one);
        one.on('error', () => {}).on('close', () => (this.#sockets.delete(one), other.destroy()));
        one.pipe(other);
      }
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return server.address().port;
  }

  /** Every second time with a reset, which ends both sides at once; else with an orderly end. */
  cut() {
    this.#lastCut = Date.now();
    const way = ++this.cuts % 2 === 0 ? 'destroy' : 'resetAndDestroy';
    for (const socket of this.#sockets) socket[way]();
  }

  /** Whether what began then may have met a cut. */
  wasCutSince(begin) {
    return this.#lastCut > begin - NEWS_MS;
  }
}
