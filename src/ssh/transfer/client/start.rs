//! The start of SFTP: from opening a channel to the server's version and limits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, client::Msg};
use tokio::{
    sync::{OnceCell, mpsc::unbounded_channel},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{ChannelEnd, RequestError, ServerLimits, SftpClient, Shared, deliver_all, read, write};
use crate::{
    sftp::{
        frames::Frames,
        reply::{Packet, SftpReply, Version},
        request::{INIT, SftpRequest},
    },
    ssh::{
        command::{
            limits::StopConditions, remote_host::RemoteHost, unexpected_output::UnexpectedOutput,
        },
        error::SshError,
        pool::{ChannelSlot, Priority},
        transfer::TransferError,
    },
};

/// Time limit for the server's version. If a startup file prints text, no version can ever be read.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Reason for a failed start if the program of the subsystem is missing, or ends.
const ENDED: &str = "the server ended at once";
/// Time limit to read the output of another program instead of SFTP, for the error message.
const DRAIN_LIMIT: Duration = Duration::from_millis(300);
/// Time limit to read the output of a command on the same account.
const ELSEWHERE: Duration = Duration::from_secs(3);
/// Time limit to notice the end of the connection, which may be the cause of the end of a channel.
const ENDS_WITH_IT: Duration = Duration::from_millis(100);

impl SftpClient {
    /// Starts SFTP over any connection to the host with room for a channel.
    ///
    /// # Errors
    /// The server has no SFTP or fails at every path, something else answers, the connection ends,
    /// or the transfer is stopped.
    pub(in crate::ssh::transfer) async fn open(
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
    ) -> Result<Self, TransferError> {
        unless_cancelled(conditions, Self::begin_usable(host)).await
    }

    /// Starts SFTP, or else the file server in the host's shell. A host without SFTP is remembered
    /// until the next log-in, because each attempt costs round trips.
    ///
    /// # Errors
    /// The host has neither, the connection ends, or the transfer is stopped.
    pub(in crate::ssh::transfer) async fn open_either(
        host: &Arc<RemoteHost>,
        conditions: &StopConditions,
    ) -> Result<Self, TransferError> {
        unless_cancelled(conditions, Self::begin_either(host)).await
    }

    /// Starts SFTP, or else the file server in the host's shell, without a way to be stopped.
    ///
    /// # Errors
    /// The host has neither, or the connection ends.
    pub(in crate::ssh::transfer) async fn begin_either(
        host: &Arc<RemoteHost>,
    ) -> Result<Self, TransferError> {
        if host.has_no_sftp.load(Ordering::Relaxed) {
            return Self::begin_by_shell(host).await;
        }

        let sftp = Self::begin(host).await;
        let is_of_use = match &sftp {
            Ok(client) => client.failure_at_paths(host).await.is_none(),
            Err(TransferError::NoSftp) => false,
            // Any other answer is that of a server which is broken, and is reported as it is.
            Err(TransferError::Start(reason)) => !reason.starts_with(ENDED),
            Err(_) => true,
        };
        if is_of_use {
            return sftp;
        }

        match (Self::begin_by_shell(host).await, sftp) {
            (Ok(client), _) => {
                host.has_no_sftp.store(true, Ordering::Relaxed);
                Ok(client)
            }
            (Err(TransferError::NoShell(_)), sftp @ (Ok(_) | Err(TransferError::Start(_)))) => sftp,
            (Err(error), _) => Err(error),
        }
    }

    /// Starts SFTP as [`open`](Self::open) does, without a way to be stopped.
    ///
    /// # Errors
    /// The server has no SFTP or fails at every path, something else answers, or the connection
    /// ends.
    pub(in crate::ssh::transfer) async fn begin_usable(
        host: &Arc<RemoteHost>,
    ) -> Result<Self, TransferError> {
        let client = Self::begin(host).await?;
        match client.failure_at_paths(host).await {
            None => Ok(client),
            Some(status) => Err(TransferError::Start(format!(
                "it fails at every path: {status}"
            ))),
        }
    }

    /// Starts SFTP over any connection to the host, without a way to be stopped.
    ///
    /// # Errors
    /// The server has no SFTP, something else answers, or the connection ends.
    async fn begin(host: &Arc<RemoteHost>) -> Result<Self, TransferError> {
        match Self::begin_once(host).await {
            Err(TransferError::NoSftp) if host.turns_out_to_take_one_command().await => {
                Self::begin_once(host).await
            }
            begun => begun,
        }
    }

    /// Starts SFTP over one connection.
    async fn begin_once(host: &Arc<RemoteHost>) -> Result<Self, TransferError> {
        let (channel, slot) = host.channels.open_channel(Priority::Work).await?;
        let (connection, mut words) = (Arc::clone(slot.connection()), UnexpectedOutput::default());
        let started = tokio::select! {
            biased;
            started = Self::start(host, channel, slot, &mut words) => started,
            () = connection.ended() => return Err(connection.lost().into()),
        };

        match started {
            // russh ends the channels just before the connection. A lost connection is worth
            // another attempt; a failed start of SFTP is not.
            Err(TransferError::Start(_))
                if timeout(ENDS_WITH_IT, connection.ended()).await.is_ok() =>
            {
                Err(connection.lost().into())
            }
            Err(TransferError::Start(reason)) => {
                // sshd discards the stderr of a subsystem, where an expired password would be
                // reported.
                if words.is_empty() {
                    let _ = timeout(ELSEWHERE, hear_elsewhere(host, &mut words)).await;
                }
                Err(TransferError::Start(words.appended_to(reason)))
            }
            started => started,
        }
    }

    /// Opens a further client for a transfer if a connection has room at once. Returns `None`
    /// otherwise.
    pub(in crate::ssh::transfer) async fn opportunistic(host: &Arc<RemoteHost>) -> Option<Self> {
        let (channel, slot) = host.channels.opportunistic_channel().await?;
        if host.has_no_sftp.load(Ordering::Relaxed) {
            return Self::start_by_shell(channel, slot).await.ok();
        }

        Self::start(host, channel, slot, &mut UnexpectedOutput::default())
            .await
            .ok()
    }

    /// Opens a further client for a transfer over another connection than the first. Returns `None`
    /// if there is no such connection, or the host has no SFTP.
    pub(in crate::ssh::transfer) async fn on_another_connection(
        host: &Arc<RemoteHost>,
    ) -> Option<Self> {
        if host.has_no_sftp.load(Ordering::Relaxed) {
            return None;
        }

        let (channel, slot) = host.channels.channel_on_another_connection().await?;
        Self::start(host, channel, slot, &mut UnexpectedOutput::default())
            .await
            .ok()
    }

    /// Starts SFTP on a fresh channel. Output that is printed instead of SFTP is collected in
    /// `words`.
    async fn start(
        host: &RemoteHost,
        channel: Channel<Msg>,
        slot: ChannelSlot,
        words: &mut UnexpectedOutput,
    ) -> Result<Self, TransferError> {
        let connection = Arc::clone(slot.connection());
        let (mut from_server, to_server) = channel.split();
        let (queue, packets) = unbounded_channel();
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        let started = Instant::now();
        to_server
            .request_subsystem(true, "sftp")
            .await
            .map_err(|_| connection.lost())?;

        // The version request follows immediately: waiting for the reply to the subsystem request
        // would cost a round trip.
        let _ = queue.send(Bytes::from_static(INIT));
        tokio::spawn(write(to_server, packets, closed.clone(), slot));
        let mut frames = Frames::default();

        let version = match timeout(
            START_LIMIT,
            hear_version(&mut from_server, &mut frames, words),
        )
        .await
        {
            Ok(Ok(version)) => version,
            // The lost connection is the cause, and permits another attempt.
            Ok(Err(_)) if connection.is_closed() => return Err(connection.lost().into()),
            Ok(Err(TransferError::Start(reason))) => {
                // The exit status often explains more than the text, such as 127 for a missing
                // `sftp-server`.
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

        let round_trip = started.elapsed();
        let shared = Arc::new(Shared::default());

        // From here on the replies have to be read by the task, since the requests below wait for
        // them.
        let deliver = {
            let shared = Arc::clone(&shared);
            move |data: Bytes| {
                deliver_all(&mut frames, data, &shared).map_err(ChannelEnd::Malformed)
            }
        };
        tokio::spawn(read(
            from_server,
            deliver,
            Arc::clone(&shared),
            closed,
            Arc::clone(&connection),
        ));

        // The SSH identification does not prove which program serves SFTP, so the announced
        // extensions have to match as well.
        let openssh = connection.runs_openssh_sftp() && version.is_openssh();

        let mut client = Self {
            connection,
            shared,
            queue,
            version,
            openssh,
            limits: ServerLimits::default(),
            renames: OnceCell::new(),
            refuses_posix_rename: AtomicBool::default(),
            removes: OnceCell::new(),
            leaves_closes_unanswered: AtomicBool::default(),
            gives_other_handles: AtomicBool::default(),
            round_trip,
            shell: None,
            _open: guard,
        };

        // Without announced limits the defaults apply, with which every server must cope. They are
        // asked for once, because each answer takes a round trip.
        if client.offers("limits@openssh.com") {
            let announced = match host.sftp_limits.get() {
                Some(known) => *known,
                None => client.ask_limits().await?,
            };
            let _ = host.sftp_limits.set(announced);
            (client.limits, client.round_trip) = announced;
        }

        Ok(client)
    }

    /// Returns the limits which the server announces, with the time that the answer took.
    ///
    /// # Errors
    /// The channel ends, or the server does not answer in time.
    async fn ask_limits(&self) -> Result<(ServerLimits, Duration), TransferError> {
        let requested_at = Instant::now();
        let limits = match timeout(START_LIMIT, self.ask(SftpRequest::Limits)).await {
            Ok(Ok(SftpReply::Extended(answer))) => ServerLimits::read(answer).unwrap_or_default(),
            Ok(Ok(_) | Err(RequestError::Status(_))) => ServerLimits::default(),
            Ok(Err(error)) => return Err(TransferError::Start(error.to_string())),
            Err(_) => return Err(TransferError::Start(silent())),
        };

        Ok((limits, requested_at.elapsed()))
    }
}

/// Returns the message for a server which does not answer in time.
fn silent() -> String {
    format!("no SFTP answer within {START_LIMIT:?}")
}

/// Reads the server's first packet, which has to be the version. Other output is collected in
/// `words`.
async fn hear_version(
    channel: &mut ChannelReadHalf,
    frames: &mut Frames,
    words: &mut UnexpectedOutput,
) -> Result<Version, TransferError> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => {
                words.push(&data);
                frames.push(data);
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                words.push(&data);
                continue;
            }
            Some(ChannelMsg::Failure) => return Err(TransferError::NoSftp),
            Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                return Err(TransferError::Start(ENDED.to_owned()));
            }
            Some(_) => continue,
        }

        // Only version 3 is understood; some servers reply with a status instead of a version.
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
                    "it answered a request that was not sent".to_owned(),
                ));
            }
            Ok(None) => {}
            Err(malformed) => return Err(TransferError::Start(malformed.to_string())),
        }
    }
}

/// Waits for the start of a client, unless the transfer is stopped.
async fn unless_cancelled(
    conditions: &StopConditions,
    begun: impl Future<Output = Result<SftpClient, TransferError>>,
) -> Result<SftpClient, TransferError> {
    tokio::select! {
        biased;
        _ = conditions.wait(Duration::ZERO) => Err(TransferError::Cancelled),
        begun = begun => begun,
    }
}

/// Runs a command on the same account and collects the output. sshd discards the stderr of a
/// subsystem, where a server would report an expired password.
async fn hear_elsewhere(
    host: &Arc<RemoteHost>,
    words: &mut UnexpectedOutput,
) -> Result<(), SshError> {
    let (channel, slot) = host.channels.open_channel(Priority::Work).await?;
    let (mut read, write) = channel.split();
    slot.connection().command(&write, "exit 0").await?;
    hear_out(&mut read, words).await;
    let _ = write.close().await;
    Ok(())
}

/// Reads the rest of the output and returns the exit status, or `None` without an exit status. The
/// status may arrive before the last output, so the loop continues until the channel closes.
async fn hear_out(channel: &mut ChannelReadHalf, words: &mut UnexpectedOutput) -> Option<u32> {
    let mut status = None;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => {
                words.push(&data);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status),
            Some(ChannelMsg::Close) | None => return status,
            Some(_) => {}
        }
    }
}
