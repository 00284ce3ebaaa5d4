//! The server's answer to the request for a command.

use russh::{ChannelMsg, ChannelReadHalf};

use crate::ssh::error::SshError;

/// Waits until the server has granted the command of a channel (RFC 4254 section 5.4).
///
/// # Errors
/// The server refuses the command, or the connection is lost.
pub(in crate::ssh) async fn granted(read: &mut ChannelReadHalf) -> Result<(), SshError> {
    loop {
        match read.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure | ChannelMsg::Close) => return Err(SshError::ExecRefused),
            None => return Err(SshError::Lost(None)),
            Some(_) => {}
        }
    }
}
