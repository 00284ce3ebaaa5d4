//! An SSH server that keeps to no rule: it writes its own packets, before and after encryption, as a script tells it.
//!
//! What it has to do right to be listened to it does in the smallest way: `curve25519-sha256`, `ssh-ed25519` and
//! `aes256-gcm@openssh.com` (RFC 8731, RFC 8709, RFC 5647 as OpenSSH's PROTOCOL amends it).

mod packets;

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use russh::keys::{PublicKey, ssh_key::public::Ed25519PublicKey};

use super::keys;
pub(crate) use packets::{Peer, message, string, text};

/// What is done with one connection. It ends with an error when the client has gone.
pub(crate) type Script = fn(&mut Peer) -> io::Result<()>;

/// A running server on 127.0.0.1: a thread for each connection. Dropping it closes them.
pub(crate) struct HostileSshd {
    port: u16,
    key: Arc<Ed25519KeyPair>,
    stopped: Arc<AtomicBool>,
    live: Arc<Mutex<Vec<TcpStream>>>,
}

impl HostileSshd {
    /// Starts it on a free port.
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();

        let key =
            Arc::new(Ed25519KeyPair::from_seed_unchecked(&keys::random::<32>()).expect("32 bytes"));
        let (stopped, live) = (
            Arc::new(AtomicBool::new(false)),
            Arc::<Mutex<Vec<TcpStream>>>::default(),
        );

        let server = Self {
            port,
            key: Arc::clone(&key),
            stopped: Arc::clone(&stopped),
            live: Arc::clone(&live),
        };

        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }

                live.lock()
                    .unwrap()
                    .push(stream.try_clone().expect("a handle"));

                let mut peer = Peer::new(stream, Arc::clone(&key));
                thread::spawn(move || {
                    let _ = script(&mut peer);
                    peer.close();
                });
            }
        });

        server
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The `known_hosts` line of its key, with a line end.
    pub(crate) fn known_hosts_line(&self) -> String {
        let bytes = self.key.public_key().as_ref().try_into().expect("32 bytes");
        keys::known_hosts_line(
            self.port,
            &PublicKey::new(Ed25519PublicKey(bytes).into(), ""),
        )
    }
}

impl Drop for HostileSshd {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes who listens.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        for stream in self.live.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
