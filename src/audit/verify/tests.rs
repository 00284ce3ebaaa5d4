use super::*;
use crate::audit::{
    chain::Tail,
    record::{BeginRecord, Event},
};

/// Number of lines in the log of a test.
const LINES: usize = 9;

/// Returns a line after `tail`, and the tail after it.
fn line(tail: &Tail, command: &str) -> (String, Tail) {
    let mut arguments = serde_json::Map::new();
    arguments.insert("command".to_owned(), command.into());

    let event = Event::Begin(BeginRecord {
        call: format!("{command:0>16}"),
        client: None,
        conversation: "1-1".to_owned(),
        tool: "ssh_exec".to_owned(),
        arguments,
    });

    tail.append("2026-11-30T00:00:00.000Z".to_owned(), 0, event)
        .unwrap()
}

/// Returns a log, without the line feeds.
fn log() -> Vec<String> {
    let mut tail = Tail::default();

    (0..LINES)
        .map(|number| {
            let (line, next) = line(&tail, &format!("command {number}"));
            tail = next;
            line.trim_end().to_owned()
        })
        .collect()
}

fn text(lines: &[String]) -> Vec<u8> {
    let lines = lines.iter();
    lines
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect()
}

fn check(lines: &[String], head: Option<&str>) -> Verdict {
    let mut verifier = Verifier::default();
    verifier.add("log", &text(lines));
    verifier.finish(head)
}

/// The problems as numbers of lines and what is the matter.
fn problems(lines: &[String]) -> Vec<(usize, What)> {
    let verdict = check(lines, None);
    assert!(verdict.notes.is_empty(), "{verdict:?}");
    verdict
        .problems
        .iter()
        .map(|found| (found.line, found.what))
        .collect()
}

#[test]
fn a_log_is_whole_as_it_was_written() {
    let lines = log();
    let verdict = check(&lines, None);
    assert_eq!((verdict.lines, &verdict.problems), (LINES, &Vec::new()));
    assert_eq!(verdict.head, Some(digest(lines[LINES - 1].as_bytes())));
    assert_eq!(check(&[], None).problems, []);

    // Any line may be the head of an earlier time.
    for (before, line) in lines.iter().enumerate() {
        let head = digest(line.as_bytes()).to_uppercase();
        let verdict = check(&lines, Some(&head));
        assert_eq!(verdict.after_wanted, Some(LINES - 1 - before));
        assert_eq!(verdict.problems, []);
    }
}

#[test]
fn a_changed_line_is_named() {
    for (from, to) in [
        ("command", "Command"),
        ("ssh_exec", "ssh_read"),
        ("2026-11-30", "2026-11-29"),
        ("}", "} "),
        ("1-1", "1-2"),
        ("{\"prev", "{ \"prev"),
        ("{\"prev", "\"prev"),
    ] {
        for place in 0..LINES - 1 {
            let mut lines = log();
            lines[place] = lines[place].replacen(from, to, 1);
            assert_eq!(
                problems(&lines),
                [(place + 1, What::Changed)],
                "{from} {to}"
            );
        }
    }

    for place in 0..LINES - 1 {
        // What makes the chain, too.
        let mut lines = log();
        lines[place] = lines[place].replacen("\"prev\":\"", "\"prev\":\"0", 1);
        assert!(
            problems(&lines).contains(&(place + 1, What::Changed)),
            "{place}"
        );

        let mut lines = log();
        let n = format!("\"n\":{}", place + 1);
        lines[place] = lines[place].replacen(&n, "\"n\":77", 1);
        assert!(
            problems(&lines).iter().any(|(line, _)| *line == place + 1),
            "{place}"
        );

        let mut lines = log();
        lines[place].clear();
        assert_eq!(problems(&lines), [(place + 1, What::Changed)]);

        // Two in a row.
        if place > 0 {
            let mut lines = log();
            for place in [place - 1, place] {
                lines[place] = lines[place].replacen("command", "COMMAND", 1);
            }
            let expected = [(place, What::Changed), (place + 1, What::Changed)];
            assert_eq!(problems(&lines), expected);
        }
    }
}

#[test]
fn removed_lines_are_named() {
    for first in 0..LINES {
        for last in first..LINES - 1 {
            let mut lines = log();
            lines.drain(first..=last);

            let missing = What::Missing {
                first: first as u64 + 1,
                last: last as u64 + 1,
            };
            assert_eq!(problems(&lines), [(first + 1, missing)]);
        }
    }
}

#[test]
fn added_and_moved_lines_are_named() {
    for place in 0..LINES {
        // A forged line that fits to the line before.
        let mut lines = log();
        let tail = Tail::find(&text(&lines[..place])).unwrap_or_default();
        lines.insert(place, line(&tail, "forged").0.trim_end().to_owned());
        assert_eq!(problems(&lines), [(place + 1, What::Added)]);

        let mut lines = log();
        let copy = lines[place].clone();
        lines.insert(place, copy);
        assert_eq!(problems(&lines), [(place + 1, What::Added)]);

        for other in place + 1..LINES {
            let mut lines = log();
            lines.swap(place, other);
            let found = problems(&lines);
            let is_named = |(line, _): &(usize, What)| [place + 1, other + 1].contains(line);
            assert!(found.iter().any(is_named), "{place} {other}: {found:?}");

            let mut lines = log();
            let moved = lines.remove(place);
            lines.insert(other, moved);
            assert_ne!(problems(&lines), [], "{place} {other}");
        }
    }
}

#[test]
fn only_an_earlier_head_shows_what_is_missing_at_the_end() {
    let lines = log();
    let head = digest(lines[LINES - 1].as_bytes());
    let no_head = |lines: &[String]| {
        let found = check(lines, Some(&head)).problems;
        found.iter().any(|found| found.what == What::NoHead)
    };
    assert!(!no_head(&lines));

    for rest in 0..LINES {
        assert_eq!(problems(&lines[..rest]), []);
        assert!(no_head(&lines[..rest]));
    }

    // The last line, and all lines from one on with their chain.
    let mut changed = lines.clone();
    changed[LINES - 1] = changed[LINES - 1].replacen("command", "Command", 1);
    assert_eq!(problems(&changed), []);
    assert!(no_head(&changed));

    let mut tail = Tail::find(&text(&lines[..4])).unwrap();
    let mut forged = lines[..4].to_vec();
    for _ in 4..LINES {
        let (line, next) = line(&tail, "forged");
        forged.push(line.trim_end().to_owned());
        tail = next;
    }
    assert_eq!(problems(&forged), []);
    assert!(no_head(&forged));
}

#[test]
fn a_broken_line_of_a_crash_is_no_change() {
    let lines = log();

    for cut in [0, 1, 40, lines[4].len() - 1, lines[4].len()] {
        let mut log = text(&lines[..4]);
        log.extend_from_slice(&lines[4].as_bytes()[..cut]);
        let mut verifier = Verifier::default();
        verifier.add("log", &log);
        let notes = verifier.finish(None).notes.len();
        assert_eq!(notes, usize::from(cut > 0));

        // The log goes on, also after a second crash.
        for crashes in 0..2 {
            let tail = Tail::find(&log).unwrap();
            let (after, _) = line(&tail, "after");
            if crashes == 0 {
                log.extend_from_slice(&after.as_bytes()[..20]);
            } else {
                log.extend_from_slice(after.as_bytes());
            }
        }

        let mut verifier = Verifier::default();
        verifier.add("log", &log);
        let verdict = verifier.finish(None);
        assert_eq!(verdict.problems, [], "{cut}");
        assert!(!verdict.notes.is_empty(), "{cut}");
        assert!(verdict.notes.iter().all(|note| note.what == What::Torn));

        // What looks like a crash elsewhere is a change.
        let mut lines = lines.clone();
        let kept = cut.min(lines[2].len() - 1);
        lines[2].truncate(kept);
        assert_eq!(problems(&lines), [(3, What::Changed)], "{cut}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let lines = log();
    let files = [&lines[..3], &lines[3..6], &lines[6..]];

    for missing in 0..2 {
        let mut verifier = Verifier::default();
        for (number, lines) in files.iter().enumerate() {
            if number != missing {
                verifier.add(&format!("log.{}", number + 1), &text(lines));
            }
        }

        let first = missing as u64 * 3 + 1;
        assert_eq!(
            verifier.finish(None).problems,
            [Finding {
                file: format!("log.{}", missing + 2),
                line: 1,
                what: What::Missing {
                    first,
                    last: first + 2
                },
            }]
        );
    }
}
