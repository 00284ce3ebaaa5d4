//! Answers of the scripts for detached jobs. The remote machine may say anything, so every word is
//! parsed and none is trusted.

use super::{BLOCK, MAX_JOBS, MAX_PORTION_BYTES, SHOWN};
use crate::{
    foreign_text::ForeignText,
    framing::{decoder::find, sentinel::Sentinel, stop::Process},
};

/// Limit of the words of the remote machine in a refusal, in bytes.
const MAX_QUOTED_BYTES: usize = 300;

/// Name of a detached job: eight lower-case hexadecimal digits, which are also the name of the
/// job's directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobId(String);

/// Detached job, as reported by the remote machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachedJob {
    /// Name of the job.
    pub id: JobId,
    /// Beginning of the command, up to 200 bytes.
    pub command: ForeignText,
    /// Start time in seconds since 1970, by the remote clock.
    pub started: u64,
    /// State of the job.
    pub state: DetachedState,
    /// Process of the job's command.
    pub process: Process,
    /// Number of bytes on stdout so far.
    pub stdout: u64,
    /// Number of bytes on stderr so far.
    pub stderr: u64,
    /// True if the job's stdin is open.
    pub takes_input: bool,
}

/// State of a detached job, running or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetachedState {
    /// The job is running.
    Running,
    /// The command exited.
    Exited {
        /// Exit status.
        code: u32,
        /// End of the job, in seconds since 1970.
        ended: u64,
    },
    /// A signal ended the command.
    Signaled {
        /// Name of the signal without `SIG`.
        signal: String,
        /// End of the job, in seconds since 1970.
        ended: u64,
    },
    /// The job ran past the time limit and was stopped.
    TimedOut {
        /// True if the job's processes are gone.
        gone: bool,
        /// End of the job, in seconds since 1970.
        ended: u64,
    },
    /// The job's processes are gone and nobody was left to report the end, as after a reboot.
    Lost,
    /// The job was started on another machine with the same home directory, and has not ended. No
    /// more is known here.
    Elsewhere(ForeignText),
}

/// Reason why a script did not do the work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such job.
    #[error("there is no such job on the remote machine")]
    Unknown,
    /// The job has ended.
    #[error("the job has ended")]
    Ended,
    /// The job is running, or may be.
    #[error("the job still runs")]
    Running,
    /// The job's stdin was never open, or is closed.
    #[error("the job's stdin is closed")]
    Closed,
    /// The job did not read the input in time.
    #[error("the job does not read its input; a part of it may have arrived")]
    Unread,
    /// An operation failed on the remote machine, with this message.
    #[error("the remote machine could not do it: {0}")]
    Failed(ForeignText),
    /// The login shell does not run `/bin/sh`, as that of an account for files only. It said this.
    #[error(
        "this account runs no commands, or only certain ones: its login shell does not run /bin/sh, which a command that outlives the connection needs{}",
        said(.0)
    )]
    NoShell(ForeignText),
    /// The answer does not come from our scripts, or is incomplete.
    #[error("the remote machine gave no answer that can be understood{}", said(.0))]
    Garbled(ForeignText),
}

impl JobId {
    /// Makes a name of four random bytes. The caller brings the bytes, so that this module reads no
    /// entropy.
    #[must_use]
    pub fn from_random(bytes: [u8; 4]) -> Self {
        Self(format!("{:08x}", u32::from_be_bytes(bytes)))
    }

    /// Reads a name; `None` for a text of another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 8 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// Returns the eight digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads the list of all jobs. A row that cannot be read is left out, because somebody may have
/// changed the job's files.
///
/// # Errors
/// Fails if there is no answer.
pub fn jobs(answer: &[u8], mark: &Sentinel) -> Result<Vec<DetachedJob>, Refusal> {
    let entries = entries(answer, mark)?;
    if let Some((header, raw)) = entries.first() {
        refused(header, raw)?;
    }

    // The scripts list at most so many, but the host may send anything.
    Ok(entries
        .iter()
        .take(MAX_JOBS)
        .filter_map(|(header, raw)| row(header, raw))
        .collect())
}

/// Reads the row of the job with this name.
///
/// # Errors
/// Fails if there is no such job or no answer.
pub fn job(answer: &[u8], id: &JobId, mark: &Sentinel) -> Result<DetachedJob, Refusal> {
    let (header, raw) = only(answer, mark)?;
    row(&header, raw)
        .filter(|job| job.id == *id)
        .ok_or(Refusal::Garbled(beginning(header.as_bytes())))
}

/// Reads a portion of output: the answer to a [`read`](super::read) with this `offset` and `count`.
///
/// # Errors
/// Fails if there is no such job or no answer, or if the file could not be read.
pub fn portion<'a>(
    answer: &'a [u8],
    offset: u64,
    count: u64,
    mark: &Sentinel,
) -> Result<&'a [u8], Refusal> {
    let (header, raw) = only(answer, mark)?;
    let total: u64 = header
        .strip_prefix("bytes ")
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Refusal::Garbled(beginning(header.as_bytes())))?;

    // `dd` reads whole blocks, so a portion begins with bytes before the offset.
    let skipped = usize::try_from(offset % BLOCK).unwrap_or(usize::MAX);
    let bytes = raw.get(skipped..).unwrap_or_default();
    let wanted = count.min(MAX_PORTION_BYTES);
    let length = bytes
        .len()
        .min(usize::try_from(wanted).unwrap_or(usize::MAX));
    let bytes = bytes.get(..length).unwrap_or_default();
    // The script reports the size before it reads: fewer bytes mean that reading failed.
    if (bytes.len() as u64) < total.saturating_sub(offset).min(wanted) {
        return Err(Refusal::Failed("the output could not be read whole".into()));
    }

    Ok(bytes)
}

/// Checks for the answer of a script which has done the work.
///
/// # Errors
/// Returns the reason if the work was not done.
pub fn done(answer: &[u8], mark: &Sentinel) -> Result<(), Refusal> {
    let (header, _) = only(answer, mark)?;
    if header == "done" {
        Ok(())
    } else {
        Err(Refusal::Garbled(beginning(header.as_bytes())))
    }
}

/// Reads an answer with a single entry, which is not an error.
fn only<'a>(answer: &'a [u8], mark: &Sentinel) -> Result<(String, &'a [u8]), Refusal> {
    let entries = entries(answer, mark)?;
    let [(header, raw)] = entries.as_slice() else {
        return Err(Refusal::Garbled(ForeignText::default()));
    };
    refused(header, raw)?;
    Ok((header.clone(), raw))
}

/// Splits an answer into entries, each a line with the bytes after the line. Output of startup
/// files before the entries is left out.
fn entries<'a>(answer: &'a [u8], mark: &Sentinel) -> Result<Vec<(String, &'a [u8])>, Refusal> {
    let (opening, closing) = (mark.opening(), mark.closing());
    let end = find(answer, &closing).ok_or_else(|| Refusal::Garbled(beginning(answer)))?;
    let mut rest = answer.get(..end).unwrap_or_default();
    let mut entries = Vec::new();
    let mut begin = find(rest, &opening);

    // A mark ends an entry, so a job's output cannot: it would have to guess the mark.
    while let Some(at) = begin {
        rest = rest.get(at + opening.len()..).unwrap_or_default();
        begin = find(rest, &opening);
        let entry = begin.and_then(|next| rest.get(..next)).unwrap_or(rest);
        let mut parts = entry.splitn(2, |byte| *byte == b'\n');
        entries.push((
            String::from_utf8_lossy(parts.next().unwrap_or_default().trim_ascii()).into_owned(),
            parts.next().unwrap_or_default(),
        ));
    }

    Ok(entries)
}

/// Returns an error for an entry which reports an error.
fn refused(header: &str, raw: &[u8]) -> Result<(), Refusal> {
    let Some(word) = header.strip_prefix("error ") else {
        return Ok(());
    };

    Err(match word {
        "unknown" => Refusal::Unknown,
        "ended" => Refusal::Ended,
        "running" => Refusal::Running,
        "closed" => Refusal::Closed,
        "unread" => Refusal::Unread,
        "trouble" if raw.is_empty() => {
            Refusal::Failed("the job's directory cannot be written to".into())
        }
        "trouble" => Refusal::Failed(beginning(raw)),
        _ => Refusal::Garbled(beginning(header.as_bytes())),
    })
}

/// Reads the row of a job; `None` if any word has another form.
fn row(header: &str, raw: &[u8]) -> Option<DetachedJob> {
    let words: Vec<&str> = header.split(' ').collect();

    let [
        "job",
        id,
        word,
        value,
        pid,
        born,
        started,
        ended,
        stdout,
        stderr,
        input,
    ] = words[..]
    else {
        return None;
    };

    let ended = ended.parse().ok()?;

    Some(DetachedJob {
        id: JobId::parse(id)?,
        command: raw.get(..SHOWN).unwrap_or(raw).into(),
        started: started.parse().ok()?,
        state: match word {
            "running" => DetachedState::Running,
            "exited" => DetachedState::Exited {
                code: value.parse().ok()?,
                ended,
            },
            "signaled" => DetachedState::Signaled {
                signal: value.get(..16).unwrap_or(value).to_owned(),
                ended,
            },
            "timedOut" => DetachedState::TimedOut {
                gone: value == "gone",
                ended,
            },
            "lost" => DetachedState::Lost,
            "elsewhere" => DetachedState::Elsewhere(beginning(value.as_bytes())),
            _ => return None,
        },
        process: Process::new(pid.parse().ok()?, born)?,
        stdout: stdout.parse().ok()?,
        stderr: stderr.parse().ok()?,
        takes_input: input == "open",
    })
}

/// Returns the beginning of a text of the remote machine.
fn beginning(bytes: &[u8]) -> ForeignText {
    ForeignText::from(bytes.trim_ascii()).cut(MAX_QUOTED_BYTES)
}

/// Returns the text as an addition to an error message.
fn said(text: &ForeignText) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("; it said: {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Sentinel {
        Sentinel::from_random([0x5a; 16])
    }

    /// An answer of these entries, behind what a startup file prints.
    fn answer(entries: &[&str]) -> Vec<u8> {
        let digits = mark().as_str().to_owned();
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| format!("\u{1e}{digits}:{entry}"))
            .collect();
        format!("Welcome!\u{1e}\n{}\u{1e}{digits};", entries.concat()).into_bytes()
    }

    fn id() -> JobId {
        JobId::parse("01ab23cd").unwrap()
    }

    #[test]
    fn a_name_is_eight_lower_case_digits() {
        assert_eq!(JobId::from_random([1, 0xab, 0x23, 0xcd]), id());

        for text in [
            "",
            "01ab23c",
            "01ab23cde",
            "01AB23CD",
            "../../xy",
            "01ab23c\n",
            "01ab23c ",
        ] {
            assert_eq!(JobId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_state_is_read() {
        let process = Process::new(42, "77").unwrap();
        for (words, state) in [
            ("running -", DetachedState::Running),
            ("exited 7", DetachedState::Exited { code: 7, ended: 12 }),
            (
                "signaled RTMIN+3",
                DetachedState::Signaled {
                    signal: "RTMIN+3".into(),
                    ended: 12,
                },
            ),
            (
                "timedOut gone",
                DetachedState::TimedOut {
                    gone: true,
                    ended: 12,
                },
            ),
            (
                "timedOut alive",
                DetachedState::TimedOut {
                    gone: false,
                    ended: 12,
                },
            ),
            ("lost -", DetachedState::Lost),
            (
                "elsewhere other.host",
                DetachedState::Elsewhere("other.host".into()),
            ),
        ] {
            let text = format!("job 01ab23cd {words} 42 77 10 12 5 6 open\necho\n\u{1e} two");
            let job = job(&answer(&[&text]), &id(), &mark()).unwrap();
            assert_eq!(
                (job.state, job.process, job.started, job.stdout, job.stderr),
                (state, process.clone(), 10, 5, 6)
            );

            assert_eq!(
                (job.command.raw(), job.takes_input),
                ("echo\n\u{1e} two", true)
            );
        }
    }

    #[test]
    fn what_is_no_row_is_no_job() {
        for text in [
            "job 01ab23ce running - 42 77 10 0 5 6 open",
            "job 01ab23cd sleeping - 42 77 10 0 5 6 open",
            "job 01ab23cd running - -1 77 10 0 5 6 open",
            "job 01ab23cd running - 4294967296 77 10 0 5 6 open",
            "job 01ab23cd exited -1 42 77 10 0 5 6 open",
            "job 01ab23cd exited 4294967296 42 77 10 0 5 6 open",
            "job 01ab23cd running - 42 77 10 0 5 99999999999999999999 open",
            "job 01ab23cd running - 42 77;id 10 0 5 6 open",
            "job 01ab23cd running - 42 10 0 5 6 open",
            "job 01ab23cd running - 42 77 10 0 5 6",
            "job 01ab23cd running - 42 77 10 0 5 6 open more",
            "done",
            "",
        ] {
            assert!(
                matches!(
                    job(&answer(&[text]), &id(), &mark()),
                    Err(Refusal::Garbled(_))
                ),
                "{text}"
            );
        }

        let good = "job 01ab23cd running - 42 77 10 0 5 6 open\n";

        assert_eq!(
            jobs(&answer(&["nonsense", good, "job x", good]), &mark())
                .unwrap()
                .len(),
            2
        );

        assert_eq!(jobs(&answer(&[]), &mark()), Ok(Vec::new()));
    }

    #[test]
    fn a_refusal_quotes_the_beginning_of_the_words() {
        for (text, refusal) in [
            ("error unknown\n", Refusal::Unknown),
            ("error ended\n", Refusal::Ended),
            ("error running\n", Refusal::Running),
            ("error closed\n", Refusal::Closed),
            ("error unread\n", Refusal::Unread),
            (
                "error trouble\nmkdir: \u{1b}[2Jno\nroom",
                Refusal::Failed("mkdir: \u{1b}[2Jno\nroom".into()),
            ),
            (
                "error trouble",
                Refusal::Failed("the job's directory cannot be written to".into()),
            ),
            ("error other", Refusal::Garbled("error other".into())),
        ] {
            assert_eq!(done(&answer(&[text]), &mark()), Err(refusal.clone()));
            assert_eq!(jobs(&answer(&[text]), &mark()), Err(refusal));
        }

        assert_eq!(done(&answer(&["done\n"]), &mark()), Ok(()));
        let whole = answer(&["done\n"]);

        for cut in 0..whole.len() {
            assert!(
                matches!(done(&whole[..cut], &mark()), Err(Refusal::Garbled(said)) if said.raw().len() < 1000),
                "{cut}"
            );
        }

        assert!(matches!(
            done(&answer(&["done", "done"]), &mark()),
            Err(Refusal::Garbled(_))
        ));
    }

    #[test]
    fn a_portion_is_cut_out_of_its_blocks_and_never_short() {
        let text = format!("bytes 4996\n{}", "0123456789".repeat(90));
        let blocks = answer(&[&text]);
        assert_eq!(portion(&blocks, 4096 + 3, 4, &mark()), Ok(&b"3456"[..]));
        assert_eq!(
            portion(&blocks, 4096 + 3, 4000, &mark()).map(<[u8]>::len),
            Ok(897)
        );

        assert!(matches!(
            portion(&blocks, 0, 1000, &mark()),
            Err(Refusal::Failed(_))
        ));

        assert_eq!(
            portion(&answer(&["bytes 3\n"]), 9, 9, &mark()),
            Ok(&b""[..])
        );

        assert!(matches!(
            portion(&answer(&["bytes -3\nabc"]), 0, 9, &mark()),
            Err(Refusal::Garbled(_))
        ));
    }
}
