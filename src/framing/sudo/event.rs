//! What is heard of sudo.

use std::time::Duration;

use crate::framing::{
    decoder::{DecodeStep, StreamDecoder},
    sentinel::Sentinel,
    stop::{Process, StopTarget},
};

/// What is kept of sudo's own words, in bytes: the last of them, which say why it ended.
const MAX_TALK_BYTES: usize = 2 * 1024;

/// What a name of an account may have, in bytes: Linux allows 32, and a domain may come with it.
const MAX_NAME_BYTES: usize = 128;

/// What was heard of a command before it begins. One that is not run by sudo is through from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SudoEvent {
    /// sudo is being started in this process; `None` where it did not say when that began.
    Started(Option<Process>),
    /// It wants a password.
    Prompt {
        /// The account whose password it is; empty where that is not known.
        account: String,
        /// Whether it has said anything since it asked before, such as that the answer was wrong.
        said: bool,
    },
    /// It is through: this process, a shell, runs the command.
    Through(Option<Process>),
    /// That shell has read its settings, and its terminal is as it was.
    Ready,
}

impl SudoEvent {
    /// What is to be stopped from now on, when it was `target` before.
    #[must_use]
    pub fn target(&self, target: Option<StopTarget<'static>>) -> Option<StopTarget<'static>> {
        let lived = Duration::ZERO;
        match (self, target) {
            (Self::Started(process), _) | (Self::Through(process), None) => process
                .clone()
                .map(|process| StopTarget::Exec { process, lived }),
            (Self::Through(Some(process)), Some(StopTarget::Exec { process: sudo, .. })) => {
                Some(StopTarget::Sudo {
                    process: process.clone(),
                    sudo,
                    lived,
                })
            }
            (Self::Prompt { .. } | Self::Through(_) | Self::Ready, target) => target,
        }
    }
}

/// Listens to stderr (with a terminal: to all output) until sudo is through.
#[derive(Debug)]
pub struct SudoListener {
    mark: Sentinel,
    decoder: StreamDecoder,
    stage: SudoStage,
    /// What sudo has said since it last asked.
    talk: Vec<u8>,
    terminal: bool,
    /// What a terminal shows of what is typed, up to the end of the line.
    is_echo: bool,
}

/// Whose the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SudoStage {
    /// Of the login shell's startup files.
    Startup,
    /// sudo's.
    Sudo,
    /// The command's.
    Through,
}

impl SudoListener {
    /// For the script that was written with this mark, for a channel with or without a terminal.
    #[must_use]
    pub fn new(mark: &Sentinel, terminal: bool) -> Self {
        Self {
            mark: mark.clone(),
            decoder: StreamDecoder::new(mark),
            stage: SudoStage::Startup,
            talk: Vec::new(),
            terminal,
            is_echo: false,
        }
    }

    /// The same for [`root_shell`](super::root_shell), which does not say where sudo is started.
    #[must_use]
    pub fn of_root_shell(mark: &Sentinel) -> Self {
        Self {
            stage: SudoStage::Sudo,
            ..Self::new(mark, false)
        }
    }

    /// Takes the next bytes. What is not sudo's is appended to `output`: what startup files print before it, and what the
    /// command prints after it.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Vec<SudoEvent> {
        let (mut heard, mut rest) = (Vec::new(), bytes.to_vec());

        while !self.is_through() {
            let mut text = Vec::new();
            let progress = self.decoder.push(&rest, &mut text);
            self.keep(&text, output);

            match progress {
                DecodeStep::More => return heard,
                DecodeStep::Complete {
                    trailer,
                    rest: after,
                } => {
                    heard.extend(self.understand(&trailer));
                    rest = after;
                }
                DecodeStep::Broken => rest.clear(),
            }

            self.decoder = StreamDecoder::new(&self.mark);
        }

        output.append(&mut rest);

        heard
    }

    /// Whether the command has begun.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.stage == SudoStage::Through
    }

    /// After the end: what sudo has said since it last asked, if it did not get through. What was held back of other
    /// output is appended to `output`.
    #[must_use]
    pub fn finish(mut self, output: &mut Vec<u8>) -> Option<String> {
        let mut held = Vec::new();
        self.decoder.finish(&mut held);
        self.keep(&held, output);
        let mut talk = String::from_utf8_lossy(&self.talk).into_owned();
        talk.retain(|letter| letter == '\n' || !letter.is_control());

        // A sudo may have a prompt of its own around ours (sudo-rs: `[sudo: …] Password: `).
        let said = talk
            .split_once('\n')
            .filter(|(prompt, _)| prompt.ends_with(": "))
            .map_or(&*talk, |(_, said)| said);

        (!self.is_through()).then(|| said.trim().to_owned())
    }

    fn keep(&mut self, text: &[u8], output: &mut Vec<u8>) {
        if self.stage == SudoStage::Sudo {
            // A sudo that hides what is typed after it has prompted (sudo-rs) may come too late, and stars (`pwfeedback`)
            // are no words either.
            let shown = text
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(text.len());

            let text = text
                .get(if self.is_echo { shown } else { 0 }..)
                .unwrap_or_default();
            self.is_echo &= text.is_empty();
            self.talk.extend_from_slice(text);
            self.talk
                .drain(..self.talk.len().saturating_sub(MAX_TALK_BYTES));
        } else {
            output.extend_from_slice(text);
        }
    }

    fn understand(&mut self, trailer: &[u8]) -> Option<SudoEvent> {
        let text = std::str::from_utf8(trailer).ok()?;

        if let Some(account) = text.strip_prefix(super::PROMPT) {
            // A sudo that does not know `%p` leaves it as it is; and a host may say what it likes.
            let account = Some(account)
                .filter(|account| *account != "%p" && is_name(account))
                .unwrap_or_default();

            let said = std::mem::take(&mut self.talk)
                .iter()
                .any(|byte| !byte.is_ascii_whitespace());
            self.is_echo = self.terminal;
            return (self.stage == SudoStage::Sudo).then(|| SudoEvent::Prompt {
                account: account.to_owned(),
                said,
            });
        }

        let process = Process::parse(text);

        let (stage, heard) = match self.stage {
            SudoStage::Startup => (SudoStage::Sudo, SudoEvent::Started(process)),
            SudoStage::Sudo | SudoStage::Through => {
                (SudoStage::Through, SudoEvent::Through(process))
            }
        };

        self.stage = stage;

        Some(heard)
    }
}

/// Whether it can be the name of an account, and not something to mislead a person with.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGITS: &str = "07070707070707070707070707070707";

    fn mark() -> Sentinel {
        Sentinel::from_random([7; 16])
    }

    fn marked(text: &str) -> String {
        format!("\u{1e}{DIGITS}:{text}\u{1e}{DIGITS};")
    }

    /// What is heard, what is output, and what sudo has said, however the bytes are cut.
    fn listen(
        stream: &[u8],
        cut: usize,
        terminal: bool,
    ) -> (Vec<SudoEvent>, String, Option<String>) {
        let (mut listener, mut heard, mut output) =
            (SudoListener::new(&mark(), terminal), Vec::new(), Vec::new());
        for portion in stream.chunks(cut) {
            heard.extend(listener.push(portion, &mut output));
        }
        let talk = listener.finish(&mut output);
        (heard, String::from_utf8(output).unwrap(), talk)
    }

    #[test]
    fn sudos_words_are_kept_apart_from_what_comes_before_and_after() {
        let stream = format!(
            "rc noise\n{}lecture\n{}Sorry, try again.\n{}{}\n{}warning\n",
            marked("11 5"),
            marked("?agent"),
            marked("?root"),
            marked("?root"),
            marked("12 6")
        );

        for cut in [1, 2, 7, 1000] {
            let (heard, output, talk) = listen(stream.as_bytes(), cut, false);
            let asked = |account: &str, said| SudoEvent::Prompt {
                account: account.to_owned(),
                said,
            };

            let prompts = [
                asked("agent", true),
                asked("root", true),
                asked("root", false),
            ];

            assert_eq!(
                heard,
                [
                    &[SudoEvent::Started(Process::new(11, "5"))],
                    &prompts[..],
                    &[SudoEvent::Through(Process::new(12, "6"))]
                ]
                .concat()
            );

            assert_eq!((output.as_str(), talk), ("rc noise\nwarning\n", None));
        }
    }

    #[test]
    fn only_a_name_is_whose_password_it_is() {
        for (said, account) in [
            ("agent", "agent"),
            ("DOM\\some.one@example.org", "DOM\\some.one@example.org"),
            ("%p", ""),
            ("", ""),
            ("your bank at https://…", ""),
            (&"x".repeat(200), ""),
        ] {
            let stream = format!("{}{}", marked("11 5"), marked(&format!("?{said}")));
            let heard = listen(stream.as_bytes(), 1000, false).0;
            assert_eq!(
                heard[1],
                SudoEvent::Prompt {
                    account: account.to_owned(),
                    said: false
                },
                "{said}"
            );
        }
    }

    #[test]
    fn a_sudo_that_ends_leaves_its_words() {
        let stream = format!(
            "{}{}\r\nsudo: a password is required\r\n",
            marked("11 5"),
            marked("?agent")
        );

        for terminal in [false, true] {
            let (heard, output, talk) = listen(stream.as_bytes(), 5, terminal);
            assert_eq!(heard.len(), 2);
            assert_eq!(
                (output.as_str(), talk.as_deref()),
                ("", Some("sudo: a password is required"))
            );
        }

        let stream = format!(
            "{}[sudo: {}] Password: \nsudo: no\n",
            marked("11 5"),
            marked("?agent")
        );

        assert_eq!(
            listen(stream.as_bytes(), 5, false).2.as_deref(),
            Some("sudo: no")
        );

        let (_, output, talk) = listen(b"only noise\x1e", 5, false);
        assert_eq!(
            (output.as_str(), talk.as_deref()),
            ("only noise\x1e", Some(""))
        );
    }

    #[test]
    fn what_a_terminal_shows_of_an_answer_is_none_of_sudos_words() {
        let asks = marked("?agent");
        let stream = format!(
            "{}{asks}secret\r\nSorry.\r\n{asks}***\x08 \x08\r\n{asks}se",
            marked("11 5")
        );

        for cut in [1, 2, 7, 1000] {
            let (heard, output, talk) = listen(stream.as_bytes(), cut, true);
            let said: Vec<_> = heard
                .iter()
                .map(|heard| matches!(heard, SudoEvent::Prompt { said: true, .. }))
                .collect();

            assert_eq!(said, [false, false, true, false]);
            assert_eq!((output.as_str(), talk.as_deref()), ("", Some("")));
        }
    }

    #[test]
    fn nothing_is_a_prompt_once_the_command_runs() {
        let stream = format!("{}{}{}", marked("11 5"), marked("12 6"), marked("?agent"));
        let (heard, output, _) = listen(stream.as_bytes(), 1000, false);

        assert_eq!(
            heard,
            [
                SudoEvent::Started(Process::new(11, "5")),
                SudoEvent::Through(Process::new(12, "6"))
            ]
        );

        assert_eq!(output, marked("?agent"));
    }

    proptest! {
        #[test]
        fn any_output_passes_whole_once_the_command_runs(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..50,
        ) {
            let stream = [format!("{}{}", marked("11 5"), marked("12 6")).as_bytes(), &bytes].concat();
            let (mut listener, mut output) = (SudoListener::new(&mark(), false), Vec::new());
            for portion in stream.chunks(cut) {
                listener.push(portion, &mut output);
            }
            prop_assert!(listener.is_through());
            prop_assert_eq!(listener.finish(&mut output), None);
            prop_assert_eq!(output, bytes);
        }
    }
}
