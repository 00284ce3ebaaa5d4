//! Replacement of text in a file: what is around the place stays byte for byte, and text that is not found has a nearest
//! place of a few lines.

use crate::edit::{
    diff,
    replace::{ReplaceError, replace},
};

/// Tries one input: a byte for options, then content, old and new text between NUL bytes.
pub fn run(data: &[u8]) {
    let Some((&options, data)) = data.split_first() else {
        return;
    };
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (content, old, new) = (part(), part(), part());

    match replace(content, old, new, options & 1 == 1) {
        Ok(replaced) => {
            assert_ne!(replaced.content, content);
            let shown = diff::unified(content, &replaced.content, None);
            assert!(!shown.text.is_empty() && shown.text.lines().count() <= 60);
            if replaced.places == 1 {
                around(content, old, new, &replaced.content);
            }
        }
        Err(ReplaceError::NotFound(nearest)) => {
            assert!(memchr::memmem::find(content, old).is_none());
            assert!(nearest.is_none_or(|nearest| nearest.to_string().lines().count() <= 10));
        }
        Err(ReplaceError::FoundSeveralTimes { count, lines }) => {
            assert!(count > 1 && !lines.is_empty() && lines.len() <= count.min(20));
        }
        Err(ReplaceError::EmptyOldText) => assert!(old.is_empty()),
        Err(ReplaceError::NothingChanges) => {}
    }
}

/// Some split of the content into what was before, the old text and what was after explains the result.
fn around(content: &[u8], old: &[u8], new: &[u8], result: &[u8]) {
    let old_length = |text: &[u8]| without_cr(text) == without_cr(old);
    let explained = (0..=content.len()).any(|start| {
        let longest = (old.len() * 2).min(content.len() - start);
        (old.len()..=longest).any(|length| {
            let (before, after) = (&content[..start], &content[start + length..]);
            old_length(&content[start..start + length])
                && result.len() >= before.len() + after.len()
                && result.starts_with(before)
                && result.ends_with(after)
                && without_cr(&result[before.len()..result.len() - after.len()]) == without_cr(new)
        })
    });
    assert!(
        explained || content.len() > 200,
        "more than the place has changed"
    );
}

fn without_cr(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .copied()
        .filter(|byte| *byte != b'\r')
        .collect()
}
