//! Detection of programs that wait for input. Pure: the output at one moment in, a decision out.

use std::time::Duration;

/// Time without output after which a program is taken to wait.
const QUIET: Duration = Duration::from_millis(1200);

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
}

impl OutputState {
    /// Returns true if the job seems to wait at an unfinished line.
    pub(super) fn is_at_prompt(&self) -> bool {
        self.is_quiet() && self.is_line_unfinished && self.accepts_input
    }

    fn is_quiet(&self) -> bool {
        self.quiet >= QUIET
    }
}

impl PromptDetector {
    /// Returns true if a wait ends at this state, for a new prompt or for a complete answer.
    ///
    /// An answer is any output beyond `answered` bytes, once the job is quiet. `None` if the caller
    /// waits for no answer.
    pub(super) fn ends_wait(&self, state: &OutputState, answered: Option<u64>) -> bool {
        let has_answer = answered.is_some_and(|before| state.total > before) && state.is_quiet();
        let is_new_prompt = state.is_at_prompt() && self.reported != Some(state.lines);

        has_answer || is_new_prompt
    }

    /// Records that a caller learns of the prompt, if there is one.
    pub(super) fn report(&mut self, state: &OutputState) {
        if state.is_at_prompt() {
            self.reported = Some(state.lines);
        }
    }

    /// Records input of the job. The program may print the same line again, as a new prompt.
    pub(super) fn input_sent(&mut self) {
        self.reported = None;
    }
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
            assert_eq!(state.is_at_prompt(), expected, "{state:?}");
            assert_eq!(
                PromptDetector::default().ends_wait(&state, None),
                expected,
                "{state:?}"
            );
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

        detector.input_sent();
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
}
