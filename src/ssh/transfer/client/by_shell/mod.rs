//! The requests of an [`SftpClient`](super::SftpClient) on a host without SFTP, carried out by its
//! `/bin/sh`. Everything above this module is the same as with SFTP.

mod open_file;
mod reply;
mod start;

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use bytes::Bytes;

use self::{
    open_file::OpenFile,
    reply::{Expected, reply},
};
use super::{RequestError, Shared};
use crate::{
    framing::file_server::{
        Answer, Answers, BadAnswer, Changes, FileRequest, Opening, SLOTS, ServerTools,
    },
    lock::lock,
    sftp::{
        attributes::Attributes,
        handle::Handle,
        reply::{Malformed, Packet, SftpReply},
        request::{Access, SftpRequest},
        status::{Status, StatusCode},
    },
};

/// Longest line of a request without content, in bytes.
const MAX_LINE_BYTES: usize = 128 * 1024;
/// Longest listing of a directory, in bytes.
const MAX_LISTING_BYTES: usize = 64 * 1024 * 1024;
/// Longest other answer without content, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// File server in the shell of a host. The shell answers in order.
#[derive(Debug)]
pub(super) struct ShellServer {
    tools: ServerTools,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests without an answer, in order, with their ids.
    expected: VecDeque<(u32, Expected)>,
    /// Open files and directories by the number in their handle.
    open: HashMap<u32, OpenFile>,
    last_handle: u32,
}

impl ShellServer {
    fn new(tools: ServerTools) -> Self {
        Self {
            tools,
            state: Mutex::default(),
        }
    }

    /// Passes a request on to `send`, as bytes for the shell, or answers it at once.
    ///
    /// # Errors
    /// A path is too long, or holds a NUL byte.
    pub(super) fn request(
        &self,
        id: u32,
        request: &SftpRequest<'_>,
        shared: &Shared,
        send: impl FnOnce(Bytes),
    ) -> Result<(), RequestError> {
        let mut state = lock(&self.state);
        match state.request(request) {
            Ok((request, expected)) => {
                let line = self.tools.line(request);
                if line.len() > MAX_LINE_BYTES {
                    return Err(RequestError::TooLong);
                }
                if line.contains(&0) {
                    return Err(failure("the path holds a NUL byte").into());
                }

                state.expect(id, expected);
                send(line.into());
            }
            Err(status) => {
                let reply = SftpReply::Status(status);
                // An id is known until its answer, so this cannot fail.
                let _ = shared.deliver(Packet::Reply { id, reply });
            }
        }

        Ok(())
    }

    /// Passes a write on to `send`, as bytes for the shell.
    pub(super) fn write(
        &self,
        id: u32,
        handle: &Handle,
        offset: u64,
        content: &[u8],
        send: impl FnOnce(Bytes),
    ) -> Result<(), RequestError> {
        let mut state = lock(&self.state);
        let number = number(handle).ok_or_else(unknown_handle)?;
        let file = state.open.get_mut(&number).ok_or_else(unknown_handle)?;
        let slot = file.slot.ok_or_else(unknown_handle)?;
        let position = file.go(offset, content.len() as u64);
        let request = self.tools.write(slot, &file.path, position, content);

        state.expect(id, Expected::Written(number));
        send(request.into());

        Ok(())
    }

    /// Returns the longest content of the next answer.
    fn limit(&self) -> usize {
        match lock(&self.state).expected.front() {
            Some((_, Expected::Content { length, .. })) => *length as usize,
            Some((_, Expected::Entries)) => MAX_LISTING_BYTES,
            _ => MAX_ANSWER_BYTES,
        }
    }

    /// Delivers all complete answers.
    ///
    /// # Errors
    /// An answer does not fit its request.
    fn deliver_all(&self, answers: &mut Answers, shared: &Shared) -> Result<(), BadAnswer> {
        while let Some(answer) = answers.next_answer(self.limit())? {
            self.deliver(&answer, shared)?;
        }
        Ok(())
    }

    /// Delivers the next answer to its request.
    ///
    /// # Errors
    /// The answer does not fit the request, or there is none.
    fn deliver(&self, answer: &Answer, shared: &Shared) -> Result<(), BadAnswer> {
        let mut state = lock(&self.state);
        let (id, expected) = state.expected.pop_front().ok_or(BadAnswer)?;
        let reply = reply(&mut state, expected, answer).ok_or(BadAnswer)?;
        drop(state);

        shared
            .deliver(Packet::Reply { id, reply })
            .map_err(|Malformed(_)| BadAnswer)
    }
}

impl State {
    fn expect(&mut self, id: u32, expected: Expected) {
        self.expected.push_back((id, expected));
    }

    /// Returns the request to the shell with the expected answer, and takes note of it.
    ///
    /// # Errors
    /// The status with which the request is answered at once.
    fn request<'a>(
        &'a mut self,
        request: &SftpRequest<'a>,
    ) -> Result<(FileRequest<'a>, Expected), Status> {
        let facts = |path, follows| (FileRequest::Facts { path, follows }, Expected::Facts);
        let change = |path, attributes| {
            let request = FileRequest::Change {
                slot: None,
                path,
                changes: changes(attributes),
            };
            (request, Expected::Done)
        };
        let rename = |from, to, replaces| {
            let request = FileRequest::Rename { from, to, replaces };
            (request, Expected::Done)
        };

        Ok(match *request {
            SftpRequest::Open {
                path,
                access,
                attributes,
            } => return self.open_file(path, access, attributes),
            SftpRequest::Close(handle) => {
                let file = number(handle).and_then(|number| self.open.remove(&number));
                let slot = file.ok_or_else(unknown_handle)?.slot;
                // A directory needs no closing.
                let slot = slot.ok_or(Status {
                    code: StatusCode::Ok,
                    message: "".into(),
                })?;
                (FileRequest::Close(slot), Expected::Done)
            }
            SftpRequest::Read {
                handle,
                offset,
                length,
            } => return self.read(handle, offset, length),
            SftpRequest::Lstat(path) => facts(or_home(path), false),
            SftpRequest::Stat(path) => facts(or_home(path), true),
            SftpRequest::Fstat(handle) => {
                let (slot, path) = self.slot(handle)?;
                (FileRequest::FactsOfOpen { slot, path }, Expected::Facts)
            }
            SftpRequest::Setstat(path, to) => change(path, to),
            SftpRequest::Fsetstat(handle, to) => {
                let (slot, path) = self.slot(handle)?;
                let request = FileRequest::Change {
                    slot: Some(slot),
                    path,
                    changes: changes(to),
                };
                (request, Expected::Done)
            }
            SftpRequest::Opendir(path) => {
                // Fails where there is no directory, and as a directory without permission does.
                let number = self.number_of(&[path, b"/."].concat(), None);
                let file = self.open.get(&number).ok_or_else(unknown_handle)?;
                let path = &file.path;
                let request = FileRequest::Facts {
                    path,
                    follows: true,
                };
                (request, Expected::Opened(number))
            }
            SftpRequest::Readdir(handle) => {
                let file = number(handle).and_then(|number| self.open.get_mut(&number));
                let file = file.ok_or_else(unknown_handle)?;
                if std::mem::replace(&mut file.is_listed, true) {
                    return Err(end_of_file());
                }
                (FileRequest::List(&file.path), Expected::Entries)
            }
            SftpRequest::Remove(path) => (FileRequest::Remove(path), Expected::Done),
            SftpRequest::Mkdir(path, attributes) => {
                let mode = attributes.permissions.unwrap_or(0o777);
                (FileRequest::MakeDirectory { path, mode }, Expected::Done)
            }
            SftpRequest::Realpath(path) => (FileRequest::Resolve(or_home(path)), Expected::Path),
            SftpRequest::Rename { from, to } => rename(from, to, false),
            SftpRequest::PosixRename { from, to } => rename(from, to, true),
            SftpRequest::Readlink(path) => (FileRequest::Destination(path), Expected::Path),
            SftpRequest::Symlink { first, second } => {
                let (target, link) = (first, second);
                (FileRequest::Link { target, link }, Expected::Done)
            }
            SftpRequest::Fsync(handle) => {
                let (slot, _) = self.slot(handle)?;
                (FileRequest::Flush(slot), Expected::Flushed)
            }
            SftpRequest::Lsetstat(..) | SftpRequest::Limits | SftpRequest::AccountNames { .. } => {
                return Err(Status {
                    code: StatusCode::Unsupported,
                    message: "the host has no SFTP".into(),
                });
            }
        })
    }

    fn open_file<'a>(
        &'a mut self,
        path: &'a [u8],
        access: Access,
        attributes: Attributes,
    ) -> Result<(FileRequest<'a>, Expected), Status> {
        let used = |slot: &u8| self.open.values().any(|file| file.slot == Some(*slot));
        let slot = SLOTS.into_iter().find(|slot| !used(slot));
        let slot = slot.ok_or_else(|| failure("too many open files"))?;

        let mode = attributes.permissions.unwrap_or(0o666);
        let opening = match access {
            Access::Read => Opening::Read,
            Access::Write | Access::Resume => Opening::Write,
            Access::Create => Opening::Create(mode),
            Access::Replace => Opening::Replace(mode),
        };
        let number = self.number_of(path, Some(slot));
        let request = FileRequest::Open {
            slot,
            path,
            opening,
        };

        Ok((request, Expected::Opened(number)))
    }

    fn read<'a>(
        &'a mut self,
        handle: &Handle,
        offset: u64,
        length: u32,
    ) -> Result<(FileRequest<'a>, Expected), Status> {
        let number = number(handle).ok_or_else(unknown_handle)?;
        let file = self.open.get_mut(&number).ok_or_else(unknown_handle)?;
        let slot = file.slot.ok_or_else(unknown_handle)?;
        let position = file.go(offset, length.into());
        file.reading += 1;

        let expected = Expected::Content {
            number,
            offset,
            length,
            early_ends: file.early_ends,
        };
        let request = FileRequest::Read {
            slot,
            path: &file.path,
            offset,
            length,
            position,
        };

        Ok((request, expected))
    }

    /// Enters an open file, and returns the number of its handle.
    fn number_of(&mut self, path: &[u8], slot: Option<u8>) -> u32 {
        self.last_handle = self.last_handle.wrapping_add(1);
        let file = OpenFile::new(path, slot);
        self.open.insert(self.last_handle, file);
        self.last_handle
    }

    /// Returns the descriptor and the path of an open file.
    fn slot(&self, handle: &Handle) -> Result<(u8, &[u8]), Status> {
        let file = number(handle).and_then(|number| self.open.get(&number));
        let file = file.ok_or_else(unknown_handle)?;
        Ok((file.slot.ok_or_else(unknown_handle)?, &file.path))
    }
}

/// Returns the number in a handle.
fn number(handle: &Handle) -> Option<u32> {
    Some(u32::from_be_bytes(*handle.as_bytes().first_chunk()?))
}

/// Returns the path, or that of the home directory for an empty path, as SFTP servers do.
fn or_home(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

fn changes(attributes: Attributes) -> Changes {
    Changes {
        size: attributes.size,
        owner: attributes.owner,
        mode: attributes.permissions,
        times: attributes
            .times
            .map(|(accessed, modified)| (modified, accessed)),
    }
}

fn failure(message: &str) -> Status {
    Status {
        code: StatusCode::Failure,
        message: message.into(),
    }
}

fn unknown_handle() -> Status {
    failure("the file is not open")
}

fn end_of_file() -> Status {
    Status {
        code: StatusCode::EndOfFile,
        message: "".into(),
    }
}
