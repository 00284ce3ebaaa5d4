//! Detection of programs that wait for input. Pure: the output at one moment in, a decision out.

use std::time::Duration;

/// Time without output after which a program is taken to wait.
const QUIET: Duration = Duration::from_millis(1200);
/// The same after a line that looks like a prompt. A conversation with a device has many of them.
const QUIET_AFTER_TYPICAL: Duration = Duration::from_millis(300);

/// Signs at the end of the prompt of a command line.
const SIGNS: [char; 4] = ['#', '>', '$', '%'];
/// Number of words in the prompt of a command line. Longer lines are sentences.
const MAX_WORDS: usize = 3;

/// State of a job's output at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputState {
    /// Time since the last output or input.
    pub(super) quiet: Duration,
    /// Amount of output, in bytes.
    pub(super) total: u64,
    /// Amount of output in complete lines, in bytes.
    pub(super) lines: u64,
    /// True if text follows the last complete line.
    pub(super) is_line_unfinished: bool,
    /// True if that text [looks like a prompt](looks_like_prompt).
    pub(super) is_line_typical: bool,
    /// True if the job runs and its stdin is open.
    pub(super) accepts_input: bool,
}

/// Detector of prompts in the output of one job, shared by all calls that wait for the job.
///
/// An unfinished line that nobody answers, and after which no other line begins, may be something
/// else than a prompt. Such a line therefore ends only one wait.
#[derive(Debug, Default)]
pub(super) struct PromptDetector {
    /// Amount of output in complete lines when a prompt was last reported to a caller. `None` since
    /// the last input.
    reported: Option<u64>,
    /// Amount of output at the last input, in bytes.
    total_at_input: u64,
}

impl PromptDetector {
    /// Returns true if the job seems to wait at an unfinished line.
    pub(super) fn is_at_prompt(&self, state: &OutputState) -> bool {
        // Until the answer to the last input begins, the line is the prompt before that input.
        let is_typical = state.is_line_typical && state.total > self.total_at_input;
        let quiet = if is_typical {
            QUIET_AFTER_TYPICAL
        } else {
            QUIET
        };

        state.quiet >= quiet && state.is_line_unfinished && state.accepts_input
    }

    /// Returns true if a wait ends at this state, for a new prompt or for a complete answer.
    ///
    /// An answer is any output beyond `answered` bytes, once the job is quiet. `None` if the caller
    /// waits for no answer.
    pub(super) fn ends_wait(&self, state: &OutputState, answered: Option<u64>) -> bool {
        let has_answer =
            answered.is_some_and(|before| state.total > before) && state.quiet >= QUIET;
        let is_new_prompt = self.is_at_prompt(state) && self.reported != Some(state.lines);

        has_answer || is_new_prompt
    }

    /// Records that a caller learns of the prompt, if there is one.
    pub(super) fn report(&mut self, state: &OutputState) {
        if self.is_at_prompt(state) {
            self.reported = Some(state.lines);
        }
    }

    /// Records input of the job, sent after `total` bytes of output. The program may print the same
    /// line again, as a new prompt.
    pub(super) fn input_sent(&mut self, total: u64) {
        *self = Self {
            reported: None,
            total_at_input: total,
        };
    }
}

/// Returns true if an unfinished line looks like a prompt of a command line, of a pager or for a
/// decision, as devices, menus and shells print them.
pub(super) fn looks_like_prompt(line: &str) -> bool {
    let line = line.trim();
    is_command_line(line) || is_pager(line) || asks_for_decision(line)
}

/// Returns true for the prompt of a command line with nothing typed after it, such as
/// `router(config)#`, `admin@host>`, `<switch>` or `[admin@MikroTik] >`.
fn is_command_line(line: &str) -> bool {
    let name = line.trim_end_matches(SIGNS).trim_end();
    let signs = line.len() - line.trim_end_matches(SIGNS).len();
    let begins = line.starts_with(|first: char| first.is_alphanumeric() || "[<(/~".contains(first));
    let is_short = name.split_whitespace().count() <= MAX_WORDS;

    // A bar of progress has many signs, or ends like an arrow. A percentage is a number.
    let is_progress = signs > 1
        || name.ends_with(['=', '-'])
        || (line.ends_with('%') && name.ends_with(|last: char| last.is_ascii_digit()));

    // A view of a switch is a word in brackets.
    let is_view = line.starts_with('[') && line.ends_with(']') && !line.contains(' ');

    begins && is_short && !is_progress && (signs == 1 || is_view)
}

/// Returns true for the prompt of a pager after a page, such as `--More--`, `---(more 45%)---` or
/// `-- [Q quit|D dump|down]`.
#[must_use]
pub fn is_pager(line: &str) -> bool {
    let line = line.trim();
    let words = line
        .trim_start_matches(['-', '<', '(', ' '])
        .to_ascii_lowercase();
    let after_more = words.strip_prefix("more");

    line.starts_with(['-', '<'])
        && (after_more.is_some_and(|after| !after.starts_with(char::is_alphanumeric))
            || words.starts_with("[q quit"))
}

/// Returns true for a prompt for a decision, such as `Reload? [y/N]:`, `(yes/no)?`, `[confirm]` or
/// `Press any key to continue`.
fn asks_for_decision(line: &str) -> bool {
    let line = line.to_lowercase();
    let names_key = ["press any key", "press enter", "press return"];

    // The choice is in brackets at the end of the line.
    let choice = line
        .trim_end_matches([':', '?', '>', ' '])
        .strip_suffix([']', ')'])
        .and_then(|before| before.rsplit_once(['[', '(']))
        .map_or("", |(_, choice)| choice);
    let mut options = choice.split(['/', '|', ',']);

    options.any(|option| ["y", "yes", "n", "no", "confirm"].contains(&option.trim()))
        || names_key.iter().any(|key| line.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// State of a program that has printed three lines and half of the fourth.
    const PROMPT: OutputState = OutputState {
        quiet: QUIET,
        total: 40,
        lines: 30,
        is_line_unfinished: true,
        is_line_typical: false,
        accepts_input: true,
    };

    #[test]
    fn a_quiet_unfinished_line_is_a_prompt() {
        for (state, expected) in [
            (PROMPT, true),
            (
                OutputState {
                    quiet: QUIET.saturating_sub(Duration::from_millis(1)),
                    ..PROMPT
                },
                false,
            ),
            (
                OutputState {
                    is_line_unfinished: false,
                    ..PROMPT
                },
                false,
            ),
            (
                OutputState {
                    accepts_input: false,
                    ..PROMPT
                },
                false,
            ),
        ] {
            let detector = PromptDetector::default();
            assert_eq!(detector.is_at_prompt(&state), expected, "{state:?}");
            assert_eq!(detector.ends_wait(&state, None), expected, "{state:?}");
        }
    }

    #[test]
    fn an_answer_ends_a_wait_once_the_job_is_quiet() {
        let answer = OutputState {
            is_line_unfinished: false,
            ..PROMPT
        };

        for (answered, quiet, expected) in [
            (None, QUIET, false),
            (Some(39), QUIET, true),
            (Some(40), QUIET, false),
            (Some(39), Duration::ZERO, false),
        ] {
            let state = OutputState { quiet, ..answer };
            assert_eq!(
                PromptDetector::default().ends_wait(&state, answered),
                expected,
                "{answered:?} {quiet:?}"
            );
        }
    }

    #[test]
    fn a_prompt_is_reported_once_until_it_is_answered() {
        let mut detector = PromptDetector::default();
        detector.report(&PROMPT);
        assert!(!detector.ends_wait(&PROMPT, None));

        let next_line = OutputState {
            lines: 40,
            ..PROMPT
        };
        assert!(detector.ends_wait(&next_line, None));

        detector.input_sent(40);
        assert!(detector.ends_wait(&PROMPT, None));
    }

    #[test]
    fn a_line_that_grows_is_not_reported_as_a_prompt() {
        let mut detector = PromptDetector::default();
        detector.report(&OutputState {
            quiet: Duration::ZERO,
            ..PROMPT
        });
        assert!(detector.ends_wait(&PROMPT, None));
    }

    #[test]
    fn a_typical_prompt_is_noticed_early_after_an_answer() {
        let typical = OutputState {
            quiet: QUIET_AFTER_TYPICAL,
            is_line_typical: true,
            ..PROMPT
        };

        let mut detector = PromptDetector::default();
        assert!(detector.is_at_prompt(&typical));

        // The same line before the answer begins is the old prompt.
        detector.input_sent(typical.total);
        assert!(!detector.is_at_prompt(&typical));
        let answered = OutputState {
            total: 50,
            ..typical
        };
        assert!(detector.is_at_prompt(&answered));
        let is_waiting = OutputState {
            quiet: QUIET,
            ..typical
        };
        assert!(detector.is_at_prompt(&is_waiting));
    }

    #[test]
    fn prompts_of_devices_menus_and_shells_are_recognised() {
        for line in [
            // Cisco IOS, IOS XR and ASA
            "Router>",
            "Router#",
            "Router(config-if)#",
            "RP/0/RSP0/CPU0:ios#",
            "ciscoasa> ",
            " --More-- ",
            "<--- More --->",
            "Proceed with reload? [confirm]",
            "System configuration has been modified. Save? [yes/no]: ",
            // Junos
            "admin@mx480> ",
            "admin@mx480# ",
            "---(more 45%)---",
            "Reboot the system ? [yes,no] (no) ",
            // Huawei and Comware
            "<HUAWEI>",
            "[~HUAWEI-GigabitEthernet0/0/1]",
            "  ---- More ----",
            "Are you sure to continue?[Y/N]:",
            // RouterOS
            "[admin@MikroTik] > ",
            "[admin@MikroTik] /ip/address> ",
            "-- [Q quit|D dump|down]",
            "Reboot, yes? [y/N]:",
            // FortiOS and ProCurve
            "FGT60F # ",
            "FGT60F (global) # ",
            "-- MORE --, next page: Space, next line: Enter, quit: Control-C",
            "Press any key to continue",
            // menus, shells and other programs
            "Opt> ",
            "root@web:~# ",
            "[root@web ~]# ",
            "user@web:/var/log$ ",
            "web% ",
            "mysql> ",
            "MariaDB [(none)]> ",
            "--More--(17%)",
            "Do you want to continue? [Y/n] ",
            "Overwrite (y/n)?",
        ] {
            assert!(looks_like_prompt(line), "{line:?}");
        }
    }

    #[test]
    fn output_that_pauses_is_not_recognised() {
        for line in [
            "",
            "step 1",
            "Building",
            "Compiling foo v0.1.0",
            "45%",
            "Progress: 45.0 %",
            "########",
            "Installing ########",
            "[=====>    ] 45%",
            "[=====>",
            "copying a -->",
            "[1/4] Resolving packages...",
            "the values of all of these are >",
            "-- Moreover",
            "more",
            "--- a/file",
            "see note (1)",
            "Name?",
            "Password:",
        ] {
            assert!(!looks_like_prompt(line), "{line:?}");
        }
    }
}
