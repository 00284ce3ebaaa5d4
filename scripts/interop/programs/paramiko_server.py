"""An SSH server on paramiko, with commands, terminals and SFTP: PORT HOST_KEY AUTHORIZED_KEYS."""

import os
import socket
import sys
import threading

import paramiko

import commands

port, host_key, authorized_keys = sys.argv[1:4]
KEY = paramiko.Ed25519Key(filename=host_key)
with open(authorized_keys, encoding='ascii') as file:
    ALLOWED = file.read().split()[1]


class Server(paramiko.ServerInterface):
    def __init__(self):
        self.terminals = {}
        self.variables = {}

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL if key.get_base64() == ALLOWED else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username):
        return 'publickey'

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED if kind == 'session' else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_pty_request(self, channel, term, width, height, pixelwidth, pixelheight, modes):
        self.terminals[channel.chanid] = (width, height)
        return True

    def check_channel_window_change_request(self, channel, width, height, pixelwidth, pixelheight):
        return True

    def check_channel_env_request(self, channel, name, value):
        self.variables.setdefault(channel.chanid, {})[name.decode()] = value.decode()
        return True

    def check_channel_exec_request(self, channel, command):
        return self.begin(channel, command.decode())

    def check_channel_shell_request(self, channel):
        return self.begin(channel, None)

    def begin(self, channel, command):
        size = self.terminals.get(channel.chanid)
        env = self.variables.get(channel.chanid)
        threading.Thread(target=run, args=(channel, command, size, env), daemon=True).start()
        return True


def run(channel, command, size, env):
    child, terminal = commands.start(command, size, env)
    stdin = terminal if terminal is not None else child.stdin.fileno()

    def feed():
        while data := channel.recv(32768):
            try:
                while data:
                    data = data[os.write(stdin, data) :]
            except OSError:
                break
        if terminal is None:
            child.stdin.close()
        if channel.closed:
            commands.hang_up(child)

    def drain(descriptor, send):
        try:
            while data := os.read(descriptor, 32768):
                send(data)
        except OSError:  # Linux: the other end of the terminal is closed; or the channel is.
            pass

    threading.Thread(target=feed, daemon=True).start()
    outputs = [(terminal, channel.sendall)]
    if terminal is None:
        outputs = [(child.stdout.fileno(), channel.sendall), (child.stderr.fileno(), channel.sendall_stderr)]
    drains = [threading.Thread(target=drain, args=output, daemon=True) for output in outputs]
    for thread in drains:
        thread.start()
    for thread in drains:
        thread.join()
    status = child.wait()
    try:
        channel.send_exit_status(status if status >= 0 else 128 - status)
        channel.close()
    except OSError:
        pass


def attributes(path, look=os.stat):
    return paramiko.SFTPAttributes.from_stat(look(path))


def attempt(work, *args):
    try:
        work(*args)
    except OSError as error:
        return paramiko.SFTPServer.convert_errno(error.errno)
    return paramiko.SFTP_OK


def answered(work, *args):
    try:
        return work(*args)
    except OSError as error:
        return paramiko.SFTPServer.convert_errno(error.errno)


class Handle(paramiko.SFTPHandle):
    def stat(self):
        return answered(lambda: paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno())))

    def chattr(self, attr):
        return attempt(paramiko.SFTPServer.set_file_attr, self.filename, attr)


class Files(paramiko.SFTPServerInterface):
    """The files of the machine, as the interface's documentation shows it."""

    def canonicalize(self, path):
        return os.path.realpath(os.path.join(os.getcwd(), path))

    def list_folder(self, path):
        def look():
            found = []
            for name in os.listdir(path):
                found.append(attributes(os.path.join(path, name), os.lstat))
                found[-1].filename = name
            return found

        return answered(look)

    def stat(self, path):
        return answered(attributes, path)

    def lstat(self, path):
        return answered(attributes, path, os.lstat)

    def open(self, path, flags, attr):
        def begin():
            mode = attr.st_mode if attr.st_mode is not None else 0o666
            descriptor = os.open(path, flags, mode)
            kind = {os.O_RDONLY: 'rb', os.O_WRONLY: 'wb', os.O_RDWR: 'r+b'}[flags & os.O_ACCMODE]
            handle = Handle(flags)
            handle.filename = path
            handle.readfile = handle.writefile = os.fdopen(descriptor, kind)
            return handle

        return answered(begin)

    def remove(self, path):
        return attempt(os.remove, path)

    def rename(self, oldpath, newpath):
        return paramiko.SFTP_FAILURE if os.path.lexists(newpath) else attempt(os.rename, oldpath, newpath)

    def posix_rename(self, oldpath, newpath):
        return attempt(os.replace, oldpath, newpath)

    def mkdir(self, path, attr):
        return attempt(os.mkdir, path)

    def rmdir(self, path):
        return attempt(os.rmdir, path)

    def chattr(self, path, attr):
        return attempt(paramiko.SFTPServer.set_file_attr, path, attr)

    def symlink(self, target_path, path):
        return attempt(os.symlink, target_path, path)

    def readlink(self, path):
        return answered(os.readlink, path)


def serve(connection):
    transport = paramiko.Transport(connection)
    transport.add_server_key(KEY)
    transport.set_subsystem_handler('sftp', paramiko.SFTPServer, Files)
    try:
        transport.start_server(server=Server())
        # A channel that nobody holds is closed.
        channels = []
        while transport.is_active():
            channels = [channel for channel in [*channels, transport.accept(10)] if channel and not channel.closed]
    except (OSError, EOFError, paramiko.SSHException) as error:
        print(error, file=sys.stderr, flush=True)


with socket.create_server(('127.0.0.1', int(port)), backlog=50) as listener:
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=serve, args=(accepted,), daemon=True).start()
