//! A temporary file beside its target: its name, how it takes the target's place, and how it goes.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use crate::{
    sftp::attributes::FileType,
    ssh::{
        command::exec::random_sentinel,
        error::SshError,
        pool::Pool,
        transfer::{
            client::{RequestError, SftpClient},
            error::{TransferError, shown},
            paths,
        },
    },
};

/// How long tidying up after a failure may take: the other side may not answer any more.
pub(in crate::ssh::transfer) const TIDY_LIMIT: Duration = Duration::from_secs(5);

/// The most of a target's name that its temporary file shows, in bytes: a name has a limit, often 255.
const SHOWN_OF_NAME: usize = 64;

/// A remote file that is to take the place of another, or to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTemp {
    pub(in crate::ssh::transfer) temporary: Vec<u8>,
    pub(in crate::ssh::transfer) target: Vec<u8>,
}

/// Why a file did not take the place of another.
#[derive(Debug)]
pub(in crate::ssh::transfer) enum NotReplaced {
    /// All is as it was.
    Refused(RequestError),
    /// The old file stepped aside and could not come back.
    Aside(RequestError),
}

impl RemoteTemp {
    /// A name that nobody else has, beside the target.
    pub(in crate::ssh::transfer) fn beside(target: &[u8]) -> Result<Self, SshError> {
        let (folder, name) = paths::split(target);

        // Text, whatever the name is: not every file system takes other bytes.
        let mut shown = String::from_utf8_lossy(name).into_owned();
        while shown.len() > SHOWN_OF_NAME {
            shown.pop();
        }

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

    /// The same under a name that is not hidden; not every server takes one that is.
    pub(in crate::ssh::transfer) fn show(&mut self) {
        let (folder, name) = paths::split(&self.temporary);
        self.temporary = [folder, name.strip_prefix(b".").unwrap_or(name)].concat();
    }

    /// Renames it over whatever is at the target: in one step where the server can, else the old file steps aside first
    /// and comes back if the new one cannot take its place. May be done again after a lost link. Returns whether nothing is
    /// left beside it.
    pub(in crate::ssh::transfer) async fn replace(
        &self,
        client: &SftpClient,
    ) -> Result<bool, NotReplaced> {
        if client.offers("posix-rename@openssh.com") {
            let renamed = client.posix_rename(&self.temporary, &self.target).await;
            return renamed.map(|()| true).map_err(NotReplaced::Refused);
        }

        let aside = self.aside();

        if let Err(refused) = client.rename(&self.temporary, &self.target).await {
            // Some servers rename what a link leads to.
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

        // That of an earlier attempt, if the link was lost since then.
        self.remove_aside(client).await;

        Ok(true)
    }

    /// The error of a replacement.
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

    /// Whether the server renames at all, as far as it says so before anything is there that could be left behind.
    pub(in crate::ssh::transfer) async fn can_replace(&self, client: &SftpClient) -> bool {
        client.renames(&self.temporary, &self.aside()).await
    }

    /// Removes the old file that stepped aside, if one had to; whether it was there and has gone.
    pub(in crate::ssh::transfer) async fn remove_aside(&self, client: &SftpClient) -> bool {
        !client.offers("posix-rename@openssh.com") && client.remove(&self.aside()).await.is_ok()
    }

    /// Removes it, and leaves the target as it was. `false` if the server does not answer any more.
    pub(in crate::ssh::transfer) async fn remove_over(
        &self,
        pool: &Arc<Pool>,
        client: &SftpClient,
    ) -> bool {
        if !client.is_over() && self.remove_with(client).await {
            return true;
        }
        // Such as a server that was ended by the signal for files that grow too long.
        !client.connection().has_ended() && self.remove(pool).await
    }

    /// The same over a channel of its own. `false` if there is none to be had.
    async fn remove(&self, pool: &Arc<Pool>) -> bool {
        let Ok(Ok(client)) = timeout(TIDY_LIMIT, SftpClient::begin(pool)).await else {
            return false;
        };
        self.remove_with(&client).await
    }

    /// The same with this client.
    pub(in crate::ssh::transfer) async fn remove_with(&self, client: &SftpClient) -> bool {
        let all = async {
            self.bring_back(client).await;
            let _ = client.remove(&self.temporary).await;
        };

        tokio::select! {
            removed = timeout(TIDY_LIMIT, all) => removed.is_ok() && !client.is_over(),
            () = client.connection().ended() => false,
        }
    }

    /// Gives the old file its name again, if it has stepped aside; it goes only where the new one is in its place.
    async fn bring_back(&self, client: &SftpClient) {
        if client.offers("posix-rename@openssh.com") {
            return;
        }

        // Refused where the target is there.
        let back = client.rename(&self.aside(), &self.target).await;
        if back.is_err() && client.lstat(&self.target).await.is_ok() {
            self.remove_aside(client).await;
        }
    }

    fn aside(&self) -> Vec<u8> {
        [&self.temporary, &b".old"[..]].concat()
    }
}

/// Removes what lost links have left, over a channel of its own; what is left still, where that link is lost, too.
pub async fn remove_remote_temps(
    remote_temps: Vec<RemoteTemp>,
    pool: &Arc<Pool>,
) -> Vec<RemoteTemp> {
    let Ok(Ok(client)) = timeout(TIDY_LIMIT, SftpClient::begin(pool)).await else {
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
