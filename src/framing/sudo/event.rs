//! Events in the output of a command that sudo runs, up to the beginning of the command.

use std::time::Duration;

use crate::{
    foreign_text::ForeignText,
    framing::{
        decoder::{DecodeStep, StreamDecoder},
        sentinel::Sentinel,
        stop::{Process, StopTarget},
    },
};

/// Most bytes kept of sudo's own messages. The last bytes are kept, because they say why sudo
/// ended.
const MAX_TALK_BYTES: usize = 2 * 1024;

/// Longest name of an account, in bytes. Linux allows 32, and a domain may come with the name.
const MAX_NAME_BYTES: usize = 128;

/// Event before a command begins. A command without sudo has
/// [`Authenticated`](Self::Authenticated) as its first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SudoEvent {
    /// sudo is being started in this process; `None` if the start time was not reported.
    Started(Option<Process>),
    /// sudo wants a password.
    Prompt {
        /// Account whose password is wanted; empty if unknown.
        account: String,
        /// True if sudo has printed anything since the last prompt, for instance about a wrong
        /// answer.
        said: bool,
    },
    /// sudo has started this process, the shell of the command. `None` if the start time was not
    /// reported.
    Authenticated(Option<Process>),
    /// The shell has read the settings, and the terminal is as before.
    Ready,
}

impl SudoEvent {
    /// Returns the processes to stop after this event. `target` is the target before the event.
    #[must_use]
    pub fn target(&self, target: Option<StopTarget<'static>>) -> Option<StopTarget<'static>> {
        // Nothing is known here of the lifetime: the caller measures it from the event on.
        let lived = Duration::ZERO;
        match (self, target) {
            (Self::Started(process), _) | (Self::Authenticated(process), None) => process
                .clone()
                .map(|process| StopTarget::Exec { process, lived }),
            (Self::Authenticated(Some(process)), Some(StopTarget::Exec { process: sudo, .. })) => {
                Some(StopTarget::Sudo {
                    process: process.clone(),
                    sudo,
                    lived,
                })
            }
            (Self::Prompt { .. } | Self::Authenticated(_) | Self::Ready, target) => target,
        }
    }
}

/// Listener on stderr, or on all output of a terminal, until sudo has started the command. Gives
/// out the events in order, and separates sudo's messages from other output.
#[derive(Debug)]
pub struct SudoListener {
    /// Mark of the command's script.
    mark: Sentinel,
    /// Decoder for the next mark.
    decoder: StreamDecoder,
    /// Owner of the present output.
    stage: SudoStage,
    /// Messages of sudo since the last prompt.
    talk: Vec<u8>,
    /// True if the command has a terminal.
    terminal: bool,
    /// True while the terminal may echo the answer, up to the end of the line.
    is_echo: bool,
}

/// Owner of the output, in the order of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SudoStage {
    /// Startup files of the login shell.
    Startup,
    /// sudo.
    Sudo,
    /// The command.
    Command,
}

impl SudoListener {
    /// Creates a listener for the script with this mark, on a channel with or without a terminal.
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

    /// Creates a listener for [`root_shell`](super::root_shell), which does not announce the start
    /// of sudo.
    #[must_use]
    pub fn of_root_shell(mark: &Sentinel) -> Self {
        Self {
            stage: SudoStage::Sudo,
            ..Self::new(mark, false)
        }
    }

    /// Takes the next bytes, and returns the events found. Output of startup files and of the
    /// command is appended to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Vec<SudoEvent> {
        let (mut events, mut rest) = (Vec::new(), bytes.to_vec());

        // A portion can hold several marks, such as the announcement and a prompt.
        while !self.is_through() {
            let mut text = Vec::new();
            let progress = self.decoder.push(&rest, &mut text);
            self.keep(&text, output);

            match progress {
                DecodeStep::More => return events,
                DecodeStep::Complete {
                    trailer,
                    rest: after,
                } => {
                    events.extend(self.understand(&trailer));
                    rest = after;
                }
                DecodeStep::Broken => rest.clear(),
            }

            self.decoder = StreamDecoder::new(&self.mark);
        }

        output.append(&mut rest);

        events
    }

    /// Returns true if the command has begun.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.stage == SudoStage::Command
    }

    /// Returns sudo's messages since the last prompt, if sudo did not start the command. Other
    /// output that was held back is appended to `output`.
    #[must_use]
    pub fn finish(mut self, output: &mut Vec<u8>) -> Option<ForeignText> {
        let mut held = Vec::new();
        self.decoder.finish(&mut held);
        self.keep(&held, output);
        // A terminal ends lines with CR LF.
        let talk = String::from_utf8_lossy(&self.talk).replace('\r', "");

        // A sudo may print a prompt of its own around ours (sudo-rs: `[sudo: …] Password: `).
        let said = talk
            .split_once('\n')
            .filter(|(prompt, _)| prompt.ends_with(": "))
            .map_or(&*talk, |(_, said)| said);

        (!self.is_through()).then(|| said.trim().into())
    }

    /// Keeps sudo's messages, and appends other output to `output`.
    fn keep(&mut self, text: &[u8], output: &mut Vec<u8>) {
        if self.stage == SudoStage::Sudo {
            // A sudo that hides typed characters only after the prompt (sudo-rs) may be too late,
            // and stars (`pwfeedback`) are no message either.
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

    /// Reads the content of a mark: a prompt or a process id.
    fn understand(&mut self, trailer: &[u8]) -> Option<SudoEvent> {
        let text = std::str::from_utf8(trailer).ok()?;

        if let Some(account) = text.strip_prefix(super::PROMPT) {
            // A sudo that does not know `%p` leaves it as it is. The name comes from the host, and
            // is shown to the user.
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

        // Process ids come in a fixed order: sudo's own first, then the root shell's.
        let (stage, events) = match self.stage {
            SudoStage::Startup => (SudoStage::Sudo, SudoEvent::Started(process)),
            SudoStage::Sudo | SudoStage::Command => {
                (SudoStage::Command, SudoEvent::Authenticated(process))
            }
        };

        self.stage = stage;

        Some(events)
    }
}

/// Returns true for a possible name of an account, which cannot mislead the user.
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

    /// Cuts the output in every way. The events, the other output and sudo's messages stay the
    /// same.
    fn listen(
        stream: &[u8],
        cut: usize,
        terminal: bool,
    ) -> (Vec<SudoEvent>, String, Option<ForeignText>) {
        let (mut listener, mut events, mut output) =
            (SudoListener::new(&mark(), terminal), Vec::new(), Vec::new());
        for portion in stream.chunks(cut) {
            events.extend(listener.push(portion, &mut output));
        }
        let talk = listener.finish(&mut output);
        (events, String::from_utf8(output).unwrap(), talk)
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
            let (events, output, talk) = listen(stream.as_bytes(), cut, false);
            let prompt = |account: &str, said| SudoEvent::Prompt {
                account: account.to_owned(),
                said,
            };

            let prompts = [
                prompt("agent", true),
                prompt("root", true),
                prompt("root", false),
            ];

            assert_eq!(
                events,
                [
                    &[SudoEvent::Started(Process::new(11, "5"))],
                    &prompts[..],
                    &[SudoEvent::Authenticated(Process::new(12, "6"))]
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
            let events = listen(stream.as_bytes(), 1000, false).0;
            assert_eq!(
                events[1],
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
            let (events, output, talk) = listen(stream.as_bytes(), 5, terminal);
            assert_eq!(events.len(), 2);
            assert_eq!(
                (output.as_str(), talk.as_ref().map(ForeignText::raw)),
                ("", Some("sudo: a password is required"))
            );
        }

        let stream = format!(
            "{}[sudo: {}] Password: \nsudo: no\n",
            marked("11 5"),
            marked("?agent")
        );

        assert_eq!(
            listen(stream.as_bytes(), 5, false)
                .2
                .as_ref()
                .map(ForeignText::raw),
            Some("sudo: no")
        );

        let (_, output, talk) = listen(b"only noise\x1e", 5, false);
        assert_eq!(
            (output.as_str(), talk.as_ref().map(ForeignText::raw)),
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
            let (events, output, talk) = listen(stream.as_bytes(), cut, true);
            let said: Vec<_> = events
                .iter()
                .map(|events| matches!(events, SudoEvent::Prompt { said: true, .. }))
                .collect();

            assert_eq!(said, [false, false, true, false]);
            assert_eq!(
                (output.as_str(), talk.as_ref().map(ForeignText::raw)),
                ("", Some(""))
            );
        }
    }

    #[test]
    fn nothing_is_a_prompt_once_the_command_runs() {
        let stream = format!("{}{}{}", marked("11 5"), marked("12 6"), marked("?agent"));
        let (events, output, _) = listen(stream.as_bytes(), 1000, false);

        assert_eq!(
            events,
            [
                SudoEvent::Started(Process::new(11, "5")),
                SudoEvent::Authenticated(Process::new(12, "6"))
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
