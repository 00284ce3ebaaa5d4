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
pub(in crate::ssh) const WINDOW: u32 = 8 * 1024 * 1024;
/// Largest packet accepted on a channel, in bytes. Every implementation supports this size.
const PACKET: u32 = 32 * 1024;
/// Lower bound of `RekeyLimit`, in bytes. With a smaller limit a connection would do little besides
/// exchanging keys.
const LEAST_REKEY: usize = 16 * 1024;

/// Returns the configuration of russh for a connection whose channels have this receive window, in
/// bytes.
///
/// # Errors
/// [`SshError::UnsupportedAlgorithms`] if an option allows no supported algorithm.
pub(super) fn engine_config(
    config: &EffectiveConfig,
    check: &HostKeyCheck,
    window: u32,
) -> Result<client::Config, SshError> {
    Ok(client::Config {
        client_id: russh::SshId::Standard(
            concat!("SSH-2.0-mcp-ssh-sessions_", env!("CARGO_PKG_VERSION")).into(),
        ),
        window_size: window,
        maximum_packet_size: PACKET,
        preferred: algorithms::preferred(config, check.algorithms())?,
        limits: rekey_limits(config),
        nodelay: true,
        ..client::Config::default()
    })
}

/// Converts `RekeyLimit` to russh's limits. russh counts each direction separately and exchanges
/// keys after a gibibyte sent or an hour at the latest.
///
/// Without `RekeyLimit` the server counts what it sends, as OpenSSH's does. When russh begins the
/// exchange, it gives up a connection over which more than two windows still arrive, as they do
/// from many channels at once.
fn rekey_limits(config: &EffectiveConfig) -> Limits {
    let most = Limits::default();
    let bytes = config
        .rekey_bytes
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));

    Limits {
        rekey_write_limit: bytes.map_or(most.rekey_write_limit, |bytes| {
            bytes.clamp(LEAST_REKEY, most.rekey_write_limit)
        }),
        rekey_read_limit: bytes.map_or(usize::MAX, |bytes| {
            bytes.clamp(LEAST_REKEY, most.rekey_read_limit)
        }),
        rekey_time_limit: config.rekey_after.map_or(most.rekey_time_limit, |after| {
            after.min(most.rekey_time_limit)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_configured_limit_counts_what_is_received() {
        const GIB: usize = 1 << 30;
        for (line, sent, received) in [
            ("", GIB, usize::MAX),
            ("rekeylimit 0 0", GIB, usize::MAX),
            ("rekeylimit 1048576 0", 1 << 20, 1 << 20),
            ("rekeylimit 1 0", LEAST_REKEY, LEAST_REKEY),
            ("rekeylimit 4294967296 0", GIB, GIB),
        ] {
            let config = EffectiveConfig::parse(&format!("hostname h\nuser u\n{line}")).unwrap();
            let limits = rekey_limits(&config);
            let found = (limits.rekey_write_limit, limits.rekey_read_limit);
            assert_eq!(found, (sent, received), "{line}");
        }
    }
}
