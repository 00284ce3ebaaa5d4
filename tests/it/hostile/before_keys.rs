//! What a server sends before anything is encrypted.

use std::thread;
use std::time::Duration;

use super::{Row, row, try_all};
use crate::support::hostile_sshd::{Peer, message, string, text};

/// So begins the error of a handshake that came to its end.
const FAILED: &str = "the SSH handshake with";
/// So begins the error of a signature that is not right.
const SIGNATURE: &str = "the server's signature with its host key is not right";

/// Lists of algorithms after the cookie, as they come.
fn lists(lists: &[Vec<u8>]) -> Vec<u8> {
    message(20, &[&[7; 16], &lists.concat(), &[0; 5]])
}

fn words() -> Vec<Row> {
    vec![
        row("silence", "took longer than", Peer::be_silent),
        row("closed at once", FAILED, |_| Ok(())),
        row("text without end", FAILED, |peer| {
            peer.raw_without_end(b"Welcome to this server\r\n")
        }),
        row("text without lines", FAILED, |peer| {
            peer.raw_without_end(b"Welcome ")
        }),
        row("empty lines", FAILED, |peer| peer.raw_without_end(b"\n")),
        row("zeros", FAILED, |peer| peer.raw_without_end(&[0; 1000])),
        row("an endless identification", FAILED, |peer| {
            peer.raw(b"SSH-2.0-")?;
            peer.raw_without_end(b"\x1b]0;owned\x07")
        }),
        row("SSH 1", FAILED, |peer| peer.raw(b"SSH-1.5-old\r\n")),
        row("an identification with escapes", "", |peer| {
            peer.raw(b"SSH-2.0-\x1b[2J\xe2\x80\xae\r\n")?;
            peer.be_silent()
        }),
        row("a letter at a time", "took longer than", |peer| {
            loop {
                // Slow enough to send little until the client gives up, which is the end.
                peer.raw(b"S")?;
                thread::sleep(Duration::from_millis(50));
            }
        }),
    ]
}

fn packets() -> Vec<Row> {
    vec![
        row(
            "silence after the identification",
            "took longer than",
            |peer| {
                peer.identify()?;
                peer.be_silent()
            },
        ),
        row("closed after the identification", FAILED, Peer::identify),
        row("a packet without bytes", FAILED, |peer| {
            peer.identify()?;
            peer.raw_without_end(&[0; 4])
        }),
        row("a packet of 4 GiB", FAILED, |peer| {
            peer.identify()?;
            peer.raw_without_end(&[0xff; 64])
        }),
        row("a packet of a prime length", FAILED, |peer| {
            peer.identify()?;
            peer.raw(&[&[0, 0, 0, 13, 4, 20][..], &[0; 11]].concat())
        }),
        row("padding longer than its packet", FAILED, |peer| {
            peer.identify()?;
            peer.raw(&[&[0, 0, 0, 12, 255, 20][..], &[0; 10]].concat())
        }),
        row("a packet of padding", "took longer than", |peer| {
            peer.identify()?;
            peer.raw(&[&[0, 0, 0, 12, 11][..], &[0; 11]].concat())?;
            peer.be_silent()
        }),
        row("lists with a length of 4 GiB", FAILED, |peer| {
            peer.identify()?;
            peer.send(&lists(&[vec![0xff; 4], vec![b'a'; 200]]))?;
            peer.be_silent()
        }),
        row("lists that are cut", FAILED, |peer| {
            peer.identify()?;
            peer.send(&Peer::kexinit()[..40])?;
            peer.be_silent()
        }),
        row("other algorithms", "no common", |peer| {
            peer.identify()?;
            peer.send(&lists(&std::array::from_fn::<_, 10, _>(|_| {
                text(&"\u{1b}[2Jname,".repeat(500))
            })))?;
            peer.be_silent()
        }),
        row("200 kB of names", FAILED, |peer| {
            peer.identify()?;
            peer.send(&lists(&std::array::from_fn::<_, 10, _>(|_| {
                text(&"\u{1b}[2Jname,".repeat(2_000))
            })))?;
            peer.be_silent()
        }),
        row("names that are no text", FAILED, |peer| {
            peer.identify()?;
            peer.send(&lists(&std::array::from_fn::<_, 10, _>(|_| {
                string(&[0xff; 100])
            })))?;
            peer.be_silent()
        }),
        row("names of nothing", "", |peer| {
            peer.identify()?;
            peer.send(&lists(&std::array::from_fn::<_, 10, _>(|_| text(""))))?;
            peer.be_silent()
        }),
        row("messages to ignore without end", "", |peer| {
            peer.identify()?;
            peer.flood(&message(2, &[&string(&vec![0; 30_000])]))
        }),
        row("the same in small", "", |peer| {
            peer.identify()?;
            peer.flood(&message(2, &[&text("")]))
        }),
    ]
}

fn further_packets() -> Vec<Row> {
    vec![
        row("remarks without end", "", |peer| {
            peer.identify()?;
            peer.begin_kex()?;
            peer.flood(&message(4, &[&[1], &text("\u{1b}[2Jremark"), &text("")]))
        }),
        row("what was not understood, without end", "", |peer| {
            peer.identify()?;
            peer.begin_kex()?;
            peer.flood(&message(3, &[&[0; 4]]))
        }),
        row("lists without end", FAILED, |peer| {
            peer.identify()?;
            peer.discard();
            peer.flood(&Peer::kexinit())
        }),
        row("messages of later, without end", "", |peer| {
            peer.identify()?;
            peer.begin_kex()?;
            peer.flood(&message(94, &[&[0; 4], &text("data")]))
        }),
        row("goodbye with escapes", FAILED, |peer| {
            peer.identify()?;
            peer.send(&message(
                1,
                &[
                    &[0, 0, 0, 2],
                    &text(&"\u{1b}[2J\u{202e}bye\u{7}".repeat(15_000)),
                    &text(""),
                ],
            ))?;
            peer.be_silent()
        }),
        row("silence instead of a point", "took longer than", |peer| {
            peer.identify()?;
            peer.begin_kex()?;
            peer.be_silent()
        }),
        row("closed instead of a point", FAILED, |peer| {
            peer.identify()?;
            peer.begin_kex()?;
            Ok(())
        }),
    ]
}

fn replies() -> Vec<Row> {
    vec![
        row("a reply of nothing", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            peer.finish_kex(&lists, |_| [vec![], vec![], vec![]])
        }),
        row("a reply with a length of 4 GiB", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            peer.finish_kex(&lists, |[_, point, signature]| {
                [vec![0xff; 4], point, signature]
            })
        }),
        row("a reply with more behind it", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            peer.finish_kex(&lists, |[key, point, signature]| {
                [key, point, [signature, vec![1; 9]].concat()]
            })
        }),
        row("the point of zeros", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            peer.finish_kex(&lists, |[key, _, signature]| {
                [key, string(&[0; 32]), signature]
            })
        }),
        row("a short point", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            peer.finish_kex(&lists, |[key, _, signature]| {
                [key, string(&[9; 31]), signature]
            })
        }),
        row("a point of 100 kB", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            peer.finish_kex(&lists, |[key, _, signature]| {
                [key, string(&[9; 100_000]), signature]
            })
        }),
        row("another signature", SIGNATURE, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            let signature = string(&[text("ssh-ed25519"), string(&[3; 64])].concat());
            peer.finish_kex(&lists, |[key, point, _]| [key, point, signature])
        }),
        row("a signature of nothing", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            peer.finish_kex(&lists, |[key, point, _]| [key, point, string(&[])])
        }),
        row("a signature of another kind", SIGNATURE, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            let signature = string(&[text("ssh-rsa"), string(&[3; 512])].concat());
            peer.finish_kex(&lists, |[key, point, _]| [key, point, signature])
        }),
        row("no key", FAILED, |peer| {
            peer.identify()?;
            let lists = peer.begin_kex()?;
            let key = string(&text("\u{1b}[2Jkey"));
            peer.finish_kex(&lists, |[_, point, signature]| [key, point, signature])
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_the_handshake_gets_no_further() {
    try_all([words(), packets(), further_packets(), replies()].concat()).await;
}
