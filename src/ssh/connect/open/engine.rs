//! Configuration of russh for a connection.

use russh::{Limits, client};

use crate::{
    openssh::effective_config::EffectiveConfig,
    ssh::{
        error::SshError,
        transport::{algorithms, host_key::HostKeyCheck},
    },
};

/// Receive window of a channel, in bytes (RFC 4254, section 5.2). At a round-trip time of 40 ms a
/// smaller window leaves the link idle, and a larger one makes sshd slower.
const WINDOW: u32 = 8 * 1024 * 1024;
/// Largest packet accepted on a channel, in bytes. Every implementation supports this size.
const PACKET: u32 = 32 * 1024;
/// Lower bound of `RekeyLimit`, in bytes. With a smaller limit a connection would do little besides
/// exchanging keys.
const LEAST_REKEY: usize = 16 * 1024;

/// Returns the configuration of russh for a connection.
///
/// # Errors
/// [`SshError::UnsupportedAlgorithms`] if an option allows no supported algorithm.
pub(super) fn engine_config(
    config: &EffectiveConfig,
    check: &HostKeyCheck,
) -> Result<client::Config, SshError> {
    Ok(client::Config {
        client_id: russh::SshId::Standard(
            concat!("SSH-2.0-mcp-ssh-sessions_", env!("CARGO_PKG_VERSION")).into(),
        ),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        preferred: algorithms::preferred(config, check.algorithms())?,
        limits: rekey_limits(config),
        nodelay: true,
        ..client::Config::default()
    })
}

/// Converts `RekeyLimit` to russh's limits. russh counts each direction separately and exchanges
/// keys after a gibibyte or an hour at the latest.
fn rekey_limits(config: &EffectiveConfig) -> Limits {
    let most = Limits::default();
    let bytes = config
        .rekey_bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(usize::MAX);

    Limits {
        rekey_write_limit: bytes.clamp(LEAST_REKEY, most.rekey_write_limit),
        rekey_read_limit: bytes.clamp(LEAST_REKEY, most.rekey_read_limit),
        rekey_time_limit: config.rekey_after.map_or(most.rekey_time_limit, |after| {
            after.min(most.rekey_time_limit)
        }),
    }
}
