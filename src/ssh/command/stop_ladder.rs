//! The decision how a command is stopped: which step comes next, and when to give up (pure).

use std::time::Duration;

use russh::Sig;
use tokio::time::Instant;

use super::limits::StopReason;
use crate::framing::stop::{FirstSignal, StopReport};

/// Longest wait for the end of a stopped command in a shell, before the shell is interrupted and
/// then killed.
pub(super) const END_AFTER_STOP: Duration = Duration::from_secs(2);
/// Longest wait for that end while output still comes in, because the end comes after the output.
pub(super) const END_AFTER_OUTPUT: Duration = Duration::from_secs(20);
/// Silence after the exit of a shell until the output counts as complete. Background jobs may hold
/// the output open.
pub(super) const QUIET_AFTER_EXIT: Duration = Duration::from_millis(300);

/// Steps towards the end of a command, each of which is taken if the one before had no effect. The
/// first event that asks for a stop fixes the reason.
#[derive(Debug)]
pub(super) struct StopLadder {
    /// Surroundings of the command.
    scope: StopScope,
    /// Reason of the stop; `None` while the command runs on.
    reason: Option<StopReason>,
    /// Step that is being taken.
    current: Option<StopStep>,
    /// Last step that was taken, without checks.
    last: Option<StopStep>,
    /// Result of the last step.
    last_result: StepResult,
    /// End of the first step.
    first_done: Option<Instant>,
    /// Time at which the next step is due.
    deadline: Option<Instant>,
    /// True if output has come since the last step.
    has_output: bool,
    /// True if the processes are gone; `None` if nothing is known.
    process_gone: Option<bool>,
}

/// Surroundings of a command to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopScope {
    /// Channel of the command's own.
    Channel,
    /// Persistent shell, which should survive the stop.
    Shell,
}

/// Step towards the end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopStep {
    /// Stops the command's processes, and tells a shell to give up the command.
    Processes,
    /// Sends a signal request over the channel, because no process could be signalled.
    Request(FirstSignal),
    /// Checks if the shell still computes while output comes in, or if only the end of the command
    /// is late. A shell interrupted while it writes the trailer would be out of step.
    Look,
    /// Interrupts the shell, because the command removed the trap or runs a long builtin.
    Interrupt,
    /// Kills the shell, because the shell ignores the interrupt or waits for an unkillable process.
    Kill,
}

impl StopStep {
    /// Returns the signal request (RFC 4254 section 6.9) for a step, where no script can take it.
    pub(super) fn signal_request(self) -> Sig {
        match self {
            Self::Request(FirstSignal::Term) => Sig::TERM,
            Self::Kill | Self::Request(FirstSignal::Kill) => Sig::KILL,
            Self::Processes | Self::Look | Self::Interrupt | Self::Request(FirstSignal::Int) => {
                Sig::INT
            }
        }
    }
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepResult {
    /// A stop script has run.
    Report(StopReport),
    /// The shell computes.
    Busy,
    /// Nothing was found out.
    Unknown,
}

/// Event for a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopEvent {
    /// The command is to be stopped.
    StopWanted(StopReason),
    /// The output cannot be told apart any more, so the shell is of no more use.
    OutOfStep,
    /// The command has printed something.
    Output,
    /// The current step has ended.
    StepDone(StepResult),
    /// The deadline has passed, and the command has not ended.
    TimeOver,
}

/// Action after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopAction {
    /// Wait for the next event, at most until [`StopLadder::deadline`].
    Wait,
    /// Take this step, for this reason.
    Take(StopStep, StopReason),
    /// Give up: there are no more steps.
    GiveUp,
}

impl StopLadder {
    /// Creates the ladder for a running command.
    pub(super) fn new(scope: StopScope) -> Self {
        Self {
            scope,
            reason: None,
            current: None,
            last: None,
            last_result: StepResult::Unknown,
            first_done: None,
            deadline: None,
            has_output: false,
            process_gone: None,
        }
    }

    /// Returns the reason of the stop; `None` while the command runs on.
    pub(super) fn reason(&self) -> Option<StopReason> {
        self.reason
    }

    /// Returns true if the command's processes are gone; `None` if nothing is known.
    pub(super) fn process_gone(&self) -> Option<bool> {
        self.process_gone
    }

    /// Returns the time for [`StopEvent::TimeOver`]; `None` if no step is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the action after an event.
    pub(super) fn handle(&mut self, event: StopEvent, now: Instant) -> StopAction {
        match (event, self.reason) {
            (StopEvent::StopWanted(reason), None) => self.begin(StopStep::Processes, reason),
            (StopEvent::OutOfStep, None) => self.begin(StopStep::Kill, StopReason::Cancelled),
            (StopEvent::Output, _) => {
                self.has_output = true;
                StopAction::Wait
            }
            (StopEvent::StepDone(result), Some(reason)) => self.step_done(result, reason, now),
            (StopEvent::TimeOver, Some(reason)) => self.time_over(reason, now),
            _ => StopAction::Wait,
        }
    }

    /// Begins a step.
    fn begin(&mut self, step: StopStep, reason: StopReason) -> StopAction {
        self.reason = Some(reason);
        self.current = Some(step);
        self.deadline = None;

        StopAction::Take(step, reason)
    }

    /// Ends the current step, and sets the time for the next one.
    fn step_done(&mut self, result: StepResult, reason: StopReason, now: Instant) -> StopAction {
        let Some(step) = self.current.take() else {
            return StopAction::Wait;
        };

        self.has_output = false;
        self.first_done.get_or_insert(now);

        if step == StopStep::Look {
            if result == StepResult::Busy
                && let Some(next) = self.next(reason)
            {
                return self.begin(next, reason);
            }
        } else {
            (self.last, self.last_result) = (Some(step), result);
        }

        // Only these two steps signal processes, so only their result says if the processes are
        // gone.
        if matches!(step, StopStep::Processes | StopStep::Kill) {
            self.process_gone = match result {
                StepResult::Report(report) => report.gone(),
                StepResult::Busy | StepResult::Unknown => None,
            };
        }

        self.deadline = Some(now + self.patience(step, reason));
        StopAction::Wait
    }

    /// Takes the next step, because the last one had no effect.
    fn time_over(&mut self, reason: StopReason, now: Instant) -> StopAction {
        self.deadline = None;
        let Some(next) = self.next(reason) else {
            return StopAction::GiveUp;
        };

        // While output comes in, the end of the command may only be late.
        let may_be_late = self.has_output
            && self
                .first_done
                .is_some_and(|done| now.saturating_duration_since(done) < END_AFTER_OUTPUT);
        let looks = may_be_late && self.scope == StopScope::Shell && reason != StopReason::Ending;

        self.begin(if looks { StopStep::Look } else { next }, reason)
    }

    /// Returns the step after the last one; `None` if there are no more steps.
    fn next(&self, reason: StopReason) -> Option<StopStep> {
        match (self.scope, self.last?) {
            (StopScope::Channel, StopStep::Processes) => (self.last_result == StepResult::Unknown)
                .then_some(StopStep::Request(FirstSignal::Int)),
            (_, StopStep::Request(FirstSignal::Int)) => Some(StopStep::Request(FirstSignal::Term)),
            (_, StopStep::Request(FirstSignal::Term)) => Some(StopStep::Request(FirstSignal::Kill)),
            (StopScope::Shell, StopStep::Processes) if reason != StopReason::Ending => {
                Some(StopStep::Interrupt)
            }
            (StopScope::Shell, StopStep::Processes | StopStep::Interrupt) => Some(StopStep::Kill),
            _ => None,
        }
    }

    /// Returns the longest wait for the end of the command after a step.
    fn patience(&self, step: StopStep, reason: StopReason) -> Duration {
        match (self.scope, step) {
            // A signal request has no answer (RFC 4254 section 6.9), so the effect is waited for.
            (_, StopStep::Request(_)) => {
                Duration::from_millis(u64::from(reason.grace_tenths()) * 30)
            }
            (StopScope::Channel, _) => Duration::ZERO,
            (StopScope::Shell, _) if reason == StopReason::Ending => Duration::ZERO,
            (StopScope::Shell, StopStep::Kill) => QUIET_AFTER_EXIT,
            (StopScope::Shell, _) => END_AFTER_STOP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        StepResult::{Busy, Report, Unknown},
        StopAction::{GiveUp, Take, Wait},
        StopEvent::{OutOfStep, Output, StepDone, StopWanted, TimeOver},
        StopReason::{Cancelled, Ending, TimedOut},
        StopStep::{Interrupt, Kill, Look, Processes, Request},
        *,
    };

    const GONE: StepResult = Report(StopReport::Gone);
    const ALIVE: StepResult = Report(StopReport::Alive);

    /// Plays events, each after some milliseconds. Checks the action, and the time until the next
    /// step in milliseconds.
    fn play(scope: StopScope, rows: &[(u64, StopEvent, StopAction, Option<u64>)]) -> StopLadder {
        let mut ladder = StopLadder::new(scope);
        let mut now = Instant::now();

        for (row, (after, event, action, patience)) in rows.iter().enumerate() {
            now += Duration::from_millis(*after);
            assert_eq!(ladder.handle(*event, now), *action, "row {row}");
            let deadline = patience.map(|patience| now + Duration::from_millis(patience));
            assert_eq!(ladder.deadline(), deadline, "row {row}");
        }

        ladder
    }

    #[test]
    fn a_shell_is_interrupted_and_killed_if_the_end_stays_away() {
        let ladder = play(
            StopScope::Shell,
            &[
                (0, Output, Wait, None),
                (0, StopWanted(TimedOut), Take(Processes, TimedOut), None),
                (0, StopWanted(Cancelled), Wait, None),
                (10, StepDone(ALIVE), Wait, Some(2000)),
                (2000, TimeOver, Take(Interrupt, TimedOut), None),
                (10, StepDone(Unknown), Wait, Some(2000)),
                (2000, TimeOver, Take(Kill, TimedOut), None),
                (10, StepDone(GONE), Wait, Some(300)),
                (300, TimeOver, GiveUp, None),
            ],
        );

        assert_eq!(ladder.reason(), Some(TimedOut));
        assert_eq!(ladder.process_gone(), Some(true));
    }

    #[test]
    fn a_shell_that_still_prints_is_looked_at_before_each_step() {
        play(
            StopScope::Shell,
            &[
                (0, StopWanted(Cancelled), Take(Processes, Cancelled), None),
                (0, StepDone(GONE), Wait, Some(2000)),
                (1000, Output, Wait, Some(1000)),
                (1000, TimeOver, Take(Look, Cancelled), None),
                (10, StepDone(Unknown), Wait, Some(2000)),
                (1000, Output, Wait, Some(1000)),
                (1000, TimeOver, Take(Look, Cancelled), None),
                (10, StepDone(Busy), Take(Interrupt, Cancelled), None),
                (10, StepDone(Unknown), Wait, Some(2000)),
            ],
        );

        // Output does not put the end off for ever.
        let ladder = play(
            StopScope::Shell,
            &[
                (0, StopWanted(Cancelled), Take(Processes, Cancelled), None),
                (0, StepDone(Unknown), Wait, Some(2000)),
                (0, Output, Wait, Some(2000)),
                (20_000, TimeOver, Take(Interrupt, Cancelled), None),
            ],
        );
        assert_eq!(ladder.process_gone(), None);
    }

    #[test]
    fn the_end_of_the_program_leaves_no_time() {
        play(
            StopScope::Shell,
            &[
                (0, StopWanted(Ending), Take(Processes, Ending), None),
                (0, StepDone(ALIVE), Wait, Some(0)),
                (0, Output, Wait, Some(0)),
                (0, TimeOver, Take(Kill, Ending), None),
                (0, StepDone(Unknown), Wait, Some(0)),
                (0, TimeOver, GiveUp, None),
            ],
        );
    }

    #[test]
    fn a_shell_out_of_step_is_killed_at_once() {
        play(
            StopScope::Shell,
            &[
                (0, OutOfStep, Take(Kill, Cancelled), None),
                (0, OutOfStep, Wait, None),
                (0, StepDone(GONE), Wait, Some(300)),
                (300, TimeOver, GiveUp, None),
            ],
        );
    }

    #[test]
    fn a_channel_gets_requests_only_if_no_script_could_run() {
        let ladder = play(
            StopScope::Channel,
            &[
                (0, StopWanted(TimedOut), Take(Processes, TimedOut), None),
                (0, StepDone(ALIVE), Wait, Some(0)),
                (0, TimeOver, GiveUp, None),
            ],
        );
        assert_eq!(ladder.process_gone(), Some(false));

        let [int, term, kill] = [FirstSignal::Int, FirstSignal::Term, FirstSignal::Kill]
            .map(|signal| Take(Request(signal), Ending));
        let ladder = play(
            StopScope::Channel,
            &[
                (0, StopWanted(Ending), Take(Processes, Ending), None),
                (0, StepDone(Unknown), Wait, Some(0)),
                (0, TimeOver, int, None),
                (0, StepDone(Unknown), Wait, Some(30)),
                (30, TimeOver, term, None),
                (0, StepDone(Unknown), Wait, Some(30)),
                (30, TimeOver, kill, None),
                (0, StepDone(Unknown), Wait, Some(30)),
                (30, TimeOver, GiveUp, None),
            ],
        );
        assert_eq!(ladder.process_gone(), None);
    }
}
