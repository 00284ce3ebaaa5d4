//! Fetches the content of a file into a temporary local file, and compares both sides.

use std::{io, sync::Arc};

use super::Download;
use crate::{
    local::Folder,
    sftp::attributes::{Attributes, FileType},
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            MAX_COMPARED_BYTES,
            client::SftpClient,
            error::{TransferError, shown},
            file::{local_temp::LocalTemp, receive::Receiving, remote_digest::Comparison},
            local::{io_threads::Sink, sum::Sum},
        },
    },
};

/// Temporary local file with the content received so far. Dropping the state removes the file.
#[derive(Debug)]
pub(super) struct DownloadState {
    pub(super) temp: LocalTemp,
    sink: Sink,
    sum: Sum,
    /// Number of bytes from the beginning on which the sink has accepted.
    pub(super) received: u64,
    /// Attributes of the remote file at the beginning of the transfer.
    pub(super) attributes: Attributes,
}

impl Download {
    /// Fetches the content. Returns true if both sides have the same SHA-256, and false if that is
    /// unknown.
    pub(super) async fn fetch(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        attributes: Attributes,
    ) -> Result<bool, TransferError> {
        // A file whose length reads 0 may have other content at each reading.
        let is_same = |state: &DownloadState| {
            facts(&state.attributes) == facts(&attributes) && facts(&attributes).0 > 0
        };

        // The file was changed between two attempts, so the bytes of both versions must not be
        // mixed.
        if self.state.as_ref().is_some_and(|state| !is_same(state)) {
            self.start_over();
        }

        let resumed = self.state.is_some();
        if !resumed && self.alone {
            self.progress.expect(facts(&attributes).0);
        }

        let first = self.content(host, client, attributes, resumed).await;
        let Err(TransferError::Differs(_)) = first else {
            return first;
        };
        let now = look(client, &self.wanted).await?;

        if resumed || facts(&now) == facts(&attributes) {
            // The content may have been damaged before this attempt, such as by a crash. So
            // everything is fetched again, but only once.
            self.start_over();
            let again = self.content(host, client, now, true).await;
            let Err(TransferError::Differs(_)) = again else {
                return again;
            };

            // An unchanged file that differs twice points to a faulty disk or memory, which has to
            // be reported.
            if facts(&look(client, &self.wanted).await?) == facts(&now) {
                return again;
            }
        }

        // The file is written to all the time. The copy has the content of each moment of reading,
        // as any copy would.
        Ok(false)
    }

    /// Discards the content received so far.
    pub(super) fn start_over(&mut self) {
        if let Some(state) = self.state.take() {
            self.progress.take_back(state.received);
        }
    }

    /// Fetches the rest of the content once, and compares both sides. Returns true if the SHA-256
    /// is equal, and false if nothing was compared. With `doubted`, a file of any length is
    /// compared.
    ///
    /// # Errors
    /// A request or a write failed, or [`TransferError::Differs`].
    async fn content(
        &mut self,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
        attributes: Attributes,
        doubted: bool,
    ) -> Result<bool, TransferError> {
        if self.state.is_none() {
            let folder = Arc::clone(&self.target.folder);
            let made = self
                .blocking("creating a file beside", move || {
                    DownloadState::new(&folder, attributes)
                })
                .await?;

            self.state = Some(made);
        }

        let (path, size) = (self.wanted.as_slice(), attributes.size.unwrap_or(0));
        let compared = doubted || self.alone && size <= MAX_COMPARED_BYTES;
        let Some(state) = &mut self.state else {
            return Err(TransferError::Cancelled);
        };

        if compared {
            state.sum.want();
        }

        let receiving = Receiving {
            host,
            client,
            path,
            size,
            room: self.room,
            sink: &mut state.sink,
            received: &mut state.received,
            progress: &self.progress,
            local: &self.target.path,
        };

        match receiving.run(&state.sum, compared).await? {
            Comparison::Equal => Ok(true),
            Comparison::Unknown => Ok(false),
            Comparison::Different => Err(TransferError::Differs(format!(
                "\"{}\"",
                shown(&self.wanted)
            ))),
        }
    }
}

impl DownloadState {
    /// Creates the temporary file, with room for the announced length.
    ///
    /// # Errors
    /// The disk has too little free space, or the file cannot be created.
    fn new(folder: &Arc<Folder>, attributes: Attributes) -> io::Result<Self> {
        let (temp, sum) = (
            LocalTemp::create_in(folder, attributes.size.unwrap_or(0))?,
            Sum::default(),
        );

        let sink = Sink::new(temp.file.try_clone()?, Arc::clone(folder), sum.clone());
        Ok(Self {
            temp,
            sink,
            sum,
            received: 0,
            attributes,
        })
    }
}

/// Returns the length and modification time, by which a changed file is recognised.
pub(in crate::ssh::transfer) fn facts(attributes: &Attributes) -> (u64, Option<u32>) {
    (attributes.size.unwrap_or(0), attributes.modified())
}

/// Returns the current attributes of a remote file.
///
/// # Errors
/// The request failed, or the path does not lead to a regular file.
pub(in crate::ssh::transfer) async fn look(
    client: &SftpClient,
    path: &[u8],
) -> Result<Attributes, TransferError> {
    let attributes = client
        .stat(path)
        .await
        .map_err(client.failed("reading", path))?;

    match attributes.kind() {
        FileType::File | FileType::Unknown => Ok(attributes),
        _ => Err(TransferError::NotAFile(format!(
            "\"{}\" on the remote host",
            shown(path)
        ))),
    }
}
