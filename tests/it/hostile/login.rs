//! What a server sends while its client logs in.

use super::{Row, row, try_all};
use crate::support::hostile_sshd::{Peer, Script, message, string, text};

/// A round of keyboard-interactive questions (RFC 4256, section 3.2) that names this many.
fn questions(number: u32, prompts: &[u8]) -> Vec<u8> {
    message(
        60,
        &[
            &text("name"),
            &text("\u{1b}[2Jinstruction"),
            &text(""),
            &number.to_be_bytes(),
            prompts,
        ],
    )
}

fn with_password(name: &'static str, says: &'static str, script: Script) -> Row {
    Row {
        password: Some("secret"),
        ..row(name, says, script)
    }
}

fn before_any_answer() -> Vec<Row> {
    vec![
        row("silence after the keys", "took longer than", |peer| {
            peer.handshake()?;
            peer.be_silent()
        }),
        row(
            "closed after the keys",
            "closed the connection",
            Peer::handshake,
        ),
        row("silence about the log-in", "took longer than", |peer| {
            peer.up_to_login()?;
            peer.be_silent()
        }),
        row(
            "closed at the log-in",
            "closed the connection",
            Peer::up_to_login,
        ),
        row("the text of a banner without end", "", |peer| {
            peer.up_to_login()?;
            peer.flood(&message(
                53,
                &[&text(&"\u{1b}[2Jbanner\r\n".repeat(2_000)), &text("")],
            ))
        }),
        row("banners without end", "", |peer| {
            peer.up_to_login()?;
            peer.flood(&message(53, &[&text(""), &text("")]))
        }),
        row("nothing at all, without end", "", |peer| {
            peer.up_to_login()?;
            peer.flood(&message(2, &[&string(&vec![0; 30_000])]))
        }),
        row("extensions without end", "", |peer| {
            peer.handshake()?;
            peer.flood(&message(7, &[&1_u32.to_be_bytes(), &text("x"), &text("y")]))
        }),
        row("four billion extensions", "", |peer| {
            peer.handshake()?;
            peer.send(&message(7, &[&u32::MAX.to_be_bytes(), &vec![0; 20_000]]))?;
            peer.be_silent()
        }),
        row("algorithms of signatures without end", "", |peer| {
            peer.handshake()?;
            let names = "rsa-sha2-512,\u{1b}[2J,ssh-\u{202e}".repeat(5_000);
            peer.send(&message(
                7,
                &[
                    &1_u32.to_be_bytes(),
                    &text("server-sig-algs"),
                    &text(&names),
                ],
            ))?;
            peer.wait_for(5)?;
            peer.send(&message(6, &[&text("ssh-userauth")]))?;
            loop {
                peer.wait_for(50)?;
                peer.send(&message(51, &[&text("publickey"), &[0]]))?;
            }
        }),
        row("another service", "", |peer| {
            peer.handshake()?;
            peer.wait_for(5)?;
            peer.flood(&message(6, &[&text("\u{1b}[2Jservice")]))
        }),
        row("success without being asked", "", |peer| {
            peer.handshake()?;
            peer.flood(&[52])
        }),
    ]
}

fn refusals() -> Vec<Row> {
    vec![
        row("refusals without end", "", |peer| {
            peer.up_to_login()?;
            peer.flood(&message(
                51,
                &[&text("password,publickey,keyboard-interactive"), &[0]],
            ))
        }),
        Row {
            askpass: true,
            ..row(
                "refusals without end while the person is asked",
                "password: refused",
                |peer| {
                    peer.insist_on("password")?;
                    peer.flood(&message(51, &[&text("password"), &[0]]))
                },
            )
        },
        row("refusals of names without end", "", |peer| {
            peer.up_to_login()?;
            peer.flood(&message(
                51,
                &[&text(&"\u{1b}[2Jmethod,".repeat(10_000)), &[0]],
            ))
        }),
        with_password(
            "partial success without end",
            "the server wants more",
            |peer| {
                peer.up_to_login()?;
                loop {
                    peer.send(&message(
                        51,
                        &[&text("publickey,password,keyboard-interactive"), &[1]],
                    ))?;
                    peer.wait_for(50)?;
                }
            },
        ),
        row("a yes to another key", "", |peer| {
            peer.up_to_login()?;
            peer.flood(&message(60, &[&text("ssh-rsa"), &string(&[9; 3_000])]))
        }),
        row("a yes without end to a key", "", |peer| {
            peer.insist_on("publickey")?;
            peer.flood(&message(60, &[&text("ssh-ed25519"), &string(&[9; 51])]))
        }),
        with_password("rounds without end", "does not stop asking", |peer| {
            peer.insist_on("keyboard-interactive")?;
            loop {
                peer.send(&questions(1, &[text("Again? "), vec![0]].concat()))?;
                peer.wait_for(61)?;
            }
        }),
        with_password(
            "rounds without end and without questions",
            "does not stop asking",
            |peer| {
                peer.insist_on("keyboard-interactive")?;
                loop {
                    peer.send(&questions(0, &[]))?;
                    peer.wait_for(61)?;
                }
            },
        ),
    ]
}

fn questions_and_packets() -> Vec<Row> {
    vec![
        with_password("rounds that wait for no answer", "", |peer| {
            peer.insist_on("keyboard-interactive")?;
            peer.discard();
            peer.flood(&questions(1, &[text("Again? "), vec![0]].concat()))
        }),
        with_password("four billion questions", "", |peer| {
            peer.insist_on("keyboard-interactive")?;
            peer.send(&questions(u32::MAX, &[text("Again? "), vec![0]].concat()))?;
            peer.be_silent()
        }),
        with_password("as many questions as there is room for", "", |peer| {
            peer.insist_on("keyboard-interactive")?;
            peer.discard();
            peer.flood(&questions(40_000, &vec![0; 200_000]))
        }),
        with_password("long questions with escapes", "", |peer| {
            peer.insist_on("keyboard-interactive")?;
            let question = [text(&"\u{1b}[2J\u{202e}".repeat(15_000)), vec![1]].concat();
            peer.discard();
            peer.flood(&questions(2, &question.repeat(2)))
        }),
        with_password("questions with lengths that lie", "", |peer| {
            peer.insist_on("keyboard-interactive")?;
            peer.send(&questions(2, &[0xff; 100]))?;
            peer.be_silent()
        }),
        with_password("a new password is wanted, without end", "", |peer| {
            peer.insist_on("password")?;
            peer.flood(&message(60, &[&text("\u{1b}[2Jexpired"), &text("")]))
        }),
        row("goodbye with escapes", "", |peer| {
            peer.up_to_login()?;
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
        row("a packet that was changed on the way", "", |peer| {
            peer.up_to_login()?;
            peer.raw(&[&[0, 0, 0, 32][..], &[1; 48]].concat())?;
            peer.be_silent()
        }),
        row("an encrypted packet of 4 GiB", "", |peer| {
            peer.up_to_login()?;
            peer.raw_without_end(&[0xff; 64])
        }),
        row("an encrypted packet without bytes", "", |peer| {
            peer.up_to_login()?;
            peer.raw_without_end(&[0; 64])
        }),
        row("an empty message", "", |peer| {
            peer.up_to_login()?;
            peer.flood(&[])
        }),
        row("new keys in a loop before the log-in", "", |peer| {
            peer.up_to_login()?;
            loop {
                peer.exchange_keys()?;
            }
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_the_log_in_gets_no_further() {
    try_all([before_any_answer(), refusals(), questions_and_packets()].concat()).await;
}
