//! Searches: patterns and globs of agents, and what a host prints. A pattern means the same for `grep`, a glob the same for
//! `find`, and output is read the same however it is cut.

use crate::{
    edit::search::{
        blocks::BlockReader,
        file::FileSearch,
        glob::Glob,
        matches::{MatchPlace, MatchReader, Matches},
        names::{FoundNames, NameReader},
        pattern::Pattern,
    },
    framing::search::{SearchHead, SearchWords, script},
};

fn matches() -> MatchReader {
    MatchReader::new(b"./".to_vec(), 3, MatchPlace::Column)
}

fn blocks(output: &[u8], size: usize) -> Matches {
    let (mut matches, mut reader) = (matches(), BlockReader::default());
    for chunk in output.chunks(size) {
        reader.push(chunk, &mut matches);
    }
    matches.finish()
}

fn names(output: &[u8], size: usize) -> FoundNames {
    let mut reader = NameReader::new(b"./".to_vec(), None, 3);
    for chunk in output.chunks(size) {
        reader.push(chunk);
    }
    reader.finish()
}

fn lines(file: &[u8], pattern: &Pattern, context: usize, size: usize) -> Matches {
    let mut matches = matches();
    let mut search = FileSearch::new(b"./a", pattern, context);
    for chunk in file.chunks(size) {
        search.push(chunk, &mut matches);
    }
    search.finish(&mut matches);
    matches.finish()
}

/// Tries one input: a byte for options, a line with a pattern or glob, and then output.
pub fn run(data: &[u8]) {
    let Some((&options, rest)) = data.split_first() else {
        return;
    };
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let (typed, output) = rest.split_at(end);
    let (typed, size) = (String::from_utf8_lossy(typed), usize::from(options) + 1);
    let whole = output.len().max(1);

    let found = blocks(output, whole);
    assert_eq!(found, blocks(output, size));
    assert!(found.shown <= 3);

    let found = names(output, whole);
    assert_eq!(found, names(output, size));
    assert!(found.names.len() <= 3 && found.names.len() as u64 <= found.total);
    assert!(found.names.iter().all(|name| name.starts_with(b"./")));

    if let Some(head) = SearchHead::parse(output) {
        assert!(head.length <= output.len());
    }

    if let Ok(glob) = Glob::parse(&typed) {
        let _ = glob.matches(output);
        assert!(glob.for_find().is_none_or(|tests| !tests.is_empty()));
    }

    if let Ok(pattern) = Pattern::parse(&typed, options % 2 == 0) {
        let context = usize::from(options % 4);
        let found = lines(output, &pattern, context, whole);
        assert_eq!(found, lines(output, &pattern, context, size));

        let grep = pattern.extended();
        assert!(grep.is_none_or(|grep| !grep.contains(&0) && !grep.contains(&b'\n')));
        let script = script(&SearchWords {
            path: b"./a",
            pattern: Some((typed.as_bytes(), grep)),
            ..SearchWords::default()
        });
        assert!(script.ends_with(b"}\n"));
    }
}
