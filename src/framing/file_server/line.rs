//! The line of a request, in the words of the script.

use super::{Changes, Position, time};
use crate::framing::quoting::quote;

/// A line with a request, whose last command ends the answer.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<u8>);

impl Line {
    pub(super) fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn push_byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Appends commands of the shell and paths, none of which a program takes for an option.
    pub(super) fn words(&mut self, commands: &str, paths: &[&[u8]]) {
        self.push(commands);
        for (number, path) in paths.iter().enumerate() {
            if number > 0 {
                self.push(" ");
            }

            if path.starts_with(b"/") {
                self.text(path);
            } else {
                self.text(&[b"./", *path].concat());
            }
        }
    }

    /// Appends a text in quotes. A line end would end the request.
    pub(super) fn text(&mut self, text: &[u8]) {
        for (number, part) in text.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                self.push("\"$N\"");
            }
            quote(&mut self.0, part);
        }
    }

    /// Appends the way to an offset, by the function `moves`.
    pub(super) fn go(
        &mut self,
        operator: &str,
        moves: &str,
        slot: u8,
        path: &[u8],
        position: Position,
    ) {
        let ahead = match position {
            Position::There => 0,
            Position::Ahead(bytes) => bytes,
            Position::FromStart(bytes) => {
                // The same file, even if another one has its path by now.
                self.push(&format!(
                    "{{ command exec {slot}{operator}/proc/$$/fd/{slot}; }} 2>/dev/null || \
                     {{ command exec {slot}{operator}"
                ));
                self.words("", &[path]);
                self.push("; } 2>/dev/null; ");
                bytes
            }
        };
        if ahead > 0 {
            self.push(&format!("{moves} {slot} {ahead}; "));
        }
    }

    /// Appends the changes to the file at `$p`. The owner comes first, because a new owner clears
    /// bits of the mode, and the times last.
    pub(super) fn change(&mut self, changes: Changes) {
        let Changes {
            size,
            owner,
            mode,
            times,
        } = changes;

        let size = size.map(|size| format!("cu {size}"));
        let owner = owner.map(|(user, group)| format!("chown {user}:{group}"));
        // Five digits clear the bits that four leave as they are on a directory.
        let mode = mode.map(|mode| format!("chmod {:05o}", mode & 0o7777));
        let times = times.map(|(modified, accessed)| {
            format!(
                "tm {} {}",
                time::for_touch(modified),
                time::for_touch(accessed)
            )
        });

        for change in [size, owner, mode, times].into_iter().flatten() {
            self.push(&format!("; [ $s != 0 ] || r {change} \"$p\""));
        }
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.push("; z\n");
        self.0
    }
}

/// Returns the symbolic mask that takes the bits outside of `mode` from new files.
pub(super) fn umask(mode: u32) -> String {
    let who = [('u', 6), ('g', 3), ('o', 0)].into_iter();
    let clauses = who.filter_map(|(who, shift)| {
        let bits = [(4, 'r'), (2, 'w'), (1, 'x')].into_iter();
        let denied: String = bits
            .filter(|(bit, _)| (mode >> shift) & bit == 0)
            .map(|(_, letter)| letter)
            .collect();
        (!denied.is_empty()).then(|| format!("{who}-{denied}"))
    });

    let mask = clauses.collect::<Vec<_>>().join(",");
    if mask.is_empty() {
        "$(umask)".to_owned()
    } else {
        mask
    }
}
