//! Applies the sections of a patch to the contents of files.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use super::{
    Applied, Change, Hunk, HunkLine, Leniency, LenientHunk, Operation, PatchError, Section,
    hunk::Place,
};
use crate::edit::lines::{first_line_end, line_end, lines};

/// Applies the sections in order and returns the changes from the state in `files`.
pub(super) fn apply(
    sections: &[Section],
    files: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<Applied, PatchError> {
    let mut state = State {
        files: files
            .iter()
            .map(|(path, content)| (path.as_slice(), Cow::Borrowed(content.as_slice())))
            .collect(),
        origins: BTreeMap::new(),
    };
    let mut lenient = Vec::new();

    for Section { path, operation } in sections {
        match operation {
            Operation::Add(content) => state.create(path, Cow::Borrowed(content))?,
            Operation::Delete => {
                state.take(path)?;
                state.origins.remove(path.as_slice());
            }
            Operation::Update { move_to, hunks } => {
                let content = state.take(path)?;
                let content = match update(path, &content, hunks, &mut lenient)? {
                    Some(changed) => Cow::Owned(changed),
                    None => content,
                };
                state.put_back(path, move_to.as_deref(), content)?;
            }
        }
    }

    Ok(Applied {
        changes: state.changes(files),
        lenient,
    })
}

/// Files as the sections so far have left them.
struct State<'a> {
    files: BTreeMap<&'a [u8], Cow<'a, [u8]>>,
    /// First path of each file that was moved, by the present path.
    origins: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> State<'a> {
    fn create(&mut self, path: &'a [u8], content: Cow<'a, [u8]>) -> Result<(), PatchError> {
        if self.files.contains_key(path) {
            return Err(PatchError::FileExists(path.to_vec()));
        }
        self.files.insert(path, content);

        Ok(())
    }

    fn take(&mut self, path: &[u8]) -> Result<Cow<'a, [u8]>, PatchError> {
        self.files
            .remove(path)
            .ok_or_else(|| PatchError::NoFile(path.to_vec()))
    }

    /// Puts a file that was taken from `path` back, or at the target of its move.
    fn put_back(
        &mut self,
        path: &'a [u8],
        move_to: Option<&'a [u8]>,
        content: Cow<'a, [u8]>,
    ) -> Result<(), PatchError> {
        let target = move_to.unwrap_or(path);
        self.create(target, content)?;
        if target != path {
            let origin = self.origins.remove(path).unwrap_or(path);
            self.origins.insert(target, origin);
        }

        Ok(())
    }

    /// Returns the differences to the files before the patch.
    fn changes(mut self, before: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<Change> {
        // A rename is one only if the old path is free in the end, and the new one was free before.
        self.origins.retain(|to, from| {
            self.files.contains_key(to)
                && !self.files.contains_key(from)
                && before.contains_key(*from)
                && !before.contains_key(*to)
        });
        let renamed: BTreeSet<&[u8]> = self.origins.values().copied().collect();

        let kept: BTreeSet<&[u8]> = self.files.keys().copied().collect();

        let mut changes = Vec::new();
        for (path, content) in self.files {
            let old = before.get(path);
            let path = path.to_vec();
            if let Some(from) = self.origins.get(path.as_slice()) {
                let is_changed = before.get(*from).is_none_or(|old| *old != *content);
                changes.push(Change::Rename {
                    from: from.to_vec(),
                    to: path,
                    content: is_changed.then(|| content.into_owned()),
                });
            } else if old.is_none() {
                changes.push(Change::Create {
                    path,
                    content: content.into_owned(),
                });
            } else if old.is_some_and(|old| *old != *content) {
                changes.push(Change::Write {
                    path,
                    content: content.into_owned(),
                });
            }
        }

        let gone = before
            .keys()
            .filter(|path| !kept.contains(path.as_slice()) && !renamed.contains(path.as_slice()));
        changes.extend(gone.map(|path| Change::Delete { path: path.clone() }));

        changes
    }
}

/// Applies the hunks of a section. Returns `None` if there are none.
fn update(
    path: &[u8],
    content: &[u8],
    hunks: &[Hunk],
    lenient: &mut Vec<LenientHunk>,
) -> Result<Option<Vec<u8>>, PatchError> {
    if hunks.is_empty() {
        return Ok(None);
    }

    let file: Vec<&[u8]> = lines(content).collect();
    let mut changed = Changed::new(content);
    let mut next = 0;
    for hunk in hunks {
        let place = hunk.find(&file, next).map_err(|problem| PatchError::Hunk {
            path: path.to_vec(),
            line: hunk.line,
            problem,
        })?;
        // Other line ends are no difference to an agent, which sees none.
        if place.leniency > Leniency::LineEnds {
            lenient.push(LenientHunk {
                path: path.to_vec(),
                line: hunk.line,
                leniency: place.leniency,
            });
        }

        changed.keep(file.get(next..place.start).unwrap_or_default());
        changed.apply(hunk, &file, place);
        next = place.start + place.length;
    }
    changed.keep(file.get(next..).unwrap_or_default());

    Ok(Some(changed.finish()))
}

/// New lines of a file, made from kept and added lines.
struct Changed<'a> {
    content: Vec<u8>,
    /// Line end where no line near an added line has one.
    default_end: &'static [u8],
    /// Line end of the last line of the file that was kept or removed.
    last_end: &'static [u8],
    /// True if the last line of `content` was added.
    is_last_added: bool,
    original: &'a [u8],
}

impl<'a> Changed<'a> {
    fn new(original: &'a [u8]) -> Self {
        let default_end = first_line_end(original);
        Self {
            content: Vec::with_capacity(original.len()),
            default_end,
            last_end: default_end,
            is_last_added: false,
            original,
        }
    }

    /// Appends lines of the file as they are.
    fn keep(&mut self, kept: &[&[u8]]) {
        for line in kept {
            self.end_line();
            self.content.extend_from_slice(line);
            self.is_last_added = false;
            self.note_end(line);
        }
    }

    /// Appends the lines of a hunk, whose place is known.
    fn apply(&mut self, hunk: &Hunk, file: &[&[u8]], place: Place) {
        let mut old = file.iter().skip(place.start).take(place.length);
        let mut removed_ends = VecDeque::new();

        for line in &hunk.lines {
            match line {
                HunkLine::Keep(_) => {
                    // Blank lines at the end of a hunk may be without a counterpart.
                    let Some(line) = old.next() else { continue };
                    removed_ends.clear();
                    self.keep(&[line]);
                }
                HunkLine::Remove(_) => {
                    let Some(line) = old.next() else { continue };
                    removed_ends.push_back(line_end(line));
                    self.note_end(line);
                }
                HunkLine::Add(text) => {
                    let end = removed_ends.pop_front().filter(|end| !end.is_empty());
                    let end = end.unwrap_or(self.last_end);
                    self.end_line();
                    self.content.extend_from_slice(text);
                    self.content.extend_from_slice(end);
                    self.is_last_added = true;
                }
            }
        }
    }

    fn note_end(&mut self, line: &[u8]) {
        let end = line_end(line);
        if !end.is_empty() {
            self.last_end = end;
        }
    }

    /// Ends the last line of the file if it had no end, because another line follows now.
    fn end_line(&mut self) {
        if !self.content.is_empty() && !self.content.ends_with(b"\n") {
            self.content.extend_from_slice(self.default_end);
        }
    }

    /// Returns the content. A file without a newline at the end stays without one.
    fn finish(mut self) -> Vec<u8> {
        let had_no_end = !self.original.is_empty() && !self.original.ends_with(b"\n");
        if had_no_end && self.is_last_added {
            let end = line_end(&self.content).len();
            self.content.truncate(self.content.len() - end);
        }

        self.content
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{HunkProblem, Patch},
        *,
    };

    fn files(files: &[(&str, &str)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        files
            .iter()
            .map(|(path, content)| (bytes(path), bytes(content)))
            .collect()
    }

    fn applied(body: &str, before: &[(&str, &str)]) -> Result<Applied, PatchError> {
        let patch = format!("*** Begin Patch\n{body}\n*** End Patch\n");
        Patch::parse(patch.as_bytes())?.apply(&files(before))
    }

    /// Applies hunks to one file and returns its new content, or the error.
    fn updated(hunks: &str, content: &str) -> Result<String, String> {
        let applied = applied(&format!("*** Update File: f\n{hunks}"), &[("f", content)]);
        let changes = applied.map_err(|error| error.to_string())?.changes;
        match changes.as_slice() {
            [Change::Write { content, .. }] => Ok(String::from_utf8_lossy(content).into_owned()),
            [] => Ok(content.to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hunks_change_only_their_lines() {
        for (hunks, content, result) in [
            ("@@\n a\n-b\n+x\n c", "a\nb\nc\n", "a\nx\nc\n"),
            (" a\n+x", "a\nb\n", "a\nx\nb\n"),
            ("@@\n-b", "a\nb\nc\n", "a\nc\n"),
            // Line ends of the file, for each line in mixed files.
            (
                "@@\n a\n-b\n+x\n+y",
                "a\r\nb\r\nc\r\n",
                "a\r\nx\r\ny\r\nc\r\n",
            ),
            ("@@\n-a\n-b\n+x\n+y\n c", "a\r\nb\nc\r\n", "x\r\ny\nc\r\n"),
            ("@@\n a\n+x", "a\nb\r\n", "a\nx\nb\r\n"),
            // No newline at the end.
            ("@@\n-b\n+x", "a\nb", "a\nx"),
            ("@@\n b\n+x", "a\nb", "a\nb\nx"),
            ("@@\n b\n+x", "a\r\nb", "a\r\nb\r\nx"),
            ("@@\n-b", "a\nb", "a\n"),
            ("+x", "", "x\n"),
            ("+x", "a\n", "a\nx\n"),
            ("@@\n-a\n+x", "a", "x"),
            // Several hunks, headers and the end of the file.
            (
                "@@\n-a\n+x\n@@\n-a\n+y",
                "a\nb\n",
                "error: f, hunk at line 6 of the patch: its lines occur only earlier",
            ),
            ("@@\n-a\n+x\n\n@@\n-c\n+y", "a\nb\nc\n", "x\nb\ny\n"),
            (
                "@@ two\n-v\n+x",
                "one\nv\ntwo\nv\nthree\nv\n",
                "one\nv\ntwo\nx\nthree\nv\n",
            ),
            (
                "@@ two\n@@ in\n-v\n+x",
                "in\nv\ntwo\nin\nv\n",
                "in\nv\ntwo\nin\nx\n",
            ),
            ("@@\n-v\n+x\n*** End of File", "v\na\nv\n", "v\na\nx\n"),
            (
                "@@\n-v\n+x\n*** End of File",
                "v\na\n",
                "error: f, hunk at line 3 of the patch: its lines are not the last",
            ),
            (
                "@@\n-v\n+x",
                "v\na\nv\n",
                "error: f, hunk at line 3 of the patch: its lines were found 2 times: lines 1, 3",
            ),
            (
                "@@ no\n-v\n+x",
                "v\n",
                "error: f, hunk at line 3 of the patch: the line \"no\" after @@ was not found",
            ),
            (
                "@@ v\n+x",
                "v\n",
                "error: f, hunk at line 3 of the patch: it has only added lines",
            ),
            // A blank line that only separates.
            ("@@\n-a\n+x\n b\n", "a\nb\nc\n", "x\nb\nc\n"),
            (
                "@@\n-alpha 1\n+x",
                "alpha 2\n",
                "error: f, hunk at line 3 of the patch: its lines were not found; the most similar place differs in line 1, column 7",
            ),
        ] {
            match (updated(hunks, content), result.strip_prefix("error: ")) {
                (Ok(found), None) => assert_eq!(found, result, "{hunks:?}"),
                (Err(error), Some(expected)) => assert!(error.starts_with(expected), "{error}"),
                (found, _) => panic!("{hunks:?} on {content:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn leniency_is_reported_and_never_guesses() {
        for (hunks, content, result, leniency) in [
            (
                "@@\n a\n-b\n+x",
                "a  \nb\t\n",
                "a  \nx\n",
                Some(Leniency::TrailingWhitespace),
            ),
            (
                "@@\n a\n-b\n+  x",
                "  a\n  b\n",
                "  a\n  x\n",
                Some(Leniency::Indentation),
            ),
            ("@@\n a\n-b\n+x", "a\r\nb\r\n", "a\r\nx\r\n", None),
            // An exact place wins over lenient ones.
            ("@@\n-b\n+x", " b\nb\n", " b\nx\n", None),
        ] {
            let applied =
                applied(&format!("*** Update File: f\n{hunks}"), &[("f", content)]).expect(hunks);
            assert_eq!(
                applied.changes,
                [Change::Write {
                    path: b"f".to_vec(),
                    content: result.as_bytes().to_vec()
                }]
            );
            assert_eq!(applied.lenient.first().map(|hunk| hunk.leniency), leniency);
        }

        let twice = applied("*** Update File: f\n@@ a\n-b\n+x", &[("f", "a\n b\n  b\n")]);
        assert!(matches!(
            twice,
            Err(PatchError::Hunk {
                problem: HunkProblem::FoundSeveralTimes { count: 2, .. },
                ..
            })
        ));
    }

    #[test]
    fn files_are_created_renamed_and_deleted() {
        let before = [("a", "1\n"), ("b", "2\n")];
        let bytes = |text: &str| text.as_bytes().to_vec();
        let create = |path, content| Change::Create {
            path: bytes(path),
            content: bytes(content),
        };
        let write = |path, content| Change::Write {
            path: bytes(path),
            content: bytes(content),
        };
        let delete = |path| Change::Delete { path: bytes(path) };
        let rename = |from, to, content: Option<&str>| Change::Rename {
            from: bytes(from),
            to: bytes(to),
            content: content.map(bytes),
        };
        let update = |path: &str, to: &str, old: &str, new: &str| {
            format!("*** Update File: {path}\n*** Move to: {to}\n@@\n-{old}\n+{new}\n")
        };

        for (body, changes) in [
            ("*** Add File: c\n+3".to_owned(), vec![create("c", "3\n")]),
            ("*** Add File: c".to_owned(), vec![create("c", "")]),
            ("*** Delete File: a".to_owned(), vec![delete("a")]),
            (
                "*** Update File: a\n*** Move to: c".to_owned(),
                vec![rename("a", "c", None)],
            ),
            (
                update("a", "c", "1", "x"),
                vec![rename("a", "c", Some("x\n"))],
            ),
            (update("a", "a", "1", "x"), vec![write("a", "x\n")]),
            (
                update("a", "c", "1", "x") + &update("c", "d", "x", "y"),
                vec![rename("a", "d", Some("y\n"))],
            ),
            (
                update("a", "c", "1", "x") + "*** Delete File: c",
                vec![delete("a")],
            ),
            (
                update("a", "c", "1", "x") + "*** Add File: a\n+n",
                vec![write("a", "n\n"), create("c", "x\n")],
            ),
            (
                "*** Delete File: a\n*** Add File: a\n+n".to_owned(),
                vec![write("a", "n\n")],
            ),
            (
                "*** Delete File: b\n".to_owned() + &update("a", "b", "1", "x"),
                vec![write("b", "x\n"), delete("a")],
            ),
            (
                "*** Update File: a\n-1\n+x\n*** Update File: a\n-x\n+y".to_owned(),
                vec![write("a", "y\n")],
            ),
            ("*** Update File: a\n-1\n+1".to_owned(), vec![]),
        ] {
            let applied = applied(&body, &before).expect(&body);
            assert_eq!(applied.changes, changes, "{body}");
        }
    }

    #[test]
    fn nothing_is_overwritten_or_made_up() {
        let before = [("a", "1\n"), ("b", "2\n")];
        for (body, error) in [
            ("*** Add File: a\n+x", PatchError::FileExists(b"a".to_vec())),
            (
                "*** Update File: a\n*** Move to: b",
                PatchError::FileExists(b"b".to_vec()),
            ),
            (
                "*** Update File: c\n-x\n+y",
                PatchError::NoFile(b"c".to_vec()),
            ),
            ("*** Delete File: c", PatchError::NoFile(b"c".to_vec())),
        ] {
            assert_eq!(applied(body, &before), Err(error));
        }
    }

    proptest! {
        #[test]
        fn a_hunk_that_fits_changes_just_its_line(
            lines in prop::collection::vec(("[a-c ]{0,3}", any::<bool>()), 1..12), at in any::<prop::sample::Index>(), ended in any::<bool>(),
        ) {
            let at = at.index(lines.len());
            let mut old = String::new();
            let mut new = String::new();
            for (n, (text, crlf)) in lines.iter().enumerate() {
                let end = if !ended && n + 1 == lines.len() { "" } else if *crlf { "\r\n" } else { "\n" };
                old.extend([n.to_string().as_str(), text, end]);
                let text = if n == at { "new".to_owned() } else { format!("{n}{text}") };
                new.extend([text.as_str(), end]);
            }

            let hunk = format!("@@\n-{at}{}\n+new", lines[at].0);
            prop_assert_eq!(updated(&hunk, &old), Ok(new));
        }
    }
}
