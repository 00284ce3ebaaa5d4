//! What a client sends that means harm or is broken: the process lives, keeps its memory, and answers the next request.

use std::time::Instant;

use serde_json::json;

use super::{peak, rests};
use crate::support::{
    daemon::Daemon,
    fixture::TestHost,
    program::Program,
    wire::{ask, request},
};

/// By how much a process may grow, in KiB: a request under way costs less than ten, and there are 10,000 at once.
const GROWTH: u64 = 128 * 1024;

/// The length of a line that nobody sends in earnest, in bytes.
const HUGE: usize = 100_000_000;

/// When a client begins to read.
#[derive(Clone, Copy)]
enum Reads {
    AtOnce,
    /// When the processes rest: they have done all that they do for a client that does not read.
    AtRest,
}

/// What is sent, when reading begins, and how many messages come back.
type Row = (&'static str, Vec<u8>, Reads, Option<usize>);

fn rows() -> Vec<Row> {
    let ping =
        |id: usize| format!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"method\": \"ping\"}}\n");
    let list =
        |id: usize| format!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"method\": \"tools/list\"}}\n");
    let notification = |method: &str, params: &str| {
        format!("{{\"jsonrpc\": \"2.0\", \"method\": \"{method}\", \"params\": {params}}}\n")
    };

    let long = [
        b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"".to_vec(),
        vec![b'x'; HUGE],
        b"\"}".to_vec(),
    ]
    .concat();

    vec![
        ("a request of 100 MB", long, Reads::AtOnce, Some(0)),
        (
            "garbage of 100 MB",
            vec![b'x'; HUGE],
            Reads::AtOnce,
            Some(0),
        ),
        ("10 MB of zeros", vec![0; HUGE / 10], Reads::AtOnce, Some(0)),
        (
            "10 MB that are no text",
            vec![0xff; HUGE / 10],
            Reads::AtOnce,
            Some(0),
        ),
        (
            "a depth of a million",
            vec![b'['; 1_000_000],
            Reads::AtOnce,
            Some(0),
        ),
        (
            "objects in one another",
            b"{\"a\":".repeat(100_000),
            Reads::AtOnce,
            Some(0),
        ),
        (
            "lines of nothing",
            vec![b'\n'; HUGE / 10],
            Reads::AtOnce,
            Some(0),
        ),
        (
            "cancels of what is not there",
            notification("notifications/cancelled", "{\"requestId\": 7}")
                .repeat(10_000)
                .into(),
            Reads::AtOnce,
            Some(0),
        ),
        (
            "answers that nobody wants",
            b"{\"jsonrpc\": \"2.0\", \"id\": 7, \"result\": {}}\n".repeat(10_000),
            Reads::AtOnce,
            None,
        ),
        (
            "one id for all",
            ping(5).repeat(1_000).into(),
            Reads::AtOnce,
            None,
        ),
        (
            "10,000 requests at once",
            (0..10_000).map(ping).collect::<String>().into(),
            Reads::AtOnce,
            Some(10_000),
        ),
        (
            "1,000 long answers that are not read",
            (0..1_000).map(list).collect::<String>().into(),
            Reads::AtRest,
            Some(1_000),
        ),
    ]
}

/// Sends all rows to a program; `processes` are those whose memory counts.
#[expect(
    clippy::print_stdout,
    reason = "what each row has cost, for who wants to know"
)]
async fn send_all(mut program: Program, processes: &[u32]) {
    let before: Vec<u64> = processes.iter().map(|pid| peak(*pid)).collect();
    for (name, bytes, reads, answers) in rows() {
        let started = Instant::now();
        let may_read = async {
            if matches!(reads, Reads::AtRest) {
                rests(processes).await.unwrap();
            }
        };

        let came = program.survives(&bytes, may_read).await;
        let took = started.elapsed().as_millis();
        assert!(
            answers.is_none_or(|answers| answers == came),
            "{name}: {came} messages"
        );

        for (pid, before) in processes.iter().zip(&before) {
            let growth = peak(*pid).saturating_sub(*before);
            println!("{growth:>7} KiB {took:>5} ms  {name}");
            assert!(growth < GROWTH, "{name}: it has grown by {growth} KiB");
        }
    }

    assert_eq!(program.close().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_on_a_pipe_that_breaks_the_protocol_is_still_served() {
    let world = TestHost::fake();
    let program = Program::start(&world.config, world.folder()).await;
    let pid = program.pid();
    send_all(program, &[pid]).await;

    // One that goes away in the middle of a line.
    let mut program = Program::start(&world.config, world.folder()).await;
    program
        .raw(b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"meth")
        .await;

    assert_eq!(program.close().await.0.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_same_client_before_a_shared_daemon_harms_neither_end() {
    let shared = crate::shared::Shared::new();
    let program = shared.proxy().await;
    let processes = [program.pid(), shared.only_daemon()];
    send_all(program, &processes).await;
    let mut honest = shared.proxy().await;
    honest
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_takes_no_bodies_of_100_mb() {
    let world = TestHost::fake();
    let daemon = Daemon::start(&world.config, world.folder(), &[]).await;
    let before = peak(daemon.pid());
    let host = daemon.address.host();

    for body in ["x".repeat(HUGE), "[".repeat(HUGE / 10)] {
        let headers = [
            ("Host", host.as_str()),
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
        ];

        let answer = ask(&daemon.address, &request("POST", "/mcp", &headers, &body))
            .await
            .expect("an answer");
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }

    let growth = peak(daemon.pid()).saturating_sub(before);
    assert!(growth < GROWTH, "it has grown by {growth} KiB");
}
