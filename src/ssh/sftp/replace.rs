//! A temporary file beside its target: its name, how it takes the target's place, and how it goes.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use super::{
    client::{Client, RequestError},
    paths,
};
use crate::ssh::{error::SshError, exec::random_sentinel, pool::Pool};

/// How long tidying up after a failure may take: the other side may not answer any more.
pub(super) const TIDY_LIMIT: Duration = Duration::from_secs(5);

/// The most of a target's name that its temporary file shows, in bytes: a name has a limit, often 255.
const SHOWN_OF_NAME: usize = 64;

/// A remote file that is to take the place of another, or to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub(super) temporary: Vec<u8>,
    pub(super) target: Vec<u8>,
}

impl Leftover {
    /// A name that nobody else has, beside the target.
    pub(super) fn beside(target: &[u8]) -> Result<Self, SshError> {
        let (folder, name) = paths::split(target);
        // Text, whatever the name is: not every file system takes other bytes.
        let mut shown = String::from_utf8_lossy(name).into_owned();
        while shown.len() > SHOWN_OF_NAME {
            shown.pop();
        }
        let random = random_sentinel()?;
        let temporary = [folder, b".", shown.as_bytes(), b".", random.as_str().as_bytes(), b".part"].concat();
        Ok(Self { temporary, target: target.to_owned() })
    }

    /// Renames it over whatever is at the target: in one step where the server can, else the old file steps aside first
    /// and comes back if the new one cannot take its place. May be done again after a lost link.
    pub(super) async fn replace(&self, client: &Client) -> Result<(), RequestError> {
        if client.offers("posix-rename@openssh.com") {
            return client.posix_rename(&self.temporary, &self.target).await;
        }
        let aside = self.aside();
        if let Err(refused) = client.rename(&self.temporary, &self.target).await {
            if client.rename(&self.target, &aside).await.is_err() {
                return Err(refused);
            }
            if let Err(error) = client.rename(&self.temporary, &self.target).await {
                let _ = client.rename(&aside, &self.target).await;
                return Err(error);
            }
        }
        self.remove_aside(client).await;
        Ok(())
    }

    /// Removes the old file that stepped aside, if one had to.
    pub(super) async fn remove_aside(&self, client: &Client) {
        if !client.offers("posix-rename@openssh.com") {
            let _ = client.remove(&self.aside()).await;
        }
    }

    /// Removes it, and leaves the target as it was. `false` if the server does not answer any more.
    pub(super) async fn remove_over(&self, pool: &Arc<Pool>, client: &Client) -> bool {
        if !client.is_over() && self.remove_with(client).await {
            return true;
        }
        // Such as a server that was ended by the signal for files that grow too long.
        !client.connection().has_ended() && self.remove(pool).await
    }

    /// The same over a channel of its own. `false` if there is none to be had.
    async fn remove(&self, pool: &Arc<Pool>) -> bool {
        let Ok(Ok(client)) = timeout(TIDY_LIMIT, Client::begin(pool)).await else { return false };
        self.remove_with(&client).await
    }

    /// The same with this client.
    pub(super) async fn remove_with(&self, client: &Client) -> bool {
        let all = async {
            if !client.offers("posix-rename@openssh.com") {
                // Refused where the target is there.
                let _ = client.rename(&self.aside(), &self.target).await;
            }
            self.remove_aside(client).await;
            let _ = client.remove(&self.temporary).await;
        };
        tokio::select! {
            removed = timeout(TIDY_LIMIT, all) => removed.is_ok() && !client.is_over(),
            () = client.connection().ended() => false,
        }
    }

    fn aside(&self) -> Vec<u8> {
        [&self.temporary, &b".old"[..]].concat()
    }
}

/// Removes what lost links have left, over a channel of its own; what is left still, where that link is lost, too.
pub async fn remove_leftovers(leftovers: Vec<Leftover>, pool: &Arc<Pool>) -> Vec<Leftover> {
    let Ok(Ok(client)) = timeout(TIDY_LIMIT, Client::begin(pool)).await else { return leftovers };
    let (client, mut removals, mut left) = (&client, FuturesUnordered::new(), Vec::new());
    for leftover in leftovers {
        removals.push(async move { (!leftover.remove_with(client).await).then_some(leftover) });
    }
    while let Some(still) = removals.next().await {
        left.extend(still);
    }
    left
}
