//! Commands that live on the remote machine: the scripts that start one, look after it and clear it away, and what they
//! answer.
//!
//! Each has a directory of its own, `${XDG_STATE_HOME:-~/.local/state}/mcp-ssh-sessions/jobs/ID`, for its owner alone. A
//! *keeper* (`detached/keeper.sh`) in a session of its own runs the command in another one and writes down how it ended.
//! All it takes there is a POSIX shell and its usual company; `setsid` makes it better where there is one.

pub mod answer;

use self::answer::JobId;
use super::{
    exec::{ExecScriptError, LoginShell, MAX_ARGUMENT},
    quoting::quote,
    sentinel::Sentinel,
    stop,
};

/// The command line under which every script here is run; the script comes through stdin, and its own stdin after it.
///
/// It reads the same in every login shell, for the reasons of [`LAUNCH`](super::script::LAUNCH).
pub const LAUNCH: &str = "exec /bin/sh -c 'IFS= read -r line; eval \"$line\"'";

/// The most bytes of a job's output in one answer.
pub const MAX_PORTION_BYTES: u64 = 4 * 1024 * 1024;
/// The most jobs in one list.
const MAX_JOBS: usize = 500;
/// How much of a command a list shows, in bytes.
const SHOWN: usize = 200;
/// What a portion begins at a multiple of, in bytes: the block size of its `dd`.
const BLOCK: u64 = 4096;
/// How long each signal may take to work where a job's time is over, in tenths of a second.
const GRACE_TENTHS: u32 = 10;
/// More digits than this has are no number to the scripts.
const MAX_NUMBER: u64 = 99_999_999_999_999_999;

/// One of a job's two streams of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStreamName {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// What a job is started with.
#[derive(Debug, Clone, Copy)]
pub struct DetachedStart<'a> {
    /// Its name, not used before.
    pub id: &'a JobId,
    /// The family of the shell that runs it.
    pub shell: LoginShell,
    /// That shell; `None` is what `SHELL` says.
    pub program: Option<&'a str>,
    /// The command.
    pub command: &'a str,
    /// The directory to run it in; `None` is the home directory.
    pub directory: Option<&'a str>,
    /// Environment variables to add.
    pub environment: &'a [(&'a str, &'a str)],
    /// All that it reads from stdin; `None` keeps stdin open for what it is fed later.
    pub stdin: Option<&'a [u8]>,
    /// After how many seconds it is stopped; 0 is never.
    pub limit: u64,
    /// Whether it may have begun by an earlier attempt, which then stands: no name is used twice.
    pub again: bool,
}

/// The script that starts a job, and what goes with it. Its answer is read by [`answer::done`].
///
/// # Errors
/// A command, directory or environment that cannot be written for the login shell.
pub fn start(start: DetachedStart<'_>, mark: &Sentinel) -> Result<Vec<u8>, ExecScriptError> {
    let mut script = start
        .shell
        .body(start.command, start.directory, start.environment)?;

    let reads = match start.shell {
        LoginShell::Posix => "posix",
        LoginShell::Fish | LoginShell::Csh => "source",
        LoginShell::Other if script.len() > MAX_ARGUMENT => {
            return Err(ExecScriptError::TooLong(script.len()));
        }
        LoginShell::Other => "argument",
    };

    script.push(b'\n');
    let (script_bytes, stdin_bytes) = (script.len(), start.stdin.map_or(0, <[u8]>::len));
    let stdin = if start.stdin.is_some() {
        "given"
    } else {
        "open"
    };

    let again = if start.again { "yes" } else { "no" };

    let mut settings = format!(
        "id={} reads={reads} stdin={stdin} script_bytes={script_bytes} stdin_bytes={stdin_bytes} limit={} again={again}",
        start.id.as_str(),
        start.limit
    )
    .into_bytes();

    let shown = (0..=SHOWN)
        .rev()
        .find_map(|end| start.command.get(..end))
        .unwrap_or_default();

    let keeper = concat!(include_str!("born.sh"), include_str!("keeper.sh"));
    let stop = stop::ladder_for_root(GRACE_TENTHS);
    let program = start.program.unwrap_or_default();

    for (name, text) in [
        ("shown", shown),
        ("program", program),
        ("keeper_script", keeper),
        ("stop_script", &stop),
    ] {
        settings.extend_from_slice(format!(" {name}=").as_bytes());
        quote(&mut settings, text.as_bytes());
    }

    let mut question = compose(&settings, include_str!("start.sh"), mark);
    question.append(&mut script);
    question.extend_from_slice(start.stdin.unwrap_or_default());

    Ok(question)
}

/// The script that lists the jobs; [`answer::jobs`] reads its answer.
#[must_use]
pub fn list(mark: &Sentinel) -> Vec<u8> {
    compose(
        format!("id= most={MAX_JOBS}").as_bytes(),
        include_str!("list.sh"),
        mark,
    )
}

/// The script that waits up to `seconds` for a job's end, or until it has written more than `beyond` bytes to stdout or
/// stderr; [`answer::job`] reads its answer. Meanwhile it prints empty lines, so that it ends with its channel.
#[must_use]
pub fn wait(id: &JobId, seconds: u64, beyond: Option<(u64, u64)>, mark: &Sentinel) -> Vec<u8> {
    let (out, err) = beyond.unwrap_or((MAX_NUMBER, MAX_NUMBER));
    let settings = format!(
        "id={} seconds={seconds} out={} err={}",
        id.as_str(),
        out.min(MAX_NUMBER),
        err.min(MAX_NUMBER)
    );

    compose(settings.as_bytes(), include_str!("wait.sh"), mark)
}

/// The script that reads up to `count` bytes (at most [`MAX_PORTION_BYTES`]) of a job's output from `offset` on; [`answer::portion`]
/// reads its answer.
#[must_use]
pub fn read(
    id: &JobId,
    stream: OutputStreamName,
    offset: u64,
    count: u64,
    mark: &Sentinel,
) -> Vec<u8> {
    let stream = if stream == OutputStreamName::Stdout {
        "out"
    } else {
        "err"
    };

    let blocks = (offset % BLOCK + count.min(MAX_PORTION_BYTES)).div_ceil(BLOCK);
    let settings = format!(
        "id={} stream={stream} skip={} count={blocks}",
        id.as_str(),
        offset / BLOCK
    );

    compose(settings.as_bytes(), include_str!("read.sh"), mark)
}

/// The script that gives a job something to read, waiting up to `patience_tenths` tenths of a second for it to do so,
/// and with `close` ends its stdin; [`answer::done`] reads its answer.
#[must_use]
pub fn feed(
    id: &JobId,
    input: &[u8],
    close: bool,
    patience_tenths: u32,
    mark: &Sentinel,
) -> Vec<u8> {
    let close = if close { "yes" } else { "no" };
    let settings = format!(
        "id={} bytes={} close={close} patience={patience_tenths}",
        id.as_str(),
        input.len()
    );

    let mut question = compose(settings.as_bytes(), include_str!("feed.sh"), mark);
    question.extend_from_slice(input);

    question
}

/// The script that notes that a job is about to get a signal of ours; [`answer::job`] reads its answer, which says to what.
#[must_use]
pub fn note_signal(id: &JobId, signal: &'static str, mark: &Sentinel) -> Vec<u8> {
    compose(
        format!("id={} signal={signal}", id.as_str()).as_bytes(),
        include_str!("note.sh"),
        mark,
    )
}

/// The script that removes a job that has ended; [`answer::done`] reads its answer.
#[must_use]
pub fn remove(id: &JobId, mark: &Sentinel) -> Vec<u8> {
    compose(
        format!("id={}", id.as_str()).as_bytes(),
        include_str!("remove.sh"),
        mark,
    )
}

/// What [`LAUNCH`] reads: a line that reads the rest, and what it reads. A script that was cut off is not run.
fn compose(settings: &[u8], script: &str, mark: &Sentinel) -> Vec<u8> {
    let mark = mark.as_str();
    let mut text = format!(
        "script=$(while IFS= read -r line; do [ \"x$line\" = x{mark} ] && exit 7; printf '%s\\n' \"$line\"; done); \
         [ $? = 7 ] && eval \"$script\"\nmark={mark} "
    )
    .into_bytes();

    text.extend_from_slice(settings);
    let common = concat!(include_str!("born.sh"), include_str!("common.sh"));
    text.extend_from_slice(format!("\n{common}{script}{mark}\n").as_bytes());

    text
}
