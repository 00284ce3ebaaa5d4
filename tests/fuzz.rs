//! The fuzz targets without a fuzzer: what is in `fuzz/corpus`, and a fixed number of mutations of it, always the same.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may say what it takes for granted"
)]

use std::{fs, path::Path};

use mcp_ssh_sessions::{edit, forward, framing, openssh, render, session, sftp, tree};

#[expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "they are a library's where they are fuzzed, and may say what they take for granted"
)]
#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

#[expect(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "they are a library's where they are fuzzed, and may say what they take for granted"
)]
#[path = "../fuzz/src/targets/parameters.rs"]
mod parameters;

/// How many mutations of its corpus each target is given.
const MUTATIONS: u64 = 1_500;
/// The longest mutation, in bytes: a debug build is slow.
const LONGEST: usize = 2_000;

#[test]
fn frames_hold_for_the_corpus_and_its_mutations() {
    replay("frames", targets::frames::run);
}

#[test]
fn output_holds_for_the_corpus_and_its_mutations() {
    replay("render", targets::render::run);
}

#[test]
fn sftp_and_its_names_hold_for_the_corpus_and_its_mutations() {
    replay("sftp", targets::sftp::run);
}

#[test]
fn known_hosts_hold_for_the_corpus_and_its_mutations() {
    replay("known_hosts", targets::known_hosts::run);
}

#[test]
fn the_configuration_holds_for_the_corpus_and_its_mutations() {
    replay("config", targets::config::run);
}

#[test]
fn the_store_holds_for_the_corpus_and_its_mutations() {
    replay("store", targets::store::run);
}

#[test]
fn replacements_hold_for_the_corpus_and_its_mutations() {
    replay("replace", targets::replace::run);
}

#[test]
fn patches_hold_for_the_corpus_and_its_mutations() {
    replay("patch", targets::patch::run);
}

#[test]
fn searches_hold_for_the_corpus_and_its_mutations() {
    replay("search", targets::search::run);
}

#[test]
fn pages_hold_for_the_corpus_and_its_mutations() {
    replay("page", targets::page::run);
}

#[test]
fn matches_hold_for_the_corpus_and_its_mutations() {
    replay("matches", targets::matches::run);
}

#[test]
fn answers_about_files_hold_for_the_corpus_and_its_mutations() {
    replay("read_file", targets::read_file::run);
}

#[test]
fn addresses_and_socks_hold_for_the_corpus_and_its_mutations() {
    replay("forward", targets::forward::run);
}

#[test]
fn parameters_hold_for_the_corpus_and_its_mutations() {
    replay("parameters", parameters::run);
}

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);

    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.unwrap().path())
        .collect();

    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{} has nothing in it", folder.display());
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mutations = (0..MUTATIONS).map(|_| random.mutation(&corpus));
    for input in corpus.iter().cloned().chain(mutations) {
        let _shown = Shown(target, &input);
        run(&input);
    }
}

/// Shows an input where its target panics.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    #[expect(clippy::print_stderr, reason = "the test has failed by now")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the target {} fails with this input: \"{}\"",
                self.0,
                self.1.escape_ascii()
            );
        }
    }
}

/// Marsaglia's xorshift: the same numbers in each run, so that a failure is no accident.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    /// One of the corpus, or the beginning of one and the end of another, with some bytes changed, left out or doubled.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let some = self.below(corpus.len());
        let mut input = corpus.get(some).cloned().unwrap_or_default();

        if self.below(2) == 0 {
            let other = self.below(corpus.len());
            let other = corpus.get(other).map(Vec::as_slice).unwrap_or_default();
            input.truncate(self.below(input.len() + 1));
            input.extend_from_slice(other.get(self.below(other.len() + 1)..).unwrap_or_default());
        }

        input.truncate(LONGEST);

        for _ in 0..=self.below(4) {
            let (at, byte) = (self.below(input.len()), self.below(256));
            let byte = u8::try_from(byte).unwrap_or_default();
            match self.below(3) {
                0 => input.insert(at, byte),
                1 if !input.is_empty() => drop(input.remove(at)),
                _ => input
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|held| *held = byte),
            }
        }

        input
    }
}
