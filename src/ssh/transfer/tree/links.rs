//! Symbolic links on the remote host. The order in which a server takes the two paths of a SYMLINK
//! request cannot be known: most servers do not tell, and some decide by the client's name. So a
//! test link is created first, at a place where either order is harmless.

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

/// Knowledge about the links of a server, determined with the first link of an attempt.
#[derive(Debug, Default)]
pub(super) struct Links {
    habits: OnceCell<Habits>,
}

/// Behaviour of a server for SYMLINK requests.
#[derive(Debug, Clone, Copy)]
struct Habits {
    /// Order of the two paths in a request.
    order: LinkOrder,
    /// True if the server stores relative paths unchanged. Erlang's server resolves them from the
    /// home directory.
    keeps_relative: bool,
}

/// Result of the creation of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkResult {
    /// The link contains the requested path.
    AsItIs,
    /// The link contains an absolute path instead of the requested relative path.
    Absolute,
}

impl Links {
    /// Creates a link at a path where nothing exists, or only the same link.
    ///
    /// # Errors
    /// The server creates no links, or none with this destination. Then no link remains.
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
            // OpenSSH's server stores exactly the requested path, so the result need not be read
            // back.
            return match (&made, client.is_openssh()) {
                (_, true) => made.map(|()| LinkResult::AsItIs).map_err(failed),
                _ if leads(client, link, target).await => Ok(LinkResult::AsItIs),
                _ => Err(Self::take_back(client, link, made).await),
            };
        }

        // A relative path would lead elsewhere on this server, so an absolute path is used instead.
        let absolute = from_there(link, target);
        let made = client.symlink(order, &absolute, link).await;
        if leads(client, link, &absolute).await {
            return Ok(LinkResult::Absolute);
        }

        Err(Self::take_back(client, link, made).await)
    }

    /// Returns true if the server has created a link in this attempt.
    pub(super) fn are_made(&self) -> bool {
        self.habits.initialized()
    }

    /// Removes a link with the wrong destination, unless it existed before. Returns the error to
    /// report.
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

/// Returns true if a link leads to `target`, absolute or relative to the link. `ProFTPD` answers
/// with an absolute path even if it has stored a relative path.
async fn leads(client: &SftpClient, link: &[u8], target: &[u8]) -> bool {
    let Ok(said) = client.readlink(link).await else {
        return false;
    };
    *said == *target
        || said.starts_with(b"/") && resolved(&said) == resolved(&from_there(link, target))
}

/// Returns the absolute path of `target` as seen from the directory of a link.
fn from_there(link: &[u8], target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        target.to_vec()
    } else {
        join(paths::split(link).0, &[target])
    }
}

/// Returns the components of an absolute path, with `.` and `..` resolved by text.
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
    /// Determines the behaviour of the server with test links next to `near`.
    ///
    /// # Errors
    /// The server creates no links, or a request failed.
    async fn find_out(
        client: &Arc<SftpClient>,
        pending_uploads: &PendingUploads,
        near: &[u8],
    ) -> Result<Self, RequestError> {
        if client.is_openssh() {
            return Ok(Self {
                order: LinkOrder::TargetFirst,
                keeps_relative: true,
            });
        }

        let unmade = |_| RequestError::Closed;
        let (first, second) = (
            pending_uploads.create_name(near, client).map_err(unmade)?,
            pending_uploads.create_name(near, client).map_err(unmade)?,
        );

        // A test link that cannot be removed would stay.
        if !client.removes(&first.temporary).await {
            pending_uploads.forget(&first);
            pending_uploads.forget(&second);
            return Err(Status {
                code: StatusCode::Failure,
                message: "the server removes no files, so that no link can be tried out".into(),
            }
            .into());
        }

        // Removed in every case. The names were recorded, so a lost connection does not leave them
        // behind.
        let found = Self::look(client, &first.temporary, &second.temporary).await;
        pending_uploads.remove(&first, client).await;
        pending_uploads.remove(&second, client).await;

        found
    }

    /// Creates a test link between two unused names in the directory of the links, and looks at
    /// which name the link is. Then tests a relative link, whose place is known by then. Neither
    /// link leads to an existing file.
    ///
    /// # Errors
    /// The server creates no links, or a request failed.
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

        // If neither or both names are a link, the reply of the server was wrong.
        let (order, target, link) = match tokio::join!(is_link(first), is_link(second)) {
            (false, true) => (LinkOrder::TargetFirst, first, second),
            (true, false) => (LinkOrder::LinkFirst, second, first),
            _ => {
                let message = "the server says that it makes links, and makes none".into();
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

        // The length of a link shows the stored path. `ProFTPD` reports this length only for a link
        // that leads to nothing.
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
