//! From a channel to an SFTP server that has said what it speaks.

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

use super::{RequestError, ServerLimits, SftpClient, Shared, read, write};
use crate::{
    sftp::{
        frames::Frames,
        reply::{Packet, SftpReply, Version},
        request::{INIT, SftpRequest},
    },
    ssh::{
        command::{limits::StopConditions, unexpected_output::UnexpectedOutput},
        error::SshError,
        pool::{ChannelSlot, Pool, Priority},
        transfer::TransferError,
    },
};

/// How long the server may take to say which SFTP it speaks. A startup file that prints text makes it never heard.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long something else that answers is listened to, to be quoted.
const DRAIN_LIMIT: Duration = Duration::from_millis(300);
/// How long it may take to hear what a command is answered with.
const ELSEWHERE: Duration = Duration::from_secs(3);
/// How long after the end of a channel the end of its connection may be seen that was its cause.
const ENDS_WITH_IT: Duration = Duration::from_millis(100);

impl SftpClient {
    /// Starts SFTP on a channel of its own, over whichever connection of the pool has room.
    ///
    /// # Errors
    /// The server has no SFTP, or something else answers; the connection ends, or the transfer has to be stopped by then.
    pub(in crate::ssh::transfer) async fn open(
        pool: &Arc<Pool>,
        conditions: &StopConditions,
    ) -> Result<Self, TransferError> {
        tokio::select! {
            biased;
            _ = conditions.wait(Duration::ZERO) => Err(TransferError::Cancelled),
            begun = Self::begin(pool) => begun,
        }
    }

    /// The same, however long it takes.
    pub(in crate::ssh::transfer) async fn begin(pool: &Arc<Pool>) -> Result<Self, TransferError> {
        let (channel, slot) = pool.open_channel(Priority::Work).await?;
        let (connection, mut words) = (Arc::clone(slot.connection()), UnexpectedOutput::default());
        let started = tokio::select! {
            biased;
            started = Self::start(channel, slot, &mut words) => started,
            () = connection.ended() => return Err(connection.lost().into()),
        };

        match started {
            // russh ends the channels just before the connection.
            Err(TransferError::Start(_))
                if timeout(ENDS_WITH_IT, connection.ended()).await.is_ok() =>
            {
                Err(connection.lost().into())
            }
            Err(TransferError::Start(reason)) => {
                if words.is_empty() {
                    let _ = timeout(ELSEWHERE, hear_elsewhere(pool, &mut words)).await;
                }
                Err(TransferError::Start(words.after(reason)))
            }
            started => started,
        }
    }

    /// One more for the same transfer, where the connection has room for it; `None` where it has not.
    pub(in crate::ssh::transfer) async fn spare(pool: &Arc<Pool>) -> Option<Self> {
        let (channel, slot) = pool.opportunistic_channel().await?;
        Self::start(channel, slot, &mut UnexpectedOutput::default())
            .await
            .ok()
    }

    /// One more for the same transfer over a connection of its own; `None` where there is none to be had.
    pub(in crate::ssh::transfer) async fn apart(pool: &Arc<Pool>) -> Option<Self> {
        let (channel, slot) = pool.channel_on_another_connection().await?;
        Self::start(channel, slot, &mut UnexpectedOutput::default())
            .await
            .ok()
    }

    /// What is printed in the place of SFTP goes into `words`.
    async fn start(
        channel: Channel<Msg>,
        slot: ChannelSlot,
        words: &mut UnexpectedOutput,
    ) -> Result<Self, TransferError> {
        let connection = Arc::clone(slot.connection());
        let (mut from_server, to_server) = channel.split();
        let (queue, packets) = unbounded_channel();
        let open = CancellationToken::new();
        let guard = open.clone().drop_guard();
        let started = Instant::now();
        to_server
            .request_subsystem(true, "sftp")
            .await
            .map_err(|_| connection.lost())?;

        // With the request for it, not after its answer, which would be a round trip later.
        let _ = queue.send(Bytes::from_static(INIT));
        tokio::spawn(write(to_server, packets, open.clone(), slot));
        let mut frames = Frames::default();

        let version = match timeout(
            START_LIMIT,
            hear_version(&mut from_server, &mut frames, words),
        )
        .await
        {
            Ok(Ok(version)) => version,
            Ok(Err(_)) if connection.is_closed() => return Err(connection.lost().into()),
            Ok(Err(TransferError::Start(reason))) => {
                let status = timeout(DRAIN_LIMIT, hear_out(&mut from_server, words))
                    .await
                    .ok()
                    .flatten();

                let status = status
                    .map(|status| format!(" (exit status {status})"))
                    .unwrap_or_default();
                return Err(TransferError::Start(reason + &status));
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(TransferError::Start(silent())),
        };

        let mut round_trip = started.elapsed();
        let shared = Arc::new(Shared::default());

        tokio::spawn(read(
            from_server,
            frames,
            Arc::clone(&shared),
            open,
            Arc::clone(&connection),
        ));

        let limits = ServerLimits::default();
        let (openssh, renames) = (
            connection.runs_openssh_sftp() && version.is_openssh(),
            OnceCell::new(),
        );

        let mut client = Self {
            connection,
            shared,
            queue,
            version,
            openssh,
            limits,
            renames,
            leaves_closes_unanswered: AtomicBool::default(),
            round_trip,
            _open: guard,
        };

        if client.offers("limits@openssh.com") {
            let asked = Instant::now();

            match timeout(START_LIMIT, client.ask(SftpRequest::Limits)).await {
                Ok(Ok(SftpReply::Extended(answer))) => {
                    client.limits = ServerLimits::read(answer).unwrap_or_default();
                }
                Ok(Ok(_) | Err(RequestError::Status(_))) => {}
                Ok(Err(error)) => return Err(TransferError::Start(error.to_string())),
                Err(_) => return Err(TransferError::Start(silent())),
            }

            round_trip = asked.elapsed();
        }

        client.round_trip = round_trip;

        Ok(client)
    }
}

fn silent() -> String {
    format!("no answer of SFTP's within {START_LIMIT:?}")
}

/// Reads up to the server's first packet. What is printed instead goes into `words`.
async fn hear_version(
    channel: &mut ChannelReadHalf,
    frames: &mut Frames,
    words: &mut UnexpectedOutput,
) -> Result<Version, TransferError> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => {
                words.hear(&data);
                frames.push(data);
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                words.hear(&data);
                continue;
            }
            Some(ChannelMsg::Failure) => return Err(TransferError::NoSftp),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                return Err(TransferError::Start("it ended at once".to_owned()));
            }
            Some(_) => continue,
        }

        match frames.next_packet() {
            Ok(Some(Packet::Version(version))) if version.number == 3 => return Ok(version),
            Ok(Some(Packet::Version(Version { number, .. }))) => {
                return Err(TransferError::Start(format!(
                    "it speaks version {number}, not 3"
                )));
            }
            Ok(Some(Packet::Reply {
                reply: SftpReply::Status(status),
                ..
            })) => {
                return Err(TransferError::Start(status.reason()));
            }
            Ok(Some(_)) => {
                return Err(TransferError::Start(
                    "it answers what was not asked".to_owned(),
                ));
            }
            Ok(None) => {}
            Err(malformed) => return Err(TransferError::Start(malformed.to_string())),
        }
    }
}

/// What the account prints for any command. sshd drops what a subsystem prints on stderr, so that nothing is heard there of a
/// password that has expired.
async fn hear_elsewhere(pool: &Arc<Pool>, words: &mut UnexpectedOutput) -> Result<(), SshError> {
    let (channel, slot) = pool.open_channel(Priority::Work).await?;
    let (mut read, write) = channel.split();
    slot.connection().command(&write, "exit 0").await?;
    hear_out(&mut read, words).await;
    let _ = write.close().await;
    Ok(())
}

/// Reads the rest of what is printed in its place, and returns the exit status, if one is told. That may come before the last
/// of the words.
async fn hear_out(channel: &mut ChannelReadHalf, words: &mut UnexpectedOutput) -> Option<u32> {
    let mut status = None;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => {
                words.hear(&data);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status),
            Some(ChannelMsg::Close) | None => return status,
            Some(_) => {}
        }
    }
}
