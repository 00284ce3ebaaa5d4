//! A patch changes only files that it names, and all of them or none. Lines that it does not name stay.

use std::collections::BTreeMap;

use crate::edit::patch::{Change, Patch};

/// What a byte stands for, so that a fuzzer comes by the words of the format.
const WORDS: [&str; 12] = [
    "*** Begin Patch\n",
    "*** End Patch\n",
    "*** Add File: ",
    "*** Update File: ",
    "*** Delete File: ",
    "*** Move to: ",
    "*** End of File\n",
    "@@ ",
    "@@\n",
    "a\n",
    "b\n",
    "\r\n",
];

/// Tries one input: the content of a file and a patch, between NUL bytes.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let content = parts.next().unwrap_or_default().to_vec();
    let mut patch = Vec::new();
    for &byte in parts.next().unwrap_or_default() {
        match WORDS.get(usize::from(byte).wrapping_sub(0x80)) {
            Some(word) => patch.extend(word.as_bytes()),
            None => patch.push(byte),
        }
    }

    let Ok(parsed) = Patch::parse(&patch) else {
        return;
    };
    let paths = parsed.paths();
    assert!(
        !paths.is_empty()
            && paths
                .iter()
                .all(|path| !path.is_empty() && !path.contains(&0))
    );

    let files = BTreeMap::from([
        (b"a".to_vec(), content.clone()),
        (b"other".to_vec(), b"x\n".to_vec()),
    ]);
    let applied = match parsed.apply(&files) {
        Ok(applied) => applied,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for change in &applied.changes {
        let (named, exists) = match change {
            Change::Create { path, .. } => (path, false),
            Change::Write { path, .. } | Change::Delete { path } => (path, true),
            Change::Rename { from, to, .. } => {
                assert!(files.contains_key(from) && paths.contains(from.as_slice()));
                (to, false)
            }
        };
        assert!(paths.contains(named.as_slice()) && files.contains_key(named) == exists);

        if let Change::Write { content: new, .. } = change {
            let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count();
            let added = lines(&patch);
            assert!(lines(new) <= lines(files.get(named).map_or(b"", Vec::as_slice)) + added);
        }
    }
}
