//! The output of `rg` and `grep`: the same however it is cut, and every line belongs to the file that is named before it.

use crate::edit::search::{
    matches::{MatchPlace, MatchReader, Matches},
    pattern::Pattern,
};

fn read(output: &[u8], limit: usize, place: &MatchPlace, size: usize) -> Matches {
    let mut reader = MatchReader::new(b"./".to_vec(), limit, place.clone());
    for chunk in output.chunks(size) {
        reader.push(chunk);
    }
    reader.finish()
}

/// Tries one input: a byte for options, then output.
pub fn run(data: &[u8]) {
    let Some((&options, output)) = data.split_first() else {
        return;
    };
    let (limit, size) = (usize::from(options % 5), usize::from(options) + 1);
    let pattern = Pattern::parse("a", true).expect("a pattern");

    for place in [
        MatchPlace::Column,
        MatchPlace::Pattern(Box::new(pattern)),
        MatchPlace::Unknown,
    ] {
        let found = read(output, limit, &place, output.len().max(1));
        assert_eq!(found, read(output, limit, &place, size));
        assert!(found.shown <= limit && found.shown as u64 <= found.total);
        assert!(found.total_files <= found.total);

        for file in &found.files {
            assert!(file.path.starts_with(b"./") && !file.lines.is_empty());
            // Each line was written after the name of its file.
            for line in &file.lines {
                let sign = if line.is_match { ':' } else { '-' };
                let head = [file.path.as_slice(), b"\0"].concat();
                let named = memchr::memmem::find_iter(output, &head).any(|at| {
                    let rest = &output[at + head.len()..];
                    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    std::str::from_utf8(&rest[..digits])
                        .ok()
                        .and_then(|text| text.parse().ok())
                        == Some(line.number)
                        && rest.get(digits).map(|byte| char::from(*byte)) == Some(sign)
                });
                assert!(named, "{line:?} of {:?}", file.path);
                assert!(!line.text.contains(['\n', '\r', '\u{1b}']));
            }
        }
    }
}
