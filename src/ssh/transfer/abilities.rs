//! The abilities of an account over SFTP, found out by requests that change nothing.

use std::sync::Arc;

use super::{TransferError, client::SftpClient};
use crate::{
    sftp::{attributes::Attributes, request::Access},
    ssh::{
        command::{exec::random_sentinel, remote_host::RemoteHost},
        error::SshError,
    },
};

/// Abilities of an account over SFTP, as far as missing files show them. An account that may open
/// files, but neither read nor write, is not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(in crate::ssh) struct SftpAbilities {
    opens: bool,
    lists: bool,
    writes: bool,
    /// True if the server renames over an existing file in a single step.
    replaces: bool,
    renames: bool,
    removes: bool,
    flushes: bool,
    shows_attributes: bool,
    tells_home: bool,
}

/// Starts SFTP on the host, and finds out what the account may do.
///
/// # Errors
/// The server has no SFTP subsystem or fails at every path, something else answers instead, or the
/// connection is lost.
pub(in crate::ssh) async fn try_out(
    host: &Arc<RemoteHost>,
) -> Result<SftpAbilities, TransferError> {
    let client = SftpClient::begin_usable(host).await?;
    let [missing, other] = [missing_name()?, missing_name()?];
    let opened = client
        .open_file(&missing, Access::Read, Attributes::default())
        .await;

    let abilities = SftpAbilities {
        opens: !opened.is_err_and(|error| error.is_refused()),
        lists: client.is_listed(b".").await,
        writes: client.writes(&missing).await,
        // Tested first: the test may show that an offer is not kept.
        renames: client.renames(&missing, &other).await,
        replaces: client.replaces(),
        removes: client.removes(&missing).await,
        flushes: client.offers("fsync@openssh.com"),
        shows_attributes: client.stat(b".").await.is_ok(),
        tells_home: client.realpath(b".").await.is_ok(),
    };

    // The answers to a channel that has ended say nothing.
    if client.is_over() {
        return Err(TransferError::Start(
            "the server ended during the probes".to_owned(),
        ));
    }

    Ok(abilities)
}

/// Returns true if the host's shell carries out the requests of transfers, in place of SFTP.
pub(in crate::ssh) async fn is_by_shell(host: &Arc<RemoteHost>) -> bool {
    SftpClient::begin_either(host)
        .await
        .is_ok_and(|client| client.is_by_shell())
}

/// Returns a name that no file in the home directory has.
///
/// # Errors
/// The system provides no random number.
pub(in crate::ssh::transfer) fn missing_name() -> Result<Vec<u8>, SshError> {
    Ok(format!("mcp-ssh-sessions-{}", random_sentinel()?.as_str()).into_bytes())
}

impl SftpAbilities {
    /// Returns true if files can be moved in at least one direction.
    pub(in crate::ssh) fn is_of_use(self) -> bool {
        self.opens || self.writes
    }

    /// Returns the result of the probes in a few words.
    pub(in crate::ssh) fn summary(self) -> &'static str {
        match (self.opens, self.writes) {
            (true, true) if self.lists => "files can be moved",
            (true, true) => "files can be moved, and directories cannot be listed",
            (true, false) => "read-only: files can be fetched, not sent",
            (false, true) => "upload-only: files can be sent, not fetched",
            (false, false) => "the account may neither read nor write files",
        }
    }

    /// Returns the limits of the server, a line each.
    pub(in crate::ssh) fn limits(self) -> Vec<&'static str> {
        let mut limits = Vec::new();

        if self.writes {
            limits.extend(match (self.replaces, self.renames) {
                (true, true) => None,
                (false, true) => Some(
                    "no atomic replacement (no posix-rename): an old file is moved aside before the new one takes its name",
                ),
                (_, false) => Some(
                    "no atomic replacement: the account may not rename, so files are written in place",
                ),
            });
            if !self.removes {
                limits.push("the account may not remove files, so copies of replaced files stay");
            }
            if !self.flushes {
                limits.push("no fsync: the server alone decides when a file is on the disk");
            }
        }
        if !self.shows_attributes {
            limits.push("no attributes are shown: lengths and times are not compared");
        }
        if !self.tells_home {
            limits.push("the home directory is not told: relative paths stay relative");
        }

        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: SftpAbilities = SftpAbilities {
        opens: true,
        lists: true,
        writes: true,
        replaces: true,
        renames: true,
        removes: true,
        flushes: true,
        shows_attributes: true,
        tells_home: true,
    };

    #[test]
    fn abilities_are_said_in_a_few_words() {
        for (abilities, summary, limits) in [
            (ALL, "files can be moved", 0),
            (
                SftpAbilities {
                    writes: false,
                    renames: false,
                    removes: false,
                    ..ALL
                },
                "read-only: files can be fetched, not sent",
                0,
            ),
            (
                SftpAbilities {
                    opens: false,
                    lists: false,
                    ..ALL
                },
                "upload-only: files can be sent, not fetched",
                0,
            ),
            (
                SftpAbilities {
                    replaces: false,
                    flushes: false,
                    ..ALL
                },
                "files can be moved",
                2,
            ),
            (
                SftpAbilities {
                    renames: false,
                    removes: false,
                    shows_attributes: false,
                    tells_home: false,
                    ..ALL
                },
                "files can be moved",
                4,
            ),
        ] {
            assert_eq!(abilities.summary(), summary);
            assert_eq!(abilities.limits().len(), limits, "{abilities:?}");
            assert!(abilities.is_of_use());
        }
    }
}
