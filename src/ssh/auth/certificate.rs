//! Checks of user certificates (PROTOCOL.certkeys of OpenSSH), as far as a client can make them.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use russh::keys::{Certificate, ssh_key::certificate::CertType};

use crate::foreign_text::escape_line;

/// Returns the reason why a certificate is not valid now; `None` if it is valid.
pub(super) fn outdated(certificate: &Certificate) -> Option<String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    outdated_at(certificate.valid_after(), certificate.valid_before(), now)
}

/// Returns a likely reason why a server refused the certificate; `None` if there is no such reason.
pub(super) fn likely_refusal_reason(certificate: &Certificate, user: &str) -> Option<String> {
    let principals = certificate.valid_principals();
    outdated(certificate).or_else(|| {
        let meant = principals.is_empty() || principals.iter().any(|principal| principal == user);
        (!meant).then(|| format!("it is for {}", escape_line(principals.join(", "))))
    })
}

/// Returns true for a user certificate. A host certificate proves nothing about a client.
pub(super) fn is_for_user(certificate: &Certificate) -> bool {
    certificate.cert_type() == CertType::User
}

/// Returns the reason why `now` is outside of the validity. All times are seconds since 1970.
fn outdated_at(after: u64, before: u64, now: u64) -> Option<String> {
    if now >= before {
        Some(format!("it expired on {}", date(before)))
    } else if now < after {
        Some(format!("it is not valid before {}", date(after)))
    } else {
        None
    }
}

/// Formats seconds since 1970 as a date in UTC.
fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    time.map_or_else(
        || "a date out of range".to_owned(),
        |time| time.format("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_valid_from_its_first_second_until_its_end() {
        for (after, before, now, expected) in [
            (0, u64::MAX, 5, None),
            (100, 200, 100, None),
            (100, 200, 199, None),
            (100, 200, 200, Some("it expired on 1970-01-01 00:03 UTC")),
            (
                100,
                200,
                99,
                Some("it is not valid before 1970-01-01 00:01 UTC"),
            ),
            (
                u64::MAX - 1,
                u64::MAX,
                5,
                Some("it is not valid before a date out of range"),
            ),
        ] {
            assert_eq!(outdated_at(after, before, now).as_deref(), expected);
        }
    }
}
