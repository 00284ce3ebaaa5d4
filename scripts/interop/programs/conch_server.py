"""Twisted Conch as the server of a Unix system, as `twistd conch` is one: PORT HOST_KEY AUTHORIZED_KEYS [sftp]. For root.

Without `sftp` it is as it comes: its SFTP begins, and then fails at every path, because it takes a home for an object.
"""

import sys

from twisted.conch import checkers, unix
from twisted.conch.ssh import factory, keys
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.python import log

port, host_key, authorized_keys = sys.argv[1:4]


class Home(str):
    """A home that is a text and has a path, so that all of Conch can use it."""

    @property
    def path(self):
        return str(self)


if 'sftp' in sys.argv:
    unix.UnixConchUser.getHomeDir = lambda self: Home(self.pwdData[5])


class Factory(factory.SSHFactory):
    def __init__(self):
        key = keys.Key.fromFile(host_key)
        self.privateKeys = {key.sshType(): key}
        self.publicKeys = {key.sshType(): key.public()}
        allowed = checkers.InMemorySSHKeyDB({b'guest': [keys.Key.fromFile(authorized_keys)]})
        self.portal = Portal(unix.UnixSSHRealm(), [checkers.SSHPublicKeyChecker(allowed)])

    def getPrimes(self):
        return {}


log.startLogging(sys.stderr)
reactor.listenTCP(int(port), Factory(), interface='127.0.0.1')
reactor.run()
