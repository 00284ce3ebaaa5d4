//! Records how the handshake went, stage by stage, from the first bytes that the server sent.

use super::OpenConnection;
use crate::{
    foreign_text::ForeignText,
    openssh::identification::VersionExchange,
    ssh::{
        error::SshError,
        trace::{Stage, StageTrace},
        transport::handler::ConnectionFacts,
    },
};

/// Limit of the recorded lines before the identification, because a server may send any number.
const MAX_LINES: usize = 5;
/// Limit of each recorded line, in bytes.
const MAX_LINE_BYTES: usize = 200;

impl OpenConnection<'_> {
    /// Records the stages reached by the handshake, given the first bytes `received` from the server.
    /// A failed stage is begun and left open, so the caller records `error` for that stage.
    pub(super) fn explain_handshake(
        &self,
        received: &[u8],
        error: Option<&SshError>,
        through_command: bool,
        facts: &ConnectionFacts,
    ) {
        let trace = self.trace;

        // A command without output has reached nobody, so its failure belongs to the proxy stage.
        if through_command {
            if received.is_empty() && error.is_some() {
                return;
            }
            trace.pass(|| "something answers through the ProxyCommand".to_owned());
        }

        trace.begin(Stage::Identification);
        let VersionExchange {
            lines,
            identification,
            offers,
        } = VersionExchange::read(received);

        for line in lines.iter().filter(|line| !line.is_empty()).take(MAX_LINES) {
            let line = line.clone().cut(MAX_LINE_BYTES);
            trace.detail(|| format!("it says: {}", line.raw()));
        }

        if received.is_empty() {
            trace.detail(|| "it says nothing".to_owned());
        }

        // `1.99` identifies a server which speaks SSH 2.0 and older versions (RFC 4253, section
        // 5.1).
        let speaks = |version: &ForeignText| {
            ["SSH-2.0-", "SSH-1.99-"]
                .iter()
                .any(|prefix| version.raw().starts_with(prefix))
        };

        let Some(identification) = identification.filter(speaks) else {
            return;
        };
        trace.pass(|| identification);
        trace.begin(Stage::KeyExchange);

        if let Some(offers) = offers {
            trace.detail(|| {
                format!(
                    "the server has the key exchanges {}",
                    offers.key_exchange.raw()
                )
            });
            trace.detail(|| format!("host keys {}", offers.host_key.raw()));
            trace.detail(|| format!("ciphers {}", offers.cipher.raw()));
            trace.detail(|| format!("MACs {}", offers.mac.raw()));
        }

        // Only an error about the host key means that the key exchange itself succeeded.
        if error.is_some_and(|error| !matches!(error, SshError::HostKey(_))) {
            return;
        }

        let agreed = facts.algorithms.get().cloned();
        trace.pass(|| agreed.unwrap_or_else(|| "both sides have what is needed".to_owned()));
        trace.begin(Stage::HostKey);
        explain_host_key(trace, facts);
    }
}

/// Records how the host key was accepted. Without an accepted key the stage stays open for the
/// error.
fn explain_host_key(trace: &StageTrace, facts: &ConnectionFacts) {
    let Some(accepted) = facts.host_key.get() else {
        return;
    };

    if let Some(notice) = &accepted.notice {
        trace.detail(|| notice.clone());
    }

    trace.pass(|| {
        format!(
            "{} {}, {}",
            accepted.key_type, accepted.fingerprint, accepted.because
        )
    });
}
