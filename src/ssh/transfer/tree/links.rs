//! Links on the remote host. In which order a server takes the two paths of a link cannot be known: most say nothing of it,
//! and some go by the client's name. So a first link is made where either of its ends may be.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{pending_uploads::PendingUploads, remote::join};
use crate::{
    sftp::{
        attributes::FileType,
        request::LinkOrder,
        status::{Status, StatusCode},
    },
    ssh::transfer::{
        TransferError,
        client::{RequestError, SftpClient},
        error::shown,
        paths,
    },
};

/// What has been found out about the links of one server.
#[derive(Debug, Default)]
pub(super) struct Links {
    habits: OnceCell<Habits>,
}

#[derive(Debug, Clone, Copy)]
struct Habits {
    order: LinkOrder,
    /// A relative path is written down as it is: Erlang's server takes it for one that begins at the home directory.
    keeps_relative: bool,
}

/// What has become of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkResult {
    /// It says what it should.
    AsItIs,
    /// It was given an absolute path in place of a relative one.
    Absolute,
}

impl Links {
    /// Makes a link at this path, where nothing is but perhaps the same link.
    ///
    /// # Errors
    /// The server's own; it makes no links, or none that lead there. Then there is none.
    pub(super) async fn make(
        &self,
        client: &Arc<SftpClient>,
        pending_uploads: &PendingUploads,
        target: &[u8],
        link: &[u8],
    ) -> Result<LinkResult, TransferError> {
        let failed = client.failed("making the link", link);
        let habits = self
            .habits
            .get_or_try_init(|| Habits::find_out(client, pending_uploads, link))
            .await;

        let Habits {
            order,
            keeps_relative,
        } = *habits.map_err(&failed)?;

        if keeps_relative || target.starts_with(b"/") {
            let made = client.symlink(order, target, link).await;
            // OpenSSH's server writes down what it is told.
            return match (&made, client.is_openssh()) {
                (_, true) => made.map(|()| LinkResult::AsItIs).map_err(failed),
                _ if leads(client, link, target).await => Ok(LinkResult::AsItIs),
                _ => Err(Self::take_back(client, link, made).await),
            };
        }

        let absolute = from_there(link, target);
        let made = client.symlink(order, &absolute, link).await;
        if leads(client, link, &absolute).await {
            return Ok(LinkResult::Absolute);
        }

        Err(Self::take_back(client, link, made).await)
    }

    /// Whether the server has shown that it makes links.
    pub(super) fn are_made(&self) -> bool {
        self.habits.initialized()
    }

    /// Removes a link that leads somewhere else, unless it was there before.
    async fn take_back(
        client: &SftpClient,
        link: &[u8],
        made: Result<(), RequestError>,
    ) -> TransferError {
        if let Err(refused) = made {
            return client.failed("making the link", link)(refused);
        }

        let _ = client.remove(link).await;
        let message = "the server changes where links lead".to_owned();

        TransferError::Remote {
            doing: "making the link",
            path: shown(link),
            message,
        }
    }
}

/// Whether the link leads where this relative or absolute path leads from there. `ProFTPD` answers with an absolute path also
/// where it has written down a relative one.
async fn leads(client: &SftpClient, link: &[u8], target: &[u8]) -> bool {
    let Ok(said) = client.readlink(link).await else {
        return false;
    };
    *said == *target
        || said.starts_with(b"/") && resolved(&said) == resolved(&from_there(link, target))
}

/// A relative path from the directory of a link on, or an absolute one.
fn from_there(link: &[u8], target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        target.to_vec()
    } else {
        join(paths::split(link).0, &[target])
    }
}

/// The names of an absolute path, without those that `..` takes back.
fn resolved(path: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }

    names
}

impl Habits {
    async fn find_out(
        client: &Arc<SftpClient>,
        pending_uploads: &PendingUploads,
        beside: &[u8],
    ) -> Result<Self, RequestError> {
        if client.is_openssh() {
            return Ok(Self {
                order: LinkOrder::TargetFirst,
                keeps_relative: true,
            });
        }

        let unmade = |_| RequestError::Closed;
        let (first, second) = (
            pending_uploads.note(beside, client).map_err(unmade)?,
            pending_uploads.note(beside, client).map_err(unmade)?,
        );

        let found = Self::look(client, &first.temporary, &second.temporary).await;
        pending_uploads.remove(&first, client).await;
        pending_uploads.remove(&second, client).await;

        found
    }

    /// Asks for a link between two names that nobody has, both in the directory in which links are to be, and looks which of
    /// them it is; then for a relative one, of which is known by then where it will be. Both lead to nothing.
    async fn look(client: &SftpClient, first: &[u8], second: &[u8]) -> Result<Self, RequestError> {
        client
            .symlink(LinkOrder::TargetFirst, first, second)
            .await?;

        let is_link = async |path: &[u8]| {
            client
                .lstat(path)
                .await
                .is_ok_and(|found| found.kind() == FileType::Link)
        };

        let (order, target, link) = match tokio::join!(is_link(first), is_link(second)) {
            (false, true) => (LinkOrder::TargetFirst, first, second),
            (true, false) => (LinkOrder::LinkFirst, second, first),
            _ => {
                let message = "the server says that it makes links, and makes none".to_owned();
                return Err(Status {
                    code: StatusCode::Failure,
                    message,
                }
                .into());
            }
        };

        client.remove(link).await?;
        let (_, relative) = paths::split(target);
        let made = client.symlink(order, relative, link).await.is_ok();

        // What is written down shows in the length of the link; `ProFTPD` tells that of one that leads to nothing alone.
        let length = client.lstat(link).await.ok().and_then(|found| found.size);
        let as_it_is = client
            .readlink(link)
            .await
            .is_ok_and(|said| *said == *relative);

        let alike = length == Some(relative.len() as u64) && leads(client, link, relative).await;
        let keeps_relative = made && (as_it_is || alike);

        Ok(Self {
            order,
            keeps_relative,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_without_its_detours() {
        for (one, other, same) in [
            ("/a/b/../c", "/a/c", true),
            ("/a//b/./c/", "/a/b/c", true),
            ("/../a", "/a", true),
            ("/a/b", "/a/c", false),
            ("/", "/a", false),
        ] {
            assert_eq!(
                resolved(one.as_bytes()) == resolved(other.as_bytes()),
                same,
                "{one} {other}"
            );
        }
    }
}
