"""Twisted Conch as the server of a Unix system, as `twistd conch` is one: PORT HOST_KEY AUTHORIZED_KEYS. For root."""

import sys

from twisted.conch import checkers, unix
from twisted.conch.ssh import factory, keys
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.python import log

port, host_key, authorized_keys = sys.argv[1:4]


class Realm(unix.UnixSSHRealm):
    def requestAvatar(self, username, mind, *interfaces):
        name = username.decode() if isinstance(username, bytes) else username
        return super().requestAvatar(name, mind, *interfaces)


class Factory(factory.SSHFactory):
    def __init__(self):
        key = keys.Key.fromFile(host_key)
        self.privateKeys = {key.sshType(): key}
        self.publicKeys = {key.sshType(): key.public()}
        allowed = checkers.InMemorySSHKeyDB({b'guest': [keys.Key.fromFile(authorized_keys)]})
        self.portal = Portal(Realm(), [checkers.SSHPublicKeyChecker(allowed)])

    def getPrimes(self):
        return {}


log.startLogging(sys.stderr)
reactor.listenTCP(int(port), Factory(), interface='127.0.0.1')
reactor.run()
