"""Commands for SSH servers in Python: a child process with pipes, or with a terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios


def start(command, terminal=None, env=None):
    """Starts a command for bash; None: a login shell. `terminal` is (columns, rows). Returns the process and the descriptor
    of its terminal, if it has one."""
    words = ['bash', '-c', command] if command is not None else ['bash', '-l']
    env = {**os.environ, **(env or {})}
    if terminal is None:
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
        return subprocess.Popen(words, env=env, bufsize=0, start_new_session=True, **pipes), None
    ours, theirs = pty.openpty()
    resize(ours, terminal)

    def control():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    streams = {'stdin': theirs, 'stdout': theirs, 'stderr': theirs}
    process = subprocess.Popen(words, env=env, start_new_session=True, preexec_fn=control, **streams)
    os.close(theirs)
    return process, ours


def resize(terminal, size):
    columns, rows = size
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))


def hang_up(process):
    """Ends it as a terminal does that is closed."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGHUP)
        except ProcessLookupError:
            pass
