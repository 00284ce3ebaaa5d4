//! The messages of a shell's channel.

use bytes::Bytes;
use russh::ChannelMsg;

use crate::{framing::stream::Stream, ssh::command::exit_status::ExitStatus};

/// Meaning of a channel message for the shell.
pub(super) enum ShellMessage {
    /// Bytes on a stream.
    Output(Stream, Bytes),
    /// Exit status of the shell itself.
    Status(ExitStatus),
    /// The server refuses to run a shell.
    Refused,
    /// The channel was closed, so the shell has ended.
    Closed,
    /// The channel ended without being closed, so the connection is lost.
    Lost,
    /// Any other message.
    Other,
}

impl ShellMessage {
    /// Translates a message of the channel; `None` is the end of the messages.
    pub(super) fn read(message: Option<ChannelMsg>) -> Self {
        match message {
            Some(ChannelMsg::Data { data }) => Self::Output(Stream::Stdout, data),
            Some(ChannelMsg::ExtendedData { data, .. }) => Self::Output(Stream::Stderr, data),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                Self::Status(ExitStatus::Code(exit_status))
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                Self::Status(ExitStatus::from_signal(&signal_name))
            }
            Some(ChannelMsg::Failure) => Self::Refused,
            Some(ChannelMsg::Close) => Self::Closed,
            Some(_) => Self::Other,
            None => Self::Lost,
        }
    }
}
