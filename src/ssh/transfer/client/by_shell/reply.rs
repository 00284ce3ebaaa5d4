//! Replies of SFTP from the answers of the shell.

use bytes::Bytes;

use super::{State, end_of_file, failure};
use crate::{
    framing::file_server::{Answer, PathFacts, entries, facts},
    sftp::{
        attributes::Attributes,
        reply::{NameReply, SftpReply},
        status::{Status, StatusCode},
    },
};

/// Form of the answer to a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected {
    /// Nothing but success.
    Done,
    /// Success, also of a host that cannot write to the disk on demand.
    Flushed,
    /// Success of a write to the file with this number.
    Written(u32),
    /// Success of opening the file with this number.
    Opened(u32),
    Facts,
    Entries,
    /// A single path.
    Path,
    /// Content of the file with this number.
    Content {
        number: u32,
        offset: u64,
        length: u32,
        /// See [`OpenFile::early_ends`](super::open_file::OpenFile::early_ends), when the request was made.
        early_ends: u32,
    },
}

/// Returns the reply, and takes note of what it means for the open files. `None` for an answer that
/// does not fit.
pub(super) fn reply(state: &mut State, expected: Expected, answer: &Answer) -> Option<SftpReply> {
    let Answer { content, failure } = answer;
    let failed = failure.is_some();

    match expected {
        Expected::Opened(number) if failed => drop(state.open.remove(&number)),
        Expected::Opened(number) => return Some(SftpReply::Handle(number.into())),
        Expected::Written(number) if failed => {
            if let Some(file) = state.open.get_mut(&number) {
                file.position = None;
            }
        }
        Expected::Content {
            number,
            offset,
            length,
            early_ends,
        } => {
            let read = (offset, length, early_ends);
            if state.is_stale(number, read, content.len(), failed) {
                return Some(SftpReply::Status(end_of_file()));
            }
        }
        Expected::Flushed if !failure.as_deref().is_some_and(is_of_the_disk) => {
            return Some(SftpReply::Status(done()));
        }
        _ => {}
    }

    if let Some(message) = failure {
        // The shell itself prints its messages about a failure where the content is.
        let message = if message.is_empty() {
            content.trim_ascii_end()
        } else {
            message
        };
        return Some(SftpReply::Status(status(message)));
    }

    Some(match expected {
        Expected::Done | Expected::Flushed | Expected::Written(_) | Expected::Opened(_) => {
            SftpReply::Status(done())
        }
        Expected::Facts => SftpReply::Attributes(attributes(facts(content)?)),
        Expected::Path => SftpReply::Names(vec![NameReply {
            name: content.clone(),
            attributes: Attributes::default(),
        }]),
        Expected::Entries => {
            let names = entries(content)?.into_iter();
            let names = names.map(|(name, facts)| NameReply {
                name: Bytes::copy_from_slice(name),
                attributes: attributes(facts),
            });
            SftpReply::Names(names.collect())
        }
        Expected::Content { .. } if content.is_empty() => SftpReply::Status(end_of_file()),
        Expected::Content { .. } => SftpReply::Content(content.to_vec().into()),
    })
}

impl State {
    /// Takes note of the end of a read. Returns true if it was made behind the end of the file, so
    /// that it may have read from another offset than was asked for.
    fn is_stale(
        &mut self,
        number: u32,
        (offset, length, early_ends): (u64, u32, u32),
        read: usize,
        failed: bool,
    ) -> bool {
        // A file that was closed meanwhile is read no more.
        let Some(file) = self.open.get_mut(&number) else {
            return false;
        };
        file.reading = file.reading.saturating_sub(1);

        if early_ends != file.early_ends {
            if read > 0 || failed {
                file.position = None;
            }
            return true;
        }

        if failed || read < length as usize {
            file.early_ends = file.early_ends.wrapping_add(1);
            let is_known = !failed && file.reading == 0;
            file.position = is_known.then(|| offset.saturating_add(read as u64));
        }

        false
    }
}

/// Returns the status for the words of a program, in the language of the locale `C`.
fn status(message: &[u8]) -> Status {
    // A path comes before the reason, and may contain any words.
    let reason = message.rsplit(|byte| *byte == b':').next();
    let reason = String::from_utf8_lossy(reason.unwrap_or_default()).to_ascii_lowercase();
    let all = String::from_utf8_lossy(message).to_ascii_lowercase();
    let says = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));

    // The same codes as of sftp-server (`errno_to_portable`).
    let missing = [
        "no such file",
        "nonexistent",
        "not a directory",
        "symbolic links",
    ];
    let denied = ["permission denied", "not permitted"];
    let code = [reason, all].iter().find_map(|text| {
        if says(text, &denied) {
            Some(StatusCode::PermissionDenied)
        } else if says(text, &missing) {
            Some(StatusCode::NoSuchFile)
        } else {
            None
        }
    });

    match code {
        Some(code) => Status {
            code,
            message: message.into(),
        },
        None if message.is_empty() => failure("the host does not say why"),
        None => Status {
            code: StatusCode::Failure,
            message: message.into(),
        },
    }
}

/// Returns true if a flush failed because the content is not on the disk, and not because the host
/// has no program for that.
fn is_of_the_disk(message: &[u8]) -> bool {
    let message = String::from_utf8_lossy(message).to_ascii_lowercase();
    ["no space", "quota", "input/output"]
        .iter()
        .any(|word| message.contains(word))
}

fn done() -> Status {
    Status {
        code: StatusCode::Ok,
        message: "".into(),
    }
}

fn attributes(facts: PathFacts) -> Attributes {
    Attributes {
        size: Some(facts.size),
        owner: Some(facts.owner),
        permissions: Some(facts.mode),
        times: facts.times,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_program_becomes_a_code() {
        for (message, expected) in [
            (
                "rm: cannot remove './no such file': Permission denied",
                StatusCode::PermissionDenied,
            ),
            (
                "dash: 2: cannot open /x: No such file",
                StatusCode::NoSuchFile,
            ),
            (
                "dash: 2: cannot create /x/y: Directory nonexistent",
                StatusCode::NoSuchFile,
            ),
            ("ash: can't open /x: no such file", StatusCode::NoSuchFile),
            (
                "ksh[2]: /x: cannot open [No such file or directory]",
                StatusCode::NoSuchFile,
            ),
            ("zsh: permission denied: /x", StatusCode::PermissionDenied),
            (
                "chmod: changing permissions of '/x': Operation not permitted",
                StatusCode::PermissionDenied,
            ),
            (
                "mkdir: cannot create directory '/x': File exists",
                StatusCode::Failure,
            ),
            ("sh: 5: rm: not found", StatusCode::Failure),
            ("", StatusCode::Failure),
        ] {
            assert_eq!(status(message.as_bytes()).code, expected, "{message}");
        }
    }
}
