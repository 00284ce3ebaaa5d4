//! `cargo bench`: the code through which every byte of a command's output goes, and what is read for each connection.
#![expect(
    clippy::expect_used,
    reason = "a benchmark may say what it takes for granted"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use work::{Capturing, Decoding, Editing, LookingUp, STREAM};

mod work;

fn decoder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decoder");
    group.throughput(Throughput::Bytes(STREAM as u64));
    for (name, decoding) in [("text", Decoding::text()), ("marks", Decoding::marks())] {
        group.bench_function(name, |bencher| bencher.iter(|| decoding.run()));
    }
}

fn capture(criterion: &mut Criterion) {
    let capturing = Capturing::new();
    let mut group = criterion.benchmark_group("capture");
    group.throughput(Throughput::Bytes(STREAM as u64));
    group.bench_function("a stream much longer than what is kept", |bencher| {
        bencher.iter(|| capturing.run());
    });
}

fn edit(criterion: &mut Criterion) {
    let editing = Editing::new();
    criterion.bench_function("edit/a line of a file with CRLF", |bencher| {
        bencher.iter(|| editing.run());
    });
}

fn known_hosts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("known_hosts");
    for (name, salt) in [("plain names", None), ("hashed names", Some([7; 20]))] {
        let looking_up = LookingUp::new(salt);
        group.bench_function(name, |bencher| bencher.iter(|| looking_up.run()));
    }
}

criterion_group!(benches, decoder, capture, edit, known_hosts);
criterion_main!(benches);
