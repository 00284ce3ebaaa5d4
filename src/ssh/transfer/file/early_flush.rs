//! A long remote file that is written to the disk while it is being sent, so that little is left to
//! be flushed at its end.

use std::sync::Arc;

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    framing::digest::STEP_BYTES,
    sftp::{attributes::Attributes, handle::Handle, request::Access},
    ssh::{command::remote_host::RemoteHost, transfer::client::SftpClient},
};

/// Flushing of a growing remote file over a channel of its own, where the server answers no other
/// request until the disk has the content. Dropping the value ends it.
///
/// The file is flushed again at its end, so a failure here is only slower.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct EarlyFlush {
    /// Number of complete steps.
    steps: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl EarlyFlush {
    /// Starts to flush the file at `path`, which exists. Nothing is flushed if the server permits no
    /// further channel.
    pub(in crate::ssh::transfer) fn start(host: &Arc<RemoteHost>, path: &[u8]) -> Self {
        let (steps, complete) = watch::channel(0);
        let task = tokio::spawn(flush_steps(Arc::clone(host), path.to_owned(), complete));

        Self { steps, task }
    }

    /// Notes that the first `bytes` bytes are written.
    pub(in crate::ssh::transfer) fn note_arrived(&self, bytes: u64) {
        let now = bytes / STEP_BYTES;
        self.steps
            .send_if_modified(|steps| std::mem::replace(steps, now) != now);
    }

    /// Ends the flushing, and waits until the file is closed: Windows renames no open file.
    pub(in crate::ssh::transfer) async fn end(self) {
        drop(self.steps);
        let _ = self.task.await;
    }
}

/// Flushes the file after each step, and leaves out steps that end meanwhile.
async fn flush_steps(host: Arc<RemoteHost>, path: Vec<u8>, mut steps: watch::Receiver<u64>) {
    let opened = tokio::select! {
        opened = open(&host, &path) => opened,
        // The file is complete already, and no more is flushed here.
        _ = steps.wait_for(|_| false) => None,
    };

    let Some((client, handle)) = opened else {
        return;
    };

    while steps.changed().await.is_ok() {
        if client.fsync(&handle).await.is_err() {
            break;
        }
    }

    let _ = client.close(&handle).await;
}

/// Opens the file over a further channel; `None` if the server refuses.
async fn open(host: &Arc<RemoteHost>, path: &[u8]) -> Option<(SftpClient, Handle)> {
    let client = SftpClient::opportunistic(host).await?;
    let opened = client.open_file(path, Access::Write, Attributes::default());
    let handle = opened.await.ok()?;

    Some((client, handle))
}
