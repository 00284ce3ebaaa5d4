"""Runs tinysshd for each connection, as inetd does: PORT KEYS."""

import socket
import subprocess
import sys

port, keys = int(sys.argv[1]), sys.argv[2]
running = []

with socket.create_server(("127.0.0.1", port), backlog=50) as listener:
    while True:
        connection, _ = listener.accept()
        print("accepted", flush=True)
        with connection:
            command = ["tinysshd", "-l", keys]
            running.append(subprocess.Popen(command, stdin=connection, stdout=connection))
        running = [process for process in running if process.poll() is None]
