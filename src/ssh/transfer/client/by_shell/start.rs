//! The start of the file server in the shell of a host.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, client::Msg};
use tokio::{
    sync::{OnceCell, mpsc::unbounded_channel},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::ShellServer;
use crate::{
    framing::{
        digest,
        file_server::{Answers, BadAnswer, ServerTools, script},
    },
    sftp::reply::{ServerLimits, Version},
    ssh::{
        command::{exec::random_sentinel, granted::granted, remote_host::RemoteHost},
        connect::connection::Connection,
        pool::{ChannelSlot, Priority},
        transfer::{
            TransferError,
            client::{ChannelEnd, SftpClient, Shared, read, write},
        },
    },
};

/// Time limit for each step of the start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Output of startup files that is skipped, in bytes.
const MAX_NOISE_BYTES: usize = 64 * 1024;
/// Limit of open files to be announced: [`SftpClient::most_handles`] is for servers that need
/// half of it themselves.
const HANDLES: u64 = 12;

impl SftpClient {
    /// Starts the file server over any connection to the host with room for a channel.
    ///
    /// # Errors
    /// The host has no `/bin/sh`, none of the programs that read a file, or the connection ends.
    pub(in crate::ssh::transfer) async fn begin_by_shell(
        host: &Arc<RemoteHost>,
    ) -> Result<Self, TransferError> {
        let (channel, slot) = host.channels.open_channel(Priority::Work).await?;
        Self::start_by_shell(channel, slot).await
    }

    /// Starts the file server on a fresh channel.
    pub(in crate::ssh::transfer::client) async fn start_by_shell(
        channel: Channel<Msg>,
        slot: ChannelSlot,
    ) -> Result<Self, TransferError> {
        let connection = Arc::clone(slot.connection());
        let (mut from_shell, to_shell) = channel.split();
        let (queue, requests) = unbounded_channel();
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        let mark = random_sentinel()?;
        let mut answers = Answers::new(&mark);

        to_shell
            .exec(true, "exec /bin/sh")
            .await
            .map_err(|_| connection.lost())?;
        tokio::spawn(write(to_shell, requests, closed.clone(), slot));

        // The script is sent only to a program which has echoed a word, and so is a shell. A menu
        // would take the lines of the script for choices.
        let step = |bytes: Vec<u8>| drop(queue.send(bytes.into()));
        let begun = async {
            granted(&mut from_shell).await.ok()?;
            step(digest::BEGIN.into());
            echoed(&mut from_shell).await
        };
        let begun = timeout(START_LIMIT, begun).await.ok().flatten();
        if begun.is_none() {
            return Err(failed(&connection, "the host runs no `/bin/sh`"));
        }

        step(script(&mark));
        let started = Instant::now();
        let ready = timeout(START_LIMIT, ready(&mut from_shell, &mut answers)).await;
        let Some(ready) = ready.ok().flatten() else {
            return Err(failed(&connection, "`/bin/sh` does not run the script"));
        };
        let Some(tools) = ServerTools::parse(&ready) else {
            let reason = "the host has neither `dd` nor `head` and `tail`, which read a file";
            return Err(failed(&connection, reason));
        };

        let round_trip = started.elapsed();
        let (server, shared) = (
            Arc::new(ShellServer::new(tools)),
            Arc::new(Shared::default()),
        );
        let deliver = {
            let (server, shared) = (Arc::clone(&server), Arc::clone(&shared));
            move |data: Bytes| {
                answers.push(&data);
                server
                    .deliver_all(&mut answers, &shared)
                    .map_err(|BadAnswer| ChannelEnd::BadAnswer)
            }
        };
        tokio::spawn(read(
            from_shell,
            deliver,
            Arc::clone(&shared),
            closed,
            Arc::clone(&connection),
        ));

        let flushes = tools.can_move().then_some("fsync@openssh.com");
        let extensions = [Some("posix-rename@openssh.com"), flushes];
        Ok(Self {
            connection,
            shared,
            queue,
            version: Version::offering(extensions.into_iter().flatten()),
            // The shell carries requests out in order, too, and reports every error.
            openssh: true,
            limits: ServerLimits {
                packet: 0,
                read: u64::MAX,
                write: tools.longest_write().map_or(u64::MAX, u64::from),
                handles: HANDLES,
            },
            renames: OnceCell::new(),
            removes: OnceCell::new(),
            refuses_posix_rename: AtomicBool::default(),
            leaves_closes_unanswered: AtomicBool::default(),
            gives_other_handles: AtomicBool::default(),
            round_trip,
            shell: Some(server),
            _open: guard,
        })
    }
}

/// Returns the error of the start, which a lost connection may have caused.
fn failed(connection: &Connection, reason: &str) -> TransferError {
    if connection.is_closed() {
        connection.lost().into()
    } else {
        TransferError::NoShell(reason.to_owned())
    }
}

/// Waits for the word that the shell was asked to print. `None` if the shell ends before.
async fn echoed(channel: &mut ChannelReadHalf) -> Option<()> {
    let mut output = Vec::new();
    loop {
        match channel.wait().await? {
            ChannelMsg::Data { data } => output.extend_from_slice(&data),
            ChannelMsg::Eof | ChannelMsg::Close => return None,
            _ => {}
        }

        if memchr::memmem::find(&output, digest::READY).is_some() {
            return Some(());
        }
        if output.len() > MAX_NOISE_BYTES {
            return None;
        }
    }
}

/// Waits for the words with which the server begins. `None` if the shell ends before.
async fn ready(channel: &mut ChannelReadHalf, answers: &mut Answers) -> Option<Bytes> {
    loop {
        match channel.wait().await? {
            ChannelMsg::Data { data } => answers.push(&data),
            ChannelMsg::Eof | ChannelMsg::Close => return None,
            _ => {}
        }

        if let Some(ready) = answers.ready(MAX_NOISE_BYTES).ok()? {
            return Some(ready);
        }
    }
}
