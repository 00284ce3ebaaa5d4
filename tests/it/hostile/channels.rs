//! What a server sends once it has let the client in.

use super::{Row, row, try_all};
use crate::support::hostile_sshd::{message, string, text};

/// So says the answer of a session that has begun.
const LET_IN: &str = "connected · agent@";

/// A message about the channel of this number.
fn about(number: u8, channel: u32, rest: &[u8]) -> Vec<u8> {
    message(number, &[&channel.to_be_bytes(), rest])
}

/// A request about a channel (RFC 4254, section 5.4) without a wish for an answer.
fn request(channel: u32, name: &str, rest: &[u8]) -> Vec<u8> {
    about(98, channel, &[&text(name), &[0][..], rest].concat())
}

/// The server's wish for a channel of this type.
fn open(kind: &str, rest: &[u8]) -> Vec<u8> {
    message(
        90,
        &[
            &text(kind),
            &7_u32.to_be_bytes(),
            &[0, 16, 0, 0],
            &[0, 0, 128, 0],
            rest,
        ],
    )
}

fn beginnings() -> Vec<Row> {
    vec![
        row("silence instead of a channel", LET_IN, |peer| {
            peer.let_in()?;
            peer.be_silent()
        }),
        row("silence instead of a command", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.be_silent()
        }),
        row("closed instead of a command", LET_IN, |peer| {
            peer.up_to_command().map(drop)
        }),
        row("channels that nobody wanted are granted", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.flood(&about(91, 4_000, &[0; 12]))
        }),
        row("one channel is granted without end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.flood(&about(
                91,
                channel,
                &[0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 128, 0],
            ))
        }),
        row("a channel without room", LET_IN, |peer| {
            peer.let_in()?;
            let open = peer.wait_for(90)?;
            peer.send(&message(91, &[&open[15..19], &[0; 12]]))?;
            peer.be_silent()
        }),
        Row {
            waits: true,
            ..row("all room that there is, without end", LET_IN, |peer| {
                let channel = peer.up_to_command()?;
                peer.flood(&about(93, channel, &u32::MAX.to_be_bytes()))
            })
        },
        row("room for channels that there are not", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.flood(&about(93, 4_000, &[0, 0, 0, 1]))
        }),
        row("room without end, a byte at a time", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.flood(&about(93, channel, &[0, 0, 0, 1]))
        }),
    ]
}

fn output() -> Vec<Row> {
    vec![
        row("output without end and over the window", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.flood(&about(94, channel, &string(&vec![b'x'; 32_000])))
        }),
        row("output in packets of 250 kB", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            peer.flood(&about(94, channel, &string(&vec![b'\n'; 250_000])))
        }),
        row("output of single bytes without end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            peer.flood(&about(94, channel, &text("\u{1b}")))
        }),
        Row {
            waits: true,
            ..row("output of nothing without end", LET_IN, |peer| {
                let channel = peer.up_to_command()?;
                peer.discard();
                peer.flood(&about(94, channel, &text("")))
            })
        },
        row("output with a length that lies", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.flood(&about(94, channel, &[0xff; 8]))
        }),
        row("a packet of half a megabyte", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.flood(&about(94, channel, &string(&vec![b'x'; 500_000])))
        }),
        row("output of channels that there are not", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.flood(&about(94, 4_000, &string(&vec![b'x'; 30_000])))
        }),
        row("other streams of output than there are", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            peer.flood(&about(
                95,
                channel,
                &[&[0, 0, 0, 99][..], &string(&vec![b'x'; 30_000])].concat(),
            ))
        }),
        row("output after the end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.send(&request(channel, "exit-status", &[0; 4]))?;
            peer.send(&about(96, channel, &[]))?;
            peer.send(&about(97, channel, &[]))?;
            peer.flood(&about(94, channel, &string(&vec![b'x'; 30_000])))
        }),
        row("ends of output without end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            peer.flood(&about(96, channel, &[]))
        }),
        row("closed without end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            peer.flood(&about(97, channel, &[]))
        }),
    ]
}

fn requests() -> Vec<Row> {
    vec![
        row("exit statuses without end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            peer.flood(&request(channel, "exit-status", &[0, 0, 0, 3]))
        }),
        row("a huge exit signal", LET_IN, |peer| {
            let mut channel = peer.up_to_command()?;
            loop {
                let huge = text(&"\u{1b}[2J\u{202e}".repeat(10_000));
                peer.send(&request(
                    channel,
                    "exit-signal",
                    &[&huge[..], &[1], &huge, &huge].concat(),
                ))?;
                peer.send(&about(97, channel, &[]))?;
                channel = peer.next_command()?;
            }
        }),
        row("huge exit signals without end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            let huge = text(&"\u{1b}[2J\u{202e}".repeat(10_000));
            peer.flood(&request(
                channel,
                "exit-signal",
                &[&huge[..], &[1], &huge, &huge].concat(),
            ))
        }),
        row("an exit status that is cut", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.send(&request(channel, "exit-status", &[0; 3]))?;
            peer.be_silent()
        }),
        row("requests of a name without end", LET_IN, |peer| {
            let channel = peer.up_to_command()?;
            peer.discard();
            peer.flood(&about(
                98,
                channel,
                &[text(&"\u{1b}[2Jname".repeat(100)), vec![1]].concat(),
            ))
        }),
        row("channels towards the client without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            peer.flood(&open("session", &[]))
        }),
        row("forwarded connections without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            let address = [text("localhost"), vec![0, 0, 0, 22]].concat();
            peer.flood(&open("forwarded-tcpip", &address.repeat(2)))
        }),
        row("screens without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            peer.flood(&open(
                "x11",
                &[text("\u{1b}[2J"), vec![0, 0, 0, 22]].concat(),
            ))
        }),
        row("wishes for the agent without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            peer.flood(&open("auth-agent@openssh.com", &[]))
        }),
        row("channels of types that there are not", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            peer.flood(&open(&"\u{1b}[2J".repeat(1_000), &[]))
        }),
        Row {
            waits: true,
            ..row("global requests without end", LET_IN, |peer| {
                peer.up_to_command()?;
                peer.discard();
                peer.flood(&message(80, &[&text("x"), &[1]]))
            })
        },
        row(
            "global requests whose answers it does not read",
            LET_IN,
            |peer| {
                peer.up_to_command()?;
                peer.flood(&message(80, &[&text("keepalive@openssh.com"), &[1]]))
            },
        ),
        row("answers to what nobody has asked", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            peer.flood(&message(81, &[&[0; 200]]))
        }),
    ]
}

fn messages() -> Vec<Row> {
    vec![
        row("host keys without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            let key = string(&[text("ssh-ed25519"), string(&[9; 32])].concat());
            peer.flood(&message(
                80,
                &[&text("hostkeys-00@openssh.com"), &[0], &key.repeat(3_000)],
            ))
        }),
        row("what was not understood, without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.flood(&message(3, &[&[0; 4]]))
        }),
        row("nothing at all, without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.flood(&message(2, &[&text("")]))
        }),
        row("messages of no meaning", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.discard();
            peer.flood(&message(200, &[&[0; 64]]))
        }),
        row("extensions without end", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.flood(&message(7, &[&1_u32.to_be_bytes(), &text("x"), &text("y")]))
        }),
        row("success, again", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.flood(&[52])
        }),
        row("new keys in a loop", LET_IN, |peer| {
            peer.up_to_command()?;
            loop {
                peer.exchange_keys()?;
            }
        }),
        row("new keys that never come", LET_IN, |peer| {
            peer.up_to_command()?;
            peer.begin_kex()?;
            peer.be_silent()
        }),
        row("goodbye with escapes", LET_IN, |peer| {
            peer.up_to_command()?;
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
        Row {
            options: "RekeyLimit 16K",
            ..row(
                "new keys are wanted, and channels come without end",
                LET_IN,
                |peer| {
                    let channel = peer.up_to_command()?;
                    peer.discard();
                    peer.flood_for(&about(94, channel, &string(&vec![b'x'; 30_000])), 2)?;
                    peer.flood(&open("session", &[]))
                },
            )
        },
        Row {
            options: "RekeyLimit 16K",
            ..row(
                "new keys are wanted, and requests come without end",
                LET_IN,
                |peer| {
                    let channel = peer.up_to_command()?;
                    peer.discard();
                    peer.flood_for(&about(94, channel, &string(&vec![b'x'; 30_000])), 2)?;
                    peer.flood(&message(80, &[&text("x"), &[1]]))
                },
            )
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_the_channel_protocol_loses_its_session() {
    try_all([beginnings(), output(), requests(), messages()].concat()).await;
}
