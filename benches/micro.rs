//! `cargo bench`: the code through which every byte of a command's output goes, and what is read for each connection.
#![expect(
    clippy::expect_used,
    reason = "a benchmark may say what it takes for granted"
)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mcp_ssh_sessions::capture::Capture;
use mcp_ssh_sessions::framing::decoder::StreamDecoder;
use mcp_ssh_sessions::framing::sentinel::Sentinel;
use mcp_ssh_sessions::openssh::known_hosts::{
    HostKey, HostName, KnownHostsFile, render_line, verdict,
};

/// What SSH brings at once.
const PORTION: usize = 32 * 1024;
const STREAM: usize = 1024 * 1024;
const HOSTS: usize = 1_000;

fn decoder(criterion: &mut Criterion) {
    let sentinel = Sentinel::from_random([0x5a; 16]);
    let trailer = [
        sentinel.opening(),
        b"0 /home/user".to_vec(),
        sentinel.closing(),
    ]
    .concat();
    let text = "a line of output, as commands print them\n"
        .repeat(STREAM / 41)
        .into_bytes();
    // Each byte may be the first one of the mark.
    let marks = vec![0x1e; STREAM];
    let mut group = criterion.benchmark_group("decoder");
    for (name, output) in [("text", text), ("marks", marks)] {
        let stream = [output, trailer.clone()].concat();
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut decoder = StreamDecoder::new(&sentinel);
                let mut output = Vec::with_capacity(stream.len());
                for portion in stream.chunks(PORTION) {
                    black_box(decoder.push(portion, &mut output));
                }
                output
            });
        });
    }
}

fn capture(criterion: &mut Criterion) {
    let portion = vec![b'x'; PORTION];
    let mut group = criterion.benchmark_group("capture");
    group.throughput(Throughput::Bytes(STREAM as u64));
    group.bench_function("a stream much longer than what is kept", |bencher| {
        bencher.iter(|| {
            let mut capture = Capture::new(PORTION, PORTION);
            for _ in 0..STREAM / PORTION {
                capture.push(black_box(&portion));
            }
            capture.finish()
        });
    });
}

fn known_hosts(criterion: &mut Criterion) {
    let keys: Vec<HostKey> = (0..HOSTS).map(key).collect();
    let names: Vec<HostName> = (0..HOSTS)
        .map(|number| HostName::new(&format!("host-{number}.example"), 22))
        .collect();
    let mut group = criterion.benchmark_group("known_hosts");
    for (name, salt) in [("plain names", None), ("hashed names", Some([7; 20]))] {
        let mut text = String::new();
        for (name, key) in names.iter().zip(&keys) {
            writeln!(
                text,
                "{}",
                render_line(name, salt, key).expect("the name is plain")
            )
            .expect("a string takes all");
        }
        let files = [KnownHostsFile {
            path: "known_hosts",
            text: text.as_bytes(),
        }];
        let (last, its_key) = names.last().zip(keys.last()).expect("there are hosts");
        group.bench_function(name, |bencher| {
            bencher.iter(|| verdict(&files, black_box(last), its_key));
        });
    }
}

/// An Ed25519 key that no other number has.
fn key(number: usize) -> HostKey {
    let point = [&[0; 24][..], &(number as u64).to_be_bytes()].concat();
    let blob = [b"\0\0\0\x0bssh-ed25519\0\0\0\x20", &point[..]].concat();
    HostKey::parse(&blob).expect("it is a key")
}

criterion_group!(benches, decoder, capture, known_hosts);
criterion_main!(benches);
