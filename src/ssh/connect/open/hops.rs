//! Connects through the jump hosts of a `ProxyJump`.

use std::sync::Arc;

use super::OpenConnection;
use crate::ssh::{
    auth::Credentials,
    config::target::{Target, parse_hop},
    connect::connection::Connection,
    error::SshError,
};

/// Limit of consecutive jump hosts. Jump hosts may name further jump hosts, and a longer chain is
/// taken for a cycle.
pub(super) const MAX_HOPS: usize = 8;

/// Connects to the last hop of the comma-separated list `hops`, through the preceding hops. Each
/// hop is resolved, verified and authenticated by its own configuration.
///
/// # Errors
/// A hop cannot be parsed, there are more than 8 hops, or connecting to a hop fails.
pub(super) async fn connect_hops(
    hops: &str,
    opening: &OpenConnection<'_>,
) -> Result<Arc<Connection>, SshError> {
    let in_hop = |source| SshError::Jump {
        hop: hops.to_owned(),
        source: Box::new(source),
    };

    if opening.depth >= MAX_HOPS {
        return Err(too_many(hops));
    }

    let LastHop { last, target, via } = LastHop::parse(hops, opening.target)?;

    // Of the given secrets, only the passphrase applies to a hop too: password and key were given
    // for the destination. Typed secrets carry the account to which they belong.
    let credentials = &Credentials {
        key_path: None,
        password: None,
        needs_proof: false,
        ..opening.credentials.clone()
    };

    let trace = &opening.trace.of_hop(last);

    let hop = OpenConnection {
        target: &target,
        credentials,
        depth: opening.depth + 1,
        via,
        same_host_as: None,
        trace,
        ..*opening
    };

    // Boxed, because the hop may have hops of its own, which makes the future recursive.
    Box::pin(hop.run()).await.map_err(in_hop)
}

/// Last hop of a list, which is connected to through the preceding hops.
pub(super) struct LastHop<'a> {
    /// Hop as written in the list.
    pub(super) last: &'a str,
    pub(super) target: Target,
    /// Preceding hops; `None` if there are none.
    pub(super) via: Option<&'a str>,
}

impl<'a> LastHop<'a> {
    /// Splits the comma-separated list `hops` of a destination.
    ///
    /// # Errors
    /// The last hop cannot be parsed.
    pub(super) fn parse(hops: &'a str, destination: &Target) -> Result<Self, SshError> {
        let (via, last) = hops
            .rsplit_once(',')
            .map_or((None, hops), |(before, last)| (Some(before), last));

        // As in `ssh`, a hop is resolved with the configuration file of the destination (`-F`).
        let target = Target {
            config_file: destination.config_file.clone(),
            ..parse_hop(last).map_err(|source| SshError::Hop {
                hop: last.to_owned(),
                source,
            })?
        };

        Ok(Self { last, target, via })
    }
}

/// Creates the error for a chain of more than [`MAX_HOPS`] hops.
pub(super) fn too_many(hops: &str) -> SshError {
    SshError::Unsupported {
        option: "ProxyJump",
        value: format!("{hops} (more than {MAX_HOPS} hops)"),
    }
}
