//! Temporary remote files: their names, the replacement of the target, and the removal.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use crate::{
    sftp::attributes::FileType,
    ssh::{
        command::{exec::random_sentinel, remote_host::RemoteHost},
        error::SshError,
        transfer::{
            client::{RequestError, SftpClient},
            error::{TransferError, shown},
            paths,
        },
    },
};

/// Time limit for removing temporary files after a failure. The remote host may no longer answer.
pub(in crate::ssh::transfer) const TIDY_LIMIT: Duration = Duration::from_secs(5);

/// Upper limit of the part of the target's name in a temporary name, in bytes. File systems limit
/// names, often to 255 bytes.
const SHOWN_OF_NAME: usize = 64;

/// Names of a temporary remote file and of the target to be replaced. The value does not remove the
/// file when dropped; after a lost connection it is passed to [`remove_remote_temps`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTemp {
    /// Path of the temporary file.
    pub(in crate::ssh::transfer) temporary: Vec<u8>,
    /// Path of the target.
    pub(in crate::ssh::transfer) target: Vec<u8>,
}

/// Reason for which the target was not replaced.
#[derive(Debug)]
pub(in crate::ssh::transfer) enum NotReplaced {
    /// The target is unchanged.
    Refused(RequestError),
    /// The old file was moved to another name, and could not be moved back.
    Aside(RequestError),
}

impl RemoteTemp {
    /// Creates a random name in the directory of `target`.
    ///
    /// # Errors
    /// The system provides no random number.
    pub(in crate::ssh::transfer) fn next_to(target: &[u8]) -> Result<Self, SshError> {
        let (folder, name) = paths::split(target);

        // The shown part is valid text, because some file systems accept no other bytes.
        let mut shown = String::from_utf8_lossy(name).into_owned();
        while shown.len() > SHOWN_OF_NAME {
            shown.pop();
        }

        // Unpredictable, so that nobody on the remote host can place a link under this name.
        let random = random_sentinel()?;

        let temporary = [
            folder,
            b".",
            shown.as_bytes(),
            b".",
            random.as_str().as_bytes(),
            b".part",
        ]
        .concat();

        Ok(Self {
            temporary,
            target: target.to_owned(),
        })
    }

    /// Creates the name `name` in the directory of `target`.
    pub(in crate::ssh::transfer) fn named(target: &[u8], name: &str) -> Self {
        let (folder, _) = paths::split(target);
        Self {
            temporary: [folder, name.as_bytes()].concat(),
            target: target.to_owned(),
        }
    }

    /// Makes the temporary name visible, for servers which reject hidden names.
    pub(in crate::ssh::transfer) fn show(&mut self) {
        self.temporary = self.visible();
    }

    /// Returns the temporary name in the form which is not hidden.
    pub(in crate::ssh::transfer) fn visible(&self) -> Vec<u8> {
        let (folder, name) = paths::split(&self.temporary);
        [folder, name.strip_prefix(b".").unwrap_or(name)].concat()
    }

    /// Renames the temporary file over the target. Returns true if no other file remains.
    ///
    /// A server with `posix-rename@openssh.com` does this in a single step. With other servers, the
    /// old file is moved to another name first, and moved back if the new file cannot take its
    /// place. The method may be repeated after a lost connection.
    ///
    /// # Errors
    /// The server refused, and [`NotReplaced`] states where the old file is.
    pub(in crate::ssh::transfer) async fn replace(
        &self,
        client: &SftpClient,
    ) -> Result<bool, NotReplaced> {
        if client.replaces() {
            let renamed = client.posix_rename(&self.temporary, &self.target).await;
            return renamed.map(|()| true).map_err(NotReplaced::Refused);
        }

        let aside = self.aside();

        if let Err(refused) = client.rename(&self.temporary, &self.target).await {
            // Some servers follow the link and rename its destination, so the link is removed
            // instead.
            if client
                .lstat(&self.target)
                .await
                .is_ok_and(|there| there.kind() == FileType::Link)
            {
                client
                    .remove(&self.target)
                    .await
                    .map_err(|_| NotReplaced::Refused(refused))?;

                return client
                    .rename(&self.temporary, &self.target)
                    .await
                    .map(|()| true)
                    .map_err(NotReplaced::Refused);
            }

            // RENAME fails if the target exists (section 6.5 of the draft), so the old file has to
            // make room.
            if client.rename(&self.target, &aside).await.is_err() {
                return Err(NotReplaced::Refused(refused));
            }

            if let Err(error) = client.rename(&self.temporary, &self.target).await {
                let back = client.rename(&aside, &self.target).await;
                return Err(if back.is_ok() {
                    NotReplaced::Refused(error)
                } else {
                    NotReplaced::Aside(error)
                });
            }

            return Ok(self.remove_aside(client).await);
        }

        // A lost connection may have left the old file of an earlier attempt.
        self.remove_aside(client).await;

        Ok(true)
    }

    /// Converts the error of a replacement.
    pub(in crate::ssh::transfer) fn failed(
        &self,
        client: &SftpClient,
        error: NotReplaced,
    ) -> TransferError {
        match error {
            NotReplaced::Aside(error @ RequestError::Status(_)) => TransferError::Aside {
                path: shown(&self.target),
                message: error.to_string(),
                aside: shown(&self.aside()),
            },
            NotReplaced::Refused(error) | NotReplaced::Aside(error) => {
                client.failed("replacing", &self.target)(error)
            }
        }
    }

    /// Returns true if the server renames files, as far as a test without a file shows.
    pub(in crate::ssh::transfer) async fn can_replace(&self, client: &SftpClient) -> bool {
        // The refusal of a hidden name proves nothing.
        let mut names = self.clone();
        names.show();
        client.renames(&names.temporary, &names.aside()).await
    }

    /// Removes the old file which was moved to another name. Returns true if such a file existed
    /// and is removed.
    pub(in crate::ssh::transfer) async fn remove_aside(&self, client: &SftpClient) -> bool {
        !client.replaces() && client.remove(&self.aside()).await.is_ok()
    }

    /// Removes the temporary file, with the target as it was. Returns false if the server no longer
    /// answers.
    pub(in crate::ssh::transfer) async fn remove_over(
        &self,
        host: &Arc<RemoteHost>,
        client: &SftpClient,
    ) -> bool {
        if !client.is_over() && self.remove_with(client).await {
            return true;
        }
        // The channel may have ended without the connection, such as by the signal for files that
        // grow too long.
        !client.connection().has_ended() && self.remove(host).await
    }

    /// Removes the temporary file over a new channel. Returns false if no channel can be opened.
    async fn remove(&self, host: &Arc<RemoteHost>) -> bool {
        let Ok(Ok(client)) = timeout(TIDY_LIMIT, SftpClient::begin_either(host)).await else {
            return false;
        };
        self.remove_with(&client).await
    }

    /// Removes the temporary file with this client. Returns false if the server no longer answers.
    pub(in crate::ssh::transfer) async fn remove_with(&self, client: &SftpClient) -> bool {
        let all = async {
            // The way of an earlier replacement may have to be found out over this channel.
            self.can_replace(client).await;
            self.bring_back(client).await;
            let _ = client.remove(&self.temporary).await;
        };

        // A result counts only while the channel works; requests on a channel that is over fail at
        // once.
        tokio::select! {
            removed = timeout(TIDY_LIMIT, all) => removed.is_ok() && !client.is_over(),
            () = client.connection().ended() => false,
        }
    }

    /// Moves the old file back to the target. Removes the old file only if the new file is in
    /// place.
    async fn bring_back(&self, client: &SftpClient) {
        if client.replaces() {
            return;
        }

        // The server refuses this if the target exists.
        let back = client.rename(&self.aside(), &self.target).await;
        if back.is_err() && client.lstat(&self.target).await.is_ok() {
            self.remove_aside(client).await;
        }
    }

    /// Returns the temporary name of the old file during a replacement.
    fn aside(&self) -> Vec<u8> {
        [&self.temporary, &b".old"[..]].concat()
    }
}

/// Removes temporary files which lost connections left behind, over a new channel. Returns the
/// files which could not be removed.
pub async fn remove_remote_temps(
    remote_temps: Vec<RemoteTemp>,
    host: &Arc<RemoteHost>,
) -> Vec<RemoteTemp> {
    let Ok(Ok(client)) = timeout(TIDY_LIMIT, SftpClient::begin_either(host)).await else {
        return remote_temps;
    };
    let (client, mut removals, mut left) = (&client, FuturesUnordered::new(), Vec::new());
    for remote_temp in remote_temps {
        removals
            .push(async move { (!remote_temp.remove_with(client).await).then_some(remote_temp) });
    }

    while let Some(still) = removals.next().await {
        left.extend(still);
    }

    left
}
