// What hosts understand: the commands that the rows run, in the language of each kind of login shell.

let lastMark = 0;

/** A number of seconds that no other process sleeps for. */
export function mark() {
  return 600_000 + (process.pid % 1_000) * 100 + (++lastMark % 100);
}

/** @typedef {typeof posix} Speech */

/** Anything that runs `sh`: fish and tcsh too. */
export const posix = {
  exec: { command: `sh -c 'echo "a  b"; echo problem >&2; exit 3'`, stdout: 'a  b\n', stderr: 'problem\n', status: 3 },
  stdin: (text) => ({ command: 'cat', input: text, stdout: text }),
  sleep: (seconds) => ({ command: `sleep ${seconds}`, process: new RegExp(`^(\\S*/)?sleep ${seconds}$`) }),
  slow: { command: `sh -c 'echo one; sleep 2; echo two'`, stdout: 'one\ntwo\n' },
  detached: (file) => ({
    command: `sh -c 'echo one; sleep 2; echo two | tee ${file}'`,
    stdout: 'one\ntwo\n',
    plain: `sh -c 'nohup sh -c "sleep 1; echo two > ${file}" > /dev/null 2>&1 &'`,
  }),
  terminal: { command: `sh -c 'test -t 0 && test -t 1 && echo terminal'`, stdout: 'terminal\n' },
  shell: {
    plain: 'sh',
    steps: [
      ['cd /tmp; n=41', ''],
      ['echo $((n + 1)) in $PWD', '42 in /tmp\n'],
    ],
  },
};

/** git-shell: nothing but what git asks for. */
export const git = {
  ...posix,
  exec: {
    command: `git-upload-pack 'repository.git'`,
    input: '0000',
    stdout: /^[0-9a-f]{44} HEAD\0[^]* refs\/heads\/main\n0000$/,
    stderr: '',
    status: 0,
  },
};

/** Erlang's own: what is run is an expression of Erlang. */
export const erlang = {
  ...posix,
  exec: { command: `io:format("a  b~n").`, stdout: /^a {2}b\n(ok)?/, stderr: '', status: 0 },
  slow: { command: `io:format("one~n"), timer:sleep(2000), io:format("two~n").`, stdout: /^one\ntwo\n(ok)?/ },
  sleep: (seconds) => ({ ...posix.sleep(seconds), command: `os:cmd("sleep ${seconds}").` }),
  terminal: { command: `io:format("terminal~n").`, stdout: /^terminal\r?\n(ok)?/ },
};

/** Windows' cmd.exe. */
export const cmd = {
  exec: { command: 'echo a  b& echo problem>&2& exit 3', stdout: 'a  b\r\n', stderr: 'problem\r\n', status: 3 },
  stdin: () => ({ command: 'more', input: 'a line\r\nanother\r\n', stdout: 'a line\r\nanother\r\n' }),
  sleep: (seconds) => ({ command: `ping -n ${seconds} 127.0.0.1`, process: new RegExp(`ping.* -n ${seconds} `, 'i') }),
  slow: { command: 'echo one& ping -n 3 127.0.0.1 > nul& echo two', stdout: /^one\r?\n(.*\r?\n)?two\r?\n$/ },
  detached: posix.detached,
  terminal: { command: 'echo terminal', stdout: /^terminal\r?\n$/ },
  shell: posix.shell,
};

/** Whether bytes or text are what was expected: a text, or a pattern. */
export function fits(expected, text) {
  return expected instanceof RegExp ? expected.test(text) : expected === text;
}
