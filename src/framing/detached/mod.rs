//! Commands that live on the remote machine: the scripts that start, watch and remove these
//! commands, with the answers.
//!
//! Each job has a directory of its own,
//! `${XDG_STATE_HOME:-~/.local/state}/mcp-ssh-sessions/jobs/ID`, which only its owner may use. A
//! *supervisor* (`detached/supervisor.sh`) in a session of its own runs the command in another session and
//! writes down how it ended. This needs only a POSIX shell and the usual programs; `setsid` is used
//! if there is one.

pub mod answer;

use self::answer::JobId;
use super::{
    exec::{ExecScriptError, LoginShell, MAX_ARGUMENT, UnixOnly},
    quoting::quote,
    script::in_any_shell,
    sentinel::Sentinel,
    stop,
    stream::Stream,
};

/// Writes the command line for running every script of this module. The script comes through
/// stdin, followed by its own stdin.
///
/// It reads the same in every login shell, for the reasons of [`launch`](super::script::launch).
#[must_use]
pub fn launch() -> String {
    in_any_shell("IFS= read -r line; eval \"$line\"")
}

/// Most bytes of a job's output in an answer.
pub const MAX_PORTION_BYTES: u64 = 4 * 1024 * 1024;
/// Most jobs in a list.
const MAX_JOBS: usize = 500;
/// Length of the part of a command shown in a list, in bytes.
const SHOWN: usize = 200;
/// Block size of a portion's `dd`, in bytes. A portion begins at a multiple of it.
const BLOCK: u64 = 4096;
/// Time for each signal to take effect after a job's time limit, in tenths of a second.
const GRACE_TENTHS: u32 = 10;
/// Largest number accepted by the scripts. A text with more digits counts as no number.
const MAX_NUMBER: u64 = 99_999_999_999_999_999;

/// Settings of a job to be started.
#[derive(Debug, Clone, Copy)]
pub struct DetachedStart<'a> {
    /// Name of the job, not used before.
    pub id: &'a JobId,
    /// Family of the shell to run the command.
    pub shell: LoginShell,
    /// Program of the shell; `None` is `$SHELL`.
    pub program: Option<&'a str>,
    /// Command line.
    pub command: &'a str,
    /// Working directory; `None` is the home directory.
    pub directory: Option<&'a str>,
    /// Environment variables to add, as pairs of name and value.
    pub environment: &'a [(&'a str, &'a str)],
    /// Complete stdin of the command; `None` keeps stdin open for later input.
    pub stdin: Option<&'a [u8]>,
    /// Time limit in seconds; 0 means that there is no limit.
    pub limit: u64,
    /// True if an earlier attempt may have begun the job. That attempt then stands, because no name
    /// is used twice.
    pub again: bool,
}

/// Writes the script for starting a job, followed by the job's input. [`answer::done`] reads the
/// answer.
///
/// # Errors
/// Fails if the command, directory or environment cannot be written for the login shell.
pub fn start(start: DetachedStart<'_>, mark: &Sentinel) -> Result<Vec<u8>, ExecScriptError> {
    if start.shell.windows().is_some() {
        return Err(ExecScriptError::NotOnWindows(UnixOnly::Detach));
    }

    let mut script = start
        .shell
        .body(start.command, start.directory, start.environment)?;

    let reads = match start.shell {
        LoginShell::Posix => "posix",
        LoginShell::Fish | LoginShell::Csh => "source",
        LoginShell::Other if script.len() > MAX_ARGUMENT => {
            return Err(ExecScriptError::TooLong(script.len()));
        }
        LoginShell::Windows(_) | LoginShell::Other => "argument",
    };

    // The lengths tell `start.sh` where script and stdin end, because both follow on the same
    // stream.
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

    // Cut at a character's end, because the list is read as text.
    let shown = (0..=SHOWN)
        .rev()
        .find_map(|end| start.command.get(..end))
        .unwrap_or_default();

    let supervisor = concat!(include_str!("born.sh"), include_str!("supervisor.sh"));
    let stop = stop::ladder_for_root(GRACE_TENTHS);
    let program = start.program.unwrap_or_default();

    // Everything that somebody has written is quoted: these lines are run by the shell.
    for (name, text) in [
        ("shown", shown),
        ("program", program),
        ("supervisor_script", supervisor),
        ("stop_script", &stop),
    ] {
        settings.extend_from_slice(format!(" {name}=").as_bytes());
        quote(&mut settings, text.as_bytes());
    }

    // The order matters: `launch` reads the first script up to the mark, and `start.sh` reads the
    // rest by its length.
    let mut stream = compose(&settings, include_str!("start.sh"), mark);
    stream.append(&mut script);
    stream.extend_from_slice(start.stdin.unwrap_or_default());

    Ok(stream)
}

/// Writes the script for listing the jobs. [`answer::jobs`] reads the answer.
#[must_use]
pub fn list(mark: &Sentinel) -> Vec<u8> {
    compose(
        format!("id= most={MAX_JOBS}").as_bytes(),
        include_str!("list.sh"),
        mark,
    )
}

/// Writes the script for waiting up to `seconds` for a job's end, or until the job has written more
/// than `beyond` bytes to stdout or stderr. [`answer::job`] reads the answer. The script prints
/// empty lines meanwhile, so that it ends with its channel.
#[must_use]
pub fn wait(id: &JobId, seconds: u64, beyond: Option<(u64, u64)>, mark: &Sentinel) -> Vec<u8> {
    // Without `beyond` no output ends the wait, because no file is longer than this.
    let (out, err) = beyond.unwrap_or((MAX_NUMBER, MAX_NUMBER));
    let settings = format!(
        "id={} seconds={seconds} out={} err={}",
        id.as_str(),
        out.min(MAX_NUMBER),
        err.min(MAX_NUMBER)
    );

    compose(settings.as_bytes(), include_str!("wait.sh"), mark)
}

/// Writes the script for reading up to `count` bytes of a job's output from `offset` on, at most
/// [`MAX_PORTION_BYTES`]. [`answer::portion`] reads the answer.
#[must_use]
pub fn read(id: &JobId, stream: Stream, offset: u64, count: u64, mark: &Sentinel) -> Vec<u8> {
    // `dd` reads whole blocks at a multiple of the block size, so the portion is widened to blocks.
    let blocks = (offset % BLOCK + count.min(MAX_PORTION_BYTES)).div_ceil(BLOCK);
    let settings = format!(
        "id={} stream={} skip={} count={blocks}",
        id.as_str(),
        stream.file_ending(),
        offset / BLOCK
    );

    compose(settings.as_bytes(), include_str!("read.sh"), mark)
}

/// Delivery of input to a job.
#[derive(Debug, Clone, Copy)]
pub struct FeedOptions {
    /// True if stdin ends after the input.
    pub close: bool,
    /// True for a line that must be in no file. It has no NUL and ends with its only line feed.
    pub is_secret: bool,
    /// Time in which the job has to read, in tenths of a second.
    pub patience_tenths: u32,
}

/// Writes the script for sending input to a job. [`answer::done`] reads the answer.
#[must_use]
pub fn feed(id: &JobId, input: &[u8], how: &FeedOptions, mark: &Sentinel) -> Vec<u8> {
    let yes_no = |yes| if yes { "yes" } else { "no" };
    let settings = format!(
        "id={} bytes={} close={} secret={} patience={}",
        id.as_str(),
        input.len(),
        yes_no(how.close),
        yes_no(how.is_secret),
        how.patience_tenths
    );

    let mut stream = compose(settings.as_bytes(), include_str!("feed.sh"), mark);
    stream.extend_from_slice(input);

    stream
}

/// Writes the script for recording a signal about to be sent to a job. [`answer::job`] reads the
/// answer, which names the process to signal.
#[must_use]
pub fn record_signal(id: &JobId, signal: &'static str, mark: &Sentinel) -> Vec<u8> {
    compose(
        format!("id={} signal={signal}", id.as_str()).as_bytes(),
        include_str!("record_signal.sh"),
        mark,
    )
}

/// Writes the script for removing an ended job. [`answer::done`] reads the answer.
#[must_use]
pub fn remove(id: &JobId, mark: &Sentinel) -> Vec<u8> {
    compose(
        format!("id={}", id.as_str()).as_bytes(),
        include_str!("remove.sh"),
        mark,
    )
}

/// Writes the input of [`launch`]: a line for reading the rest, and the rest. A script that was cut
/// off is not run.
fn compose(settings: &[u8], script: &str, mark: &Sentinel) -> Vec<u8> {
    let mark = mark.as_str();
    // The mark at the end tells a whole script from one cut off with the connection, half of which
    // must not run.
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
