//! Answer of a call that ran a command in several sessions.

use std::cmp::Reverse;

use rmcp::model::CallToolResult;
use serde_json::{Value, json};

use super::{
    CommandReport,
    blocks::{self, Block, BlockKind},
    duration, meta,
    ports::PortHint,
};
use crate::{
    foreign_text::escape_line,
    mcp::call::{limit::MAX_ANSWER_CHARS, tool_error::ToolError},
    ssh::command::exit_status::{Ending, ExitStatus},
};

/// Key in `_meta` of the list of outcomes.
pub(in crate::mcp) const OUTCOMES_KEY: &str = "mcp-ssh-sessions/outcomes";

/// Limit on the text of an answer, in bytes, which are never fewer than its characters.
pub(super) const MAX_ANSWER: usize = MAX_ANSWER_CHARS;
/// Minimum length of a shortened status line or error, in bytes. A hundred of these have room next
/// to the longest names, and two hundred next to names of a hundred bytes.
pub(super) const MIN_LINE: usize = 60;

/// Answer of one session.
struct Answer<'a> {
    /// Position of the session in the call.
    position: usize,
    session: &'a str,
    ran: Result<CommandReport<'a>, ToolError>,
}

/// Answers that say the same, shown once. There is always a first.
struct Group<'a> {
    first: Answer<'a>,
    others: Vec<Answer<'a>>,
}

/// Rank of an answer: what needs attention comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    NotRun,
    Failed,
    Running,
    Succeeded,
}

/// Returns the result of a call for several sessions. Identical answers are shown once, under the
/// names of their sessions. Failures come first, and the outcomes are in the order of the call.
///
/// The result is an error only if the command ran in none of the sessions.
pub(in crate::mcp) fn of_many(
    each: Vec<(&str, Result<CommandReport<'_>, ToolError>)>,
) -> CallToolResult {
    // A session that fails must not make the results of the others look like failures.
    let is_error = each.iter().all(|(_, ran)| ran.is_err());

    let mut groups: Vec<Group<'_>> = Vec::new();
    for (position, (session, ran)) in each.into_iter().enumerate() {
        let answer = Answer {
            position,
            session,
            ran,
        };

        match groups.iter_mut().find(|group| group.first.is_same(&answer)) {
            Some(group) => group.others.push(answer),
            None => groups.push(Group {
                first: answer,
                others: Vec::new(),
            }),
        }
    }

    // A stable sort, so that equals stay in the order of the call.
    groups.sort_by_key(|group| (group.first.rank(), Reverse(group.others.len())));

    let (stream, line) = limits(&groups);
    let blocks = groups
        .iter()
        .flat_map(|group| group.blocks(stream, line))
        .collect();

    let (content, kinds) = blocks::split(blocks);
    let mut result = if is_error {
        CallToolResult::error(content)
    } else {
        CallToolResult::success(content)
    };

    let mut answers: Vec<_> = groups.into_iter().flat_map(Group::answers).collect();
    answers.sort_by_key(|answer| answer.position);
    let outcomes = answers.iter().map(|answer| answer.outcome(stream));
    result.meta = Some(meta(OUTCOMES_KEY, outcomes.collect(), kinds));

    result
}

/// Returns the length to which streams are shortened, and that of status lines and errors, so that
/// all have room in an answer.
fn limits(groups: &[Group<'_>]) -> (usize, usize) {
    let fits = |stream, line| {
        let blocks = groups.iter().flat_map(|group| group.blocks(stream, line));
        // Clients join the blocks by line feeds.
        blocks.map(|block| block.text.len() + 1).sum::<usize>() <= MAX_ANSWER
    };

    // Output gives way first: each status says more than a few lines of its output.
    let stream = largest(|stream| fits(stream, usize::MAX));
    let line = if stream > 0 {
        usize::MAX
    } else {
        largest(|line| fits(0, line)).max(MIN_LINE)
    };

    (stream, line)
}

/// Returns the largest length that fits, `usize::MAX` if any does. Each length below one that fits
/// fits, too.
pub(super) fn largest(fits: impl Fn(usize) -> bool) -> usize {
    if fits(usize::MAX) {
        return usize::MAX;
    }

    let (mut least, mut too_much) = (0, MAX_ANSWER);
    while too_much - least > 1 {
        let middle = usize::midpoint(least, too_much);
        if fits(middle) {
            least = middle;
        } else {
            too_much = middle;
        }
    }

    least
}

impl<'a> Group<'a> {
    /// Returns the blocks of the group: the names of the sessions, then their common answer.
    fn blocks(&self, stream: usize, line: usize) -> Vec<Block> {
        let mut blocks = vec![Block {
            kind: BlockKind::Session,
            text: self.heading(),
        }];

        match &self.first.ran {
            Ok(report) if self.others.is_empty() => {
                let report = report.shortened(stream);
                blocks.extend(report.blocks(report.job, report.time()));
            }
            Ok(report) => blocks.extend(report.shortened(stream).blocks(None, self.time())),
            Err(_) => blocks.push(Block {
                kind: BlockKind::Error,
                text: self.first.error().unwrap_or_default(),
            }),
        }

        for block in &mut blocks {
            if matches!(block.kind, BlockKind::Status | BlockKind::Error) {
                shorten(&mut block.text, line);
            }
        }

        blocks
    }

    /// Returns the line with the names of the sessions. Jobs are named there if there are several,
    /// because the status line is common to all.
    fn heading(&self) -> String {
        heading(self.iter().map(|answer| {
            let job = answer.ran.as_ref().ok().and_then(|report| report.job);
            (answer.session, job)
        }))
    }

    /// Returns the time which the commands of several sessions took, if their end makes the time
    /// matter.
    fn time(&self) -> Option<String> {
        let times = self.iter().filter_map(|answer| {
            let report = answer.ran.as_ref().ok()?;
            matches!(
                report.finished()?.command.ending,
                Ending::TimedOut | Ending::ConnectionLost(_)
            )
            .then_some(report.duration)
        });

        let [least, most] = [times.clone().min()?, times.max()?].map(duration);

        Some(if least == most {
            least
        } else {
            format!("{least} to {most}")
        })
    }

    fn iter(&self) -> impl Iterator<Item = &Answer<'a>> + Clone {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn answers(self) -> impl Iterator<Item = Answer<'a>> {
        std::iter::once(self.first).chain(self.others)
    }
}

impl Answer<'_> {
    /// Returns true if both answers say the same, but for durations and jobs.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.ran, &other.ran) {
            (Ok(report), Ok(other)) => report.is_same(other),
            (Err(_), Err(_)) => self.error() == other.error(),
            _ => false,
        }
    }

    /// Returns the message and hint of an error, without the name of the session, which is in the
    /// heading.
    fn error(&self) -> Option<String> {
        let error = self.ran.as_ref().err()?;
        Some(without_name(self.session, error))
    }

    fn rank(&self) -> Rank {
        match &self.ran {
            Err(_) => Rank::NotRun,
            Ok(report) => match report
                .finished()
                .map(|finished| (&finished.command.ending, finished.command.stopped))
            {
                None => Rank::Running,
                // A stopped command may not have done its work, whatever its code says.
                Some((Ending::Exited(ExitStatus::Code(0)), false)) => Rank::Succeeded,
                Some(_) => Rank::Failed,
            },
        }
    }

    /// Returns the typed outcome, with streams of at most `stream` bytes.
    fn outcome(&self, stream: usize) -> Value {
        match &self.ran {
            Ok(report) => {
                let outcome = report.shortened(stream).outcome();
                serde_json::to_value(&outcome).unwrap_or(Value::Null)
            }
            Err(error) => {
                json!({"session": self.session, "error": error.message, "hint": error.hint})
            }
        }
    }
}

impl CommandReport<'_> {
    /// Returns true if the answers of two sessions say the same, but for durations and jobs.
    fn is_same(&self, other: &Self) -> bool {
        let whole = |report: &Self| {
            report.unseen.output.stdout.omitted() == 0 && report.unseen.output.stderr.omitted() == 0
        };

        // What was left out may differ.
        whole(self)
            && self.unseen.output.stdout == other.unseen.output.stdout
            && self.unseen.output.stderr == other.unseen.output.stderr
            && self.state_parts() == other.state_parts()
            && self.detached == other.detached
            && self.ports == other.ports
            && self.notices() == other.notices()
    }

    /// Returns a report with the first and last parts of each stream, `budget` bytes at most.
    fn shortened(&self, budget: usize) -> Self {
        let mut report = self.clone();
        // The heading names the session.
        report.names_session = false;
        report
            .ports
            .iter_mut()
            .for_each(PortHint::leave_session_open);
        let output = &mut report.unseen.output;
        output.stdout = std::mem::take(&mut output.stdout).shortened(budget);
        output.stderr = std::mem::take(&mut output.stderr).shortened(budget);

        report
    }
}

/// Returns the line with the names of sessions, each with the name of its job if there are several.
pub(super) fn heading<'a>(sessions: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let sessions: Vec<_> = sessions.collect();
    if let [(session, _)] = sessions.as_slice() {
        return format!("[session {}]", escape_line(session.as_bytes()));
    }

    let names = sessions.iter().map(|(session, job)| {
        let name = escape_line(session.as_bytes());
        // A name may look like two, or like a name with a job.
        let name = if name.contains([',', '(', ')', '[', ']', '"']) {
            format!("{name:?}")
        } else {
            name
        };

        match job {
            Some(job) => format!("{name} (job {job})"),
            None => name,
        }
    });

    format!("[sessions {}]", names.collect::<Vec<_>>().join(", "))
}

/// Returns the message and hint of an error, without the name of the session at its beginning.
pub(super) fn without_name(session: &str, error: &ToolError) -> String {
    let name = escape_line(format!("session {session:?}: ").as_bytes());
    let text = error.text();

    text.strip_prefix(&name).unwrap_or(&text).to_owned()
}

/// Shortens a status line or an error to `limit` bytes at most. A bracket at the end stays.
pub(super) fn shorten(text: &mut String, limit: usize) {
    if text.len() > limit {
        let end = if text.ends_with(']') { "…]" } else { "…" };
        let room = limit.saturating_sub(end.len());
        let cut = (0..=room).rfind(|cut| text.is_char_boundary(*cut));
        text.truncate(cut.unwrap_or_default());
        text.push_str(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(each: &[(&str, &str)]) -> Vec<String> {
        let each = each.iter().map(|(session, message)| {
            let error = ToolError::new(*message, "wait");
            (*session, Err(error))
        });

        let result = of_many(each.collect());
        assert_eq!(result.is_error, Some(true));
        super::super::tests::texts(&result)
    }

    #[test]
    fn an_error_is_common_if_it_differs_in_the_session_alone() {
        let blocks = texts(&[
            ("a", "session \"a\": refused"),
            ("b", "session \"b\": no route"),
            ("c\\", "session \"c\\\\\": no route"),
        ]);

        assert_eq!(
            blocks,
            [
                "[sessions b, c\\]",
                "no route\nhint: wait",
                "[session a]",
                "refused\nhint: wait",
            ]
        );
    }

    #[test]
    fn a_name_cannot_look_like_two_or_like_a_job() {
        for (name, shown) in [
            ("a b", "a b"),
            ("a, b", "\"a, b\""),
            ("a (job 1)", "\"a (job 1)\""),
            ("a]", "\"a]\""),
            ("[::1]:22", "\"[::1]:22\""),
        ] {
            let blocks = texts(&[("x", "no"), (name, "no")]);
            assert_eq!(blocks[0], format!("[sessions x, {shown}]"));
        }
    }

    #[test]
    fn every_session_has_its_error_however_long_all_are() {
        let long = "é".repeat(3000);
        for name_length in [3, 320] {
            let each: Vec<_> = (0..100)
                .map(|number| {
                    (
                        format!("{number:0name_length$}"),
                        format!("{number} {long}"),
                    )
                })
                .collect();

            let borrowed: Vec<_> = each
                .iter()
                .map(|(name, message)| (name.as_str(), message.as_str()))
                .collect();

            let blocks = texts(&borrowed);
            let length: usize = blocks.iter().map(|block| block.len() + 1).sum();
            assert!((38_000..=MAX_ANSWER).contains(&length), "{length}");
            for (blocks, (name, _)) in blocks.chunks(2).zip(&each) {
                assert_eq!(blocks[0], format!("[session {name}]"));
                let number = name.trim_start_matches('0');
                assert!(blocks[1].starts_with(number) && blocks[1].ends_with('…'));
            }
        }
    }
}
