//! The jump hosts of a `ProxyJump`.

use std::sync::Arc;

use super::OpenConnection;
use crate::ssh::{
    auth::Credentials,
    config::target::{Target, parse_hop},
    connect::connection::Connection,
    error::SshError,
};

/// Jump hosts may have jump hosts; a longer chain than this goes in a circle.
const MAX_HOPS: usize = 8;

/// Connects to the last of the comma-separated hops of a `ProxyJump`, through those before it. Each is resolved,
/// verified and authenticated by its own configuration.
///
/// # Errors
/// A hop that cannot be meant, or the failure to connect to one, by its name.
pub(super) async fn connect_hops(
    hops: &str,
    opening: &OpenConnection<'_>,
) -> Result<Arc<Connection>, SshError> {
    let in_hop = |source| SshError::Jump {
        hop: hops.to_owned(),
        source: Box::new(source),
    };

    if opening.depth >= MAX_HOPS {
        return Err(SshError::Unsupported {
            option: "ProxyJump",
            value: format!("{hops} (more than {MAX_HOPS} hops)"),
        });
    }

    let (via, last) = hops
        .rsplit_once(',')
        .map_or((None, hops), |(before, last)| (Some(before), last));

    let target = &Target {
        config_file: opening.target.config_file.clone(),
        ..parse_hop(last).map_err(|source| SshError::Hop {
            hop: last.to_owned(),
            source,
        })?
    };

    // Only the passphrase can serve for a hop too: password and key were given for the destination. What was typed knows
    // for whom.
    let credentials = &Credentials {
        key_path: None,
        password: None,
        needs_proof: false,
        ..opening.credentials.clone()
    };

    let trace = &opening.trace.of_hop(last);

    let hop = OpenConnection {
        target,
        credentials,
        depth: opening.depth + 1,
        via,
        same_host_as: None,
        trace,
        ..*opening
    };

    Box::pin(hop.run()).await.map_err(in_hop)
}
