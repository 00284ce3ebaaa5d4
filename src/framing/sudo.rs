//! Commands as root, through `sudo(8)`: what is written for it, and what is heard of it until the command begins.
//!
//! sudo reads a password from stdin (`-S`), and from the same stdin the command then reads what is its own. So nothing is
//! sent unasked: sudo's prompt (`-p`) is a mark that asks for a password, and the process id that the command's shell
//! prints first says that sudo is through. A sudo that wants no password never gets one, which the command would read.

use super::{
    decoder::{Progress, StreamDecoder},
    exec::{ExecScript, ExecScriptError, LONGEST_ARGUMENT, LONGEST_LINE, LoginShell},
    sentinel::Sentinel,
    stop::Target,
};

/// What is kept of sudo's own words, in bytes: the last of them, which say why it ended.
const LONGEST_TALK: usize = 2 * 1024;

/// What a prompt's mark holds before the name of the account whose password is wanted.
const PROMPT: u8 = b'?';

impl LoginShell {
    /// The script for `command` as root, run by the same shell as [`script`](Self::script) would run it, with the same
    /// directory (`~` is the home of who logs in, not of root) and with `environment` added to what sudo leaves.
    ///
    /// Two process ids are printed on stderr: sudo's, and once that is through, the shell's that runs the command. The
    /// bytes of [`ExecScript::stdin`] are for that shell; on a terminal there are none.
    ///
    /// # Errors
    /// As [`script`](Self::script); and every command for a shell of no family that we know.
    pub fn sudo_script(
        self,
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        mark: &Sentinel,
        terminal: bool,
    ) -> Result<ExecScript, ExecScriptError> {
        // sudo stays where it is started, and root's home is another: home is left to the shell outside.
        let (from_home, directory) = match directory {
            Some("~") => (true, None),
            Some(directory) if directory.starts_with("~/") => {
                (true, Some(format!(".{}", directory.get(1..).unwrap_or(""))))
            }
            other => (false, other.map(str::to_owned)),
        };
        let inside = |longest| self.script_within(longest, command, directory.as_deref(), environment, mark);
        let mut script = inside(if terminal { usize::MAX } else { LONGEST_LINE })?;
        let mut line = self.with_sudo(&script.line, from_home, mark)?;
        if line.len() > LONGEST_LINE && self == Self::Posix && !terminal && script.stdin.is_empty() {
            script = inside(0)?;
            line = self.with_sudo(&script.line, from_home, mark)?;
        }
        if line.len() > LONGEST_ARGUMENT {
            return Err(ExecScriptError::TooLong(line.len()));
        }
        Ok(ExecScript { line, ..script })
    }

    fn with_sudo(self, inside: &[u8], from_home: bool, mark: &Sentinel) -> Result<Vec<u8>, ExecScriptError> {
        let mut line = self.announcement(mark);
        if from_home {
            self.change_directory(&mut line, "~")?;
        }
        // exec takes the program, and no function or alias of this name.
        line.extend_from_slice(format!("exec sudo -S -p '{}' -- \"$SHELL\" -c ", prompt(mark)).as_bytes());
        self.quote(&mut line, &String::from_utf8_lossy(inside))?;
        Ok(line)
    }
}

/// The command line that runs a script of ours from stdin as root, in any login shell.
#[must_use]
pub fn root_shell(mark: &Sentinel) -> String {
    let (prompt, mark) = (prompt(mark), mark.as_str());
    format!(
        "exec sudo -S -p '{prompt}' -- /bin/sh -c 'printf \"\\036%s:%s\\036%s;\" {mark} \"$$\" {mark} >&2; exec /bin/sh'"
    )
}

/// `%p` is the account whose password sudo wants: the user's, or with `rootpw` or `targetpw` another one's.
fn prompt(mark: &Sentinel) -> String {
    let (opening, closing) = (mark.opening(), mark.closing());
    format!("{}{}%p{}", String::from_utf8_lossy(&opening), char::from(PROMPT), String::from_utf8_lossy(&closing))
}

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// sudo is being started in this process.
    Started(u32),
    /// It wants a password.
    Prompt {
        /// The account whose password it is.
        account: String,
        /// Whether it has said anything since it asked before, such as that the answer was wrong.
        said: bool,
    },
    /// It is through: this process, a shell, runs the command.
    Through(u32),
}

impl Heard {
    /// What is to be stopped from now on, when it was `target` before.
    #[must_use]
    pub fn target(&self, target: Option<Target<'static>>) -> Option<Target<'static>> {
        match (self, target) {
            (Self::Started(pid), _) => Some(Target::Exec { pid: *pid }),
            (Self::Through(pid), Some(Target::Exec { pid: sudo })) => Some(Target::Sudo { pid: *pid, sudo }),
            (Self::Prompt { .. } | Self::Through(_), target) => target,
        }
    }
}

/// Listens to stderr (with a terminal: to all output) until sudo is through.
#[derive(Debug)]
pub struct SudoListener {
    mark: Sentinel,
    decoder: StreamDecoder,
    stage: Stage,
    /// What sudo has said since it last asked.
    talk: Vec<u8>,
    terminal: bool,
    /// What a terminal shows of what is typed, up to the end of the line.
    is_echo: bool,
}

/// Whose the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
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
            stage: Stage::Startup,
            talk: Vec::new(),
            terminal,
            is_echo: false,
        }
    }

    /// The same for [`root_shell`], which does not say where sudo is started.
    #[must_use]
    pub fn of_root_shell(mark: &Sentinel) -> Self {
        Self { stage: Stage::Sudo, ..Self::new(mark, false) }
    }

    /// Takes the next bytes. What is not sudo's is appended to `output`: what startup files print before it, and what the
    /// command prints after it.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Vec<Heard> {
        let (mut heard, mut rest) = (Vec::new(), bytes.to_vec());
        while !self.is_through() {
            let mut text = Vec::new();
            let progress = self.decoder.push(&rest, &mut text);
            self.keep(&text, output);
            match progress {
                Progress::More => return heard,
                Progress::Complete { trailer, rest: after } => {
                    heard.extend(self.understand(&trailer));
                    rest = after;
                }
                Progress::Broken => rest.clear(),
            }
            self.decoder = StreamDecoder::new(&self.mark);
        }
        output.append(&mut rest);
        heard
    }

    /// Whether the command has begun.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.stage == Stage::Through
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
        let said = talk.split_once('\n').filter(|(prompt, _)| prompt.ends_with(": ")).map_or(&*talk, |(_, said)| said);
        (!self.is_through()).then(|| said.trim().to_owned())
    }

    fn keep(&mut self, text: &[u8], output: &mut Vec<u8>) {
        if self.stage == Stage::Sudo {
            // A sudo that hides what is typed after it has prompted (sudo-rs) may come too late, and stars (`pwfeedback`)
            // are no words either.
            let shown = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            let text = text.get(if self.is_echo { shown } else { 0 }..).unwrap_or_default();
            self.is_echo &= text.is_empty();
            self.talk.extend_from_slice(text);
            self.talk.drain(..self.talk.len().saturating_sub(LONGEST_TALK));
        } else {
            output.extend_from_slice(text);
        }
    }

    fn understand(&mut self, trailer: &[u8]) -> Option<Heard> {
        let text = std::str::from_utf8(trailer).ok()?;
        if let Some(account) = text.strip_prefix(char::from(PROMPT)) {
            let said = std::mem::take(&mut self.talk).iter().any(|byte| !byte.is_ascii_whitespace());
            self.is_echo = self.terminal;
            return (self.stage == Stage::Sudo).then(|| Heard::Prompt { account: account.to_owned(), said });
        }
        let pid = text.parse().ok()?;
        let (stage, heard) = match self.stage {
            Stage::Startup => (Stage::Sudo, Heard::Started(pid)),
            Stage::Sudo | Stage::Through => (Stage::Through, Heard::Through(pid)),
        };
        self.stage = stage;
        Some(heard)
    }
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

    fn line(shell: LoginShell, directory: Option<&str>) -> String {
        let script = shell.sudo_script("echo it's", directory, &[], &mark(), false).unwrap();
        assert_eq!(script.stdin, b"");
        String::from_utf8(script.line).unwrap()
    }

    #[test]
    fn each_family_hands_the_whole_script_to_the_same_shell_inside() {
        let sudo = format!("exec sudo -S -p '{}' -- \"$SHELL\" -c ", marked("?%p"));
        for (shell, inside) in [
            (LoginShell::Posix, "\necho it'\\''s'"),
            (LoginShell::Fish, "\necho it\\'s'"),
            (LoginShell::Csh, "\\\necho it'\\''s'"),
        ] {
            let line = line(shell, None);
            let (before, after) = line.split_once(&sudo).unwrap();
            assert!(before.contains(DIGITS) && before.ends_with('\n'), "{before}");
            assert!(after.contains(DIGITS) && after.ends_with(inside), "{after}");
        }
    }

    #[test]
    fn home_is_the_home_of_who_logs_in() {
        for (directory, outside, inside) in [
            ("~", "\ncd \"$HOME\"'' || exit 1\n", ""),
            ("~/x", "\ncd \"$HOME\"'' || exit 1\n", "cd '\\''./x'\\'' || exit 1\n"),
            ("/x", "\n", "cd '\\''/x'\\'' || exit 1\n"),
            ("x", "\n", "cd '\\''x'\\'' || exit 1\n"),
        ] {
            let line = line(LoginShell::Posix, Some(directory));
            let (before, after) = line.split_once("exec sudo").unwrap();
            assert!(before.ends_with(&format!(">&2{outside}")), "{directory}: {before}");
            assert!(after.ends_with(&format!(">&2\n{inside}echo it'\\''s'")), "{directory}: {after}");
        }
    }

    #[test]
    fn a_long_command_goes_to_stdin_and_one_that_only_quoting_makes_long_too() {
        for command in ["x".repeat(LONGEST_LINE + 1), "'".repeat(LONGEST_LINE / 2)] {
            let script = LoginShell::Posix.sudo_script(&command, None, &[], &mark(), false).unwrap();
            assert!(script.line.len() < 1024);
            assert_eq!(script.stdin, format!("{command}\n{DIGITS}\n").into_bytes());
            let script = LoginShell::Fish.sudo_script(&command, None, &[], &mark(), false).unwrap();
            assert!(script.stdin.is_empty());
        }
        let longest = "x".repeat(LONGEST_ARGUMENT);
        assert!(matches!(
            LoginShell::Fish.sudo_script(&longest, None, &[], &mark(), false),
            Err(ExecScriptError::TooLong(_))
        ));
        assert_eq!(LoginShell::Other.sudo_script("id", None, &[], &mark(), false), Err(ExecScriptError::UnknownShell));
    }

    /// What is heard, what is output, and what sudo has said, however the bytes are cut.
    fn listen(stream: &[u8], cut: usize, terminal: bool) -> (Vec<Heard>, String, Option<String>) {
        let (mut listener, mut heard, mut output) = (SudoListener::new(&mark(), terminal), Vec::new(), Vec::new());
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
            marked("11"),
            marked("?agent"),
            marked("?root"),
            marked("?root"),
            marked("12")
        );
        for cut in [1, 2, 7, 1000] {
            let (heard, output, talk) = listen(stream.as_bytes(), cut, false);
            let asked = |account: &str, said| Heard::Prompt { account: account.to_owned(), said };
            let prompts = [asked("agent", true), asked("root", true), asked("root", false)];
            assert_eq!(heard, [&[Heard::Started(11)], &prompts[..], &[Heard::Through(12)]].concat());
            assert_eq!((output.as_str(), talk), ("rc noise\nwarning\n", None));
        }
    }

    #[test]
    fn a_sudo_that_ends_leaves_its_words() {
        let stream = format!("{}{}\r\nsudo: a password is required\r\n", marked("11"), marked("?agent"));
        for terminal in [false, true] {
            let (heard, output, talk) = listen(stream.as_bytes(), 5, terminal);
            assert_eq!(heard.len(), 2);
            assert_eq!((output.as_str(), talk.as_deref()), ("", Some("sudo: a password is required")));
        }
        let stream = format!("{}[sudo: {}] Password: \nsudo: no\n", marked("11"), marked("?agent"));
        assert_eq!(listen(stream.as_bytes(), 5, false).2.as_deref(), Some("sudo: no"));
        let (_, output, talk) = listen(b"only noise\x1e", 5, false);
        assert_eq!((output.as_str(), talk.as_deref()), ("only noise\x1e", Some("")));
    }

    #[test]
    fn what_a_terminal_shows_of_an_answer_is_none_of_sudos_words() {
        let asks = marked("?agent");
        let stream = format!("{}{asks}secret\r\nSorry.\r\n{asks}***\x08 \x08\r\n{asks}se", marked("11"));
        for cut in [1, 2, 7, 1000] {
            let (heard, output, talk) = listen(stream.as_bytes(), cut, true);
            let said: Vec<_> = heard.iter().map(|heard| matches!(heard, Heard::Prompt { said: true, .. })).collect();
            assert_eq!(said, [false, false, true, false]);
            assert_eq!((output.as_str(), talk.as_deref()), ("", Some("")));
        }
    }

    #[test]
    fn nothing_is_a_prompt_once_the_command_runs() {
        let stream = format!("{}{}{}", marked("11"), marked("12"), marked("?agent"));
        let (heard, output, _) = listen(stream.as_bytes(), 1000, false);
        assert_eq!(heard, [Heard::Started(11), Heard::Through(12)]);
        assert_eq!(output, marked("?agent"));
    }

    proptest! {
        #[test]
        fn any_output_passes_whole_once_the_command_runs(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1usize..50,
        ) {
            let stream = [format!("{}{}", marked("11"), marked("12")).as_bytes(), &bytes].concat();
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
