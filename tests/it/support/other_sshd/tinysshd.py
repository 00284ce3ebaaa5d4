"""Runs tinysshd for each connection, as inetd does: PORT KEYS."""

import signal
import socket
import subprocess
import sys

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
port, keys = int(sys.argv[1]), sys.argv[2]

with socket.create_server(("127.0.0.1", port), backlog=50) as listener:
    while True:
        connection, _ = listener.accept()
        print("accepted", flush=True)
        with connection:
            subprocess.Popen(["tinysshd", "-l", keys], stdin=connection, stdout=connection)
