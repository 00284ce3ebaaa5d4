// Commands for the sessions of an ssh2 server, as its documentation's example has them: a child process, or with a terminal
// one below `script`.

const { spawn } = require('node:child_process');

/** @param {import('ssh2').Session} session */
module.exports = (session) => {
  let terminal;
  let child;
  const env = { ...process.env };
  session.on('env', (accept, reject, { key, val }) => {
    env[key] = val;
    accept?.();
  });
  session.on('pty', (accept, reject, info) => {
    terminal = info;
    accept?.();
  });
  session.on('window-change', (accept) => accept?.());
  session.on('signal', (accept, reject, { name }) => {
    accept?.();
    if (child) process.kill(-child.pid, `SIG${name}`);
  });
  const run = (stream, args) => {
    const size = terminal && `stty rows ${terminal.rows} cols ${terminal.cols}; `;
    const [program, ...rest] = terminal ? ['script', '-qec', `${size}${args.at(-1) ?? '$SHELL'}`, '/dev/null'] : args;
    child = spawn(program, rest, { env, detached: true });
    stream.pipe(child.stdin).on('error', () => {});
    child.stdout.pipe(stream, { end: false });
    child.stderr.pipe(stream.stderr, { end: false });
    child.on('close', (code, signal) => {
      if (signal) stream.exit(signal.slice(3));
      else stream.exit(code);
      stream.end();
    });
    stream.on('close', () => {
      try {
        process.kill(-child.pid, 'SIGHUP');
      } catch {} // It has ended meanwhile.
    });
  };
  session.on('exec', (accept, reject, { command }) => run(accept(), ['bash', '-c', command]));
  session.on('shell', (accept) => run(accept(), ['bash', '-l']));
};
