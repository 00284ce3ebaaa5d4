# An SSH server on asyncssh, for SFTP alone: PORT HOST_KEY AUTHORIZED_KEYS HOME [REFUSED...]
#
# What is refused is a method of its SFTP server, such as `setstat`, as gateways and drop boxes do.

import asyncio
import os
import sys

import asyncssh

port, host_key, authorized_keys, home = sys.argv[1:5]
refused = set(sys.argv[5:])


class Server(asyncssh.SFTPServer):
    opened = 0

    def open(self, path, pflags, attrs):
        name = os.path.basename(path)
        if 'open' in refused:
            raise asyncssh.SFTPPermissionDenied('open is not for you')
        if 'hidden' in refused and name.startswith(b'.'):
            raise asyncssh.SFTPPermissionDenied('names that begin with a dot are not taken')
        if 'exclusive' in refused and pflags & asyncssh.FXF_EXCL:
            raise asyncssh.SFTPOpUnsupported('exclusive creation')
        if 'several' in refused and self.opened >= 3:
            raise asyncssh.SFTPFailure('too many open files')
        file = super().open(path, pflags, attrs)
        self.opened += 1
        return file

    def close(self, file):
        self.opened -= 1
        return super().close(file)

    def write(self, file, offset, data):
        if 'large' in refused and offset + len(data) > 1_000_000:
            raise asyncssh.SFTPFailure('the file is too large')
        return super().write(file, offset, data)

    def stat(self, path):
        return self.look(super().stat, path)

    def lstat(self, path):
        return self.look(super().lstat, path)

    def look(self, look, path):
        try:
            return look(path)
        except FileNotFoundError:
            if 'missing' in refused:
                raise asyncssh.SFTPFailure('failure') from None
            raise


def refuse(name):
    def method(*_):
        raise asyncssh.SFTPPermissionDenied(name + ' is not for you')

    setattr(Server, name, method)


for name in refused - {'open', 'hidden', 'exclusive', 'several', 'large', 'missing'}:
    refuse(name)


async def main():
    os.chdir(home)
    await asyncssh.listen(
        '127.0.0.1', int(port), server_host_keys=[host_key], authorized_client_keys=authorized_keys, sftp_factory=Server
    )
    await asyncio.Event().wait()


asyncio.run(main())
