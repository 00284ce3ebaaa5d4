//! Cuts out what an interactive bash without a terminal complains about whenever a child was killed by a signal:
//! `bash: [PID: LEVEL (FD)] tcsetattr: Inappropriate ioctl for device`, in bash 3.2 without the `(FD)`. It stands in the
//! command's stderr and is not the command's.

/// A longer line is not that complaint, in bytes.
const LONGEST: usize = 256;

/// The filter for the stderr of one shell. Bytes come out as soon as they cannot belong to a complaint.
#[derive(Debug)]
pub struct TerminalNoise {
    beginning: Vec<u8>,
    held: Vec<u8>,
}

impl TerminalNoise {
    /// A filter for the shell with this process id, by which its own words are known.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { beginning: format!("bash: [{pid}: ").into_bytes(), held: Vec::new() }
    }

    /// Takes the next bytes and appends to `output` those that are not noise.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        while let Some(at) = self.held.windows(self.beginning.len()).position(|some| some == self.beginning) {
            output.extend(self.held.drain(..at));
            match self.held.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let line: Vec<u8> = self.held.drain(..=end).collect();
                    if !is_complaint(&line) {
                        output.extend(line);
                    }
                }
                None if self.held.len() > LONGEST => output.append(&mut self.held),
                None => return,
            }
        }
        let kept = (1..self.beginning.len().min(self.held.len() + 1))
            .rev()
            .find(|length| self.beginning.get(..*length).is_some_and(|beginning| self.held.ends_with(beginning)));
        let passed = self.held.len() - kept.unwrap_or(0);
        output.extend(self.held.drain(..passed));
    }

    /// Gives up what was held back: there is no more.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.held);
    }
}

/// The rest of the line, behind the process id.
fn is_complaint(line: &[u8]) -> bool {
    line.windows(b"] tcsetattr: ".len()).any(|some| some == b"] tcsetattr: ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOISE: &str = "bash: [7: 1 (255)] tcsetattr: Inappropriate ioctl for device\n";

    fn filtered(text: &str, cut: usize) -> String {
        let (mut noise, mut output) = (TerminalNoise::of(7), Vec::new());
        for portion in text.as_bytes().chunks(cut) {
            noise.push(portion, &mut output);
        }
        noise.finish(&mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn the_complaint_goes_and_everything_else_stays_however_it_is_cut() {
        for (text, expected) in [
            (format!("a\n{NOISE}b\n"), "a\nb\n"),
            (format!("no newline{NOISE}{NOISE}"), "no newline"),
            ("bash: [7: 1] tcsetattr: Inappropriate ioctl for device\n".to_owned(), ""),
            (
                "bash: [8: 1 (255)] tcsetattr: another shell's\n".to_owned(),
                "bash: [8: 1 (255)] tcsetattr: another shell's\n",
            ),
            ("bash: [7: something else\nx".to_owned(), "bash: [7: something else\nx"),
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
        let (mut noise, mut output) = (TerminalNoise::of(7), Vec::new());
        noise.push(b"progress 10 %", &mut output);
        assert_eq!(output, b"progress 10 %");
    }

    proptest! {
        #[test]
        fn what_holds_no_complaint_passes_unchanged(text in "[bash: \\[7\n]{0,80}", cut in 1usize..20) {
            prop_assert_eq!(filtered(&text, cut), text);
        }
    }
}
