//! Removes bash's complaint about a missing terminal from a command's stderr. An interactive bash
//! without a terminal prints it whenever a child was killed by a signal: `bash: [PID: LEVEL (FD)]
//! tcsetattr: Inappropriate ioctl for device`, in bash 3.2 without the `(FD)`.

/// Longest possible complaint, in bytes.
const MAX_LINE_BYTES: usize = 256;

/// Filter for the stderr of a shell's command. Bytes come out as soon as they cannot belong to a
/// complaint.
#[derive(Debug)]
pub struct TerminalNoise {
    /// First bytes of a complaint of this shell.
    beginning: Vec<u8>,
    /// Bytes held back, because a complaint may begin with these.
    held: Vec<u8>,
}

impl TerminalNoise {
    /// Creates a filter for the shell with this process id, which stands in the complaint.
    #[must_use]
    pub fn for_shell(pid: u32) -> Self {
        Self {
            beginning: format!("bash: [{pid}: ").into_bytes(),
            held: Vec::new(),
        }
    }

    /// Takes the next bytes, and appends everything outside of complaints to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let mut from = 0;

        // A complaint can begin anywhere in a line: bash does not know if the command has ended its
        // own line.
        while let Some(offset) = self
            .held
            .iter()
            .skip(from)
            .position(|byte| Some(byte) == self.beginning.first())
        {
            let at = from + offset;
            match self.judge(self.held.get(at..).unwrap_or_default()) {
                NoiseVerdict::Other => from = at + 1,
                NoiseVerdict::NotYetKnown => {
                    output.extend(self.held.drain(..at));
                    return;
                }
                NoiseVerdict::Complaint { length } => {
                    output.extend(self.held.drain(..at));
                    self.held.drain(..length);
                    from = 0;
                }
            }
        }

        output.append(&mut self.held);
    }

    /// Appends the bytes held back, when no more will come.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.held);
    }

    /// Decides if the text begins with a complaint.
    fn judge(&self, text: &[u8]) -> NoiseVerdict {
        // Only so much is looked at, so that a line without end is not held back for ever.
        let shown = text.get(..MAX_LINE_BYTES).unwrap_or(text);
        // ` (FD)` may be missing, as in bash 3.2.
        let rest = after(shown, &self.beginning)
            .and_then(after_digits)
            .and_then(|rest| match rest.split_first() {
                Some((b' ', _)) => after(rest, b" (")
                    .and_then(after_digits)
                    .and_then(|rest| after(rest, b")")),
                _ => Ok(rest),
            });

        match rest.and_then(|rest| after(rest, b"] tcsetattr: ")) {
            Ok(rest) => match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => NoiseVerdict::Complaint {
                    length: shown.len() - rest.len() + end + 1,
                },
                None if shown.len() == MAX_LINE_BYTES => NoiseVerdict::Other,
                None => NoiseVerdict::NotYetKnown,
            },
            Err(NoiseVerdict::NotYetKnown) if shown.len() == MAX_LINE_BYTES => NoiseVerdict::Other,
            Err(verdict) => verdict,
        }
    }
}

/// Verdict on a text, which may be a complaint.
enum NoiseVerdict {
    /// The text begins with a complaint of so many bytes.
    Complaint {
        length: usize,
    },
    Other,
    /// More bytes are needed for a verdict.
    NotYetKnown,
}

/// Returns the text after these words, or a verdict if the words do not follow.
fn after<'a>(text: &'a [u8], words: &[u8]) -> Result<&'a [u8], NoiseVerdict> {
    text.strip_prefix(words).ok_or(if words.starts_with(text) {
        NoiseVerdict::NotYetKnown
    } else {
        NoiseVerdict::Other
    })
}

/// Returns the text after a number, or a verdict if no number follows.
fn after_digits(text: &[u8]) -> Result<&[u8], NoiseVerdict> {
    match text.iter().position(|byte| !byte.is_ascii_digit()) {
        Some(0) => Err(NoiseVerdict::Other),
        Some(end) => Ok(text.get(end..).unwrap_or_default()),
        None => Err(NoiseVerdict::NotYetKnown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOISE: &str = "bash: [7: 1 (255)] tcsetattr: Inappropriate ioctl for device\n";

    fn filtered(text: &str, cut: usize) -> String {
        let (mut filter, mut output) = (TerminalNoise::for_shell(7), Vec::new());
        for portion in text.as_bytes().chunks(cut) {
            filter.push(portion, &mut output);
        }
        filter.finish(&mut output);
        String::from_utf8(output).unwrap()
    }

    fn long(beginning: &str) -> String {
        format!("{beginning}{}\n", "1".repeat(MAX_LINE_BYTES))
    }

    #[test]
    fn only_the_complaint_is_removed_however_it_is_split() {
        for (text, expected) in [
            (format!("a\n{NOISE}b\n"), "a\nb\n"),
            (format!("no newline{NOISE}{NOISE}"), "no newline"),
            (
                "bash: [7: 1] tcsetattr: Inappropriate ioctl for device\n".to_owned(),
                "",
            ),
            (
                "bash: [8: 1 (255)] tcsetattr: another shell's\n".to_owned(),
                "bash: [8: 1 (255)] tcsetattr: another shell's\n",
            ),
            (
                "bash: [7: something else\nx".to_owned(),
                "bash: [7: something else\nx",
            ),
            (
                format!("bash: [7: 1 (bash: [7: 1{NOISE}"),
                "bash: [7: 1 (bash: [7: 1",
            ),
            (
                long("bash: [7: 1 (255)] tcsetattr: "),
                &long("bash: [7: 1 (255)] tcsetattr: "),
            ),
            (long("bash: [7: "), &long("bash: [7: ")),
            ("bash: [7: 1".to_owned(), "bash: [7: 1"),
            ("bash: bash: [7".to_owned(), "bash: bash: [7"),
        ] {
            for cut in 1..=text.len() {
                assert_eq!(filtered(&text, cut), expected, "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn text_is_passed_on_before_its_line_ends() {
        let (mut filter, mut output) = (TerminalNoise::for_shell(7), Vec::new());
        filter.push(b"progress 10 %", &mut output);
        assert_eq!(output, b"progress 10 %");
    }

    proptest! {
        #[test]
        fn what_holds_no_complaint_passes_unchanged(text in "[bash: \\[7\n]{0,80}", cut in 1usize..20) {
            prop_assert_eq!(filtered(&text, cut), text);
        }
    }
}
