// A proxy on 127.0.0.1 that delays what it carries: the line where network namespaces are not to be had.
//
//   node proxy.mjs PORT MILLISECONDS     prints its own port; each way takes so long

import { Socket, createServer } from 'node:net';

/**
 * A connection has no more under way than this. Linux allows one that carries much about as much, by its default
 * buffers; without a limit one connection were as good as several.
 */
const WINDOW = 2.5 * 2 ** 20;

const [port, delay] = process.argv.slice(2).map(Number);

createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (near) => {
  const far = new Socket({ allowHalfOpen: true });
  far.setNoDelay();
  for (const [one, other] of [
    [near, far],
    [far, near],
  ]) {
    one.on('error', () => {}).on('close', () => other.destroy());
    carry(one, other);
  }
  // As TCP itself: the client may send when the first answer is there, after two ways, and the server after three.
  near.pause();
  const later = delayed();
  later(() => later(() => (near.resume(), later(() => far.connect(port, '127.0.0.1')))));
}).listen(0, '127.0.0.1', function () {
  console.log(this.address().port);
});

function carry(from, to) {
  const [arrives, confirmed] = [delayed(), delayed()];
  let underWay = 0;
  from.on('data', (chunk) => {
    underWay += chunk.length;
    if (underWay >= WINDOW) from.pause();
    const done = () => {
      underWay -= chunk.length;
      if (underWay < WINDOW) from.resume();
    };
    arrives(() => to.write(chunk, () => confirmed(done)));
  });
  from.on('end', () => arrives(() => to.end()));
}

/** Runs what it is given so much later, in that order, with one timer. */
function delayed() {
  const waiting = [];
  const fire = () => {
    const now = performance.now();
    for (; waiting.length > 0 && waiting[0].due <= now; waiting.shift()) waiting[0].run();
    if (waiting.length > 0) setTimeout(fire, waiting[0].due - now);
  };
  return (run) => {
    waiting.push({ due: performance.now() + delay, run });
    if (waiting.length === 1) setTimeout(fire, delay);
  };
}
