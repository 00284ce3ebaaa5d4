//! Answer of a call that did the same in several sessions, with one line for each: an upload.

use std::cmp::Reverse;

use rmcp::model::CallToolResult;
use serde_json::Value;

use super::{
    blocks::{self, Block, BlockKind},
    many::{MAX_ANSWER, MIN_LINE, heading, largest, shorten, without_name},
    meta,
};
use crate::mcp::call::tool_error::ToolError;

/// Sessions of which the same is said.
struct Group<'a> {
    kind: BlockKind,
    text: String,
    sessions: Vec<&'a str>,
}

/// Returns the result of a call for several sessions. Identical lines are shown once, under the
/// names of their sessions, and errors come first. `facts` are for programs, under `key`.
///
/// The result is an error only if nothing was done in any of the sessions.
pub(in crate::mcp) fn of_many_lines(
    each: &[(&str, Result<String, ToolError>)],
    key: &str,
    facts: Value,
) -> CallToolResult {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (session, done) in each {
        let (kind, text) = match done {
            Ok(line) => (BlockKind::Status, line.clone()),
            Err(error) => (BlockKind::Error, without_name(session, error)),
        };

        let same = |group: &&mut Group<'_>| group.kind == kind && group.text == text;
        match groups.iter_mut().find(same) {
            Some(group) => group.sessions.push(*session),
            None => groups.push(Group {
                kind,
                text,
                sessions: vec![*session],
            }),
        }
    }

    // A stable sort, so that equals stay in the order of the call.
    groups.sort_by_key(|group| {
        let is_done = group.kind == BlockKind::Status;
        (is_done, Reverse(group.sessions.len()))
    });

    let fits = |limit| {
        let blocks = groups.iter().flat_map(|group| group.blocks(limit));
        blocks.map(|block| block.text.len() + 1).sum::<usize>() <= MAX_ANSWER
    };
    let limit = largest(fits).max(MIN_LINE);

    let blocks = groups.iter().flat_map(|group| group.blocks(limit));
    let (content, kinds) = blocks::split(blocks.collect());
    let mut result = if each.iter().all(|(_, done)| done.is_err()) {
        CallToolResult::error(content)
    } else {
        CallToolResult::success(content)
    };
    result.meta = Some(meta(key, facts, kinds));

    result
}

impl Group<'_> {
    /// Returns the names of the sessions, then their line of at most `limit` bytes.
    fn blocks(&self, limit: usize) -> [Block; 2] {
        let names = self.sessions.iter().map(|session| (*session, None));
        let mut text = self.text.clone();
        shorten(&mut text, limit);

        [
            Block {
                kind: BlockKind::Session,
                text: heading(names),
            },
            Block {
                kind: self.kind,
                text,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lines_are_shown_once_and_errors_first() {
        let each = [
            ("a", Ok("uploaded".to_owned())),
            ("b", Err(ToolError::new("session \"b\": no route", "wait"))),
            ("c", Ok("uploaded".to_owned())),
        ];

        let result = of_many_lines(&each, "key", Value::Null);
        assert_eq!(result.is_error, Some(false));
        assert_eq!(
            super::super::tests::texts(&result),
            [
                "[session b]",
                "no route\nhint: wait",
                "[sessions a, c]",
                "uploaded"
            ]
        );
    }

    #[test]
    fn an_answer_of_many_different_errors_is_not_too_long() {
        let names: Vec<_> = (0..200).map(|number| number.to_string()).collect();
        let each: Vec<_> = names
            .iter()
            .map(|name| {
                let error = ToolError::new(format!("{name} {}", "é".repeat(3000)), "wait");
                (name.as_str(), Err(error))
            })
            .collect();

        let result = of_many_lines(&each, "key", Value::Null);
        assert_eq!(result.is_error, Some(true));
        let texts = super::super::tests::texts(&result);
        assert_eq!(texts.len(), 400);
        let length: usize = texts.iter().map(|text| text.len() + 1).sum();
        assert!((38_000..=MAX_ANSWER).contains(&length), "{length}");
    }
}
