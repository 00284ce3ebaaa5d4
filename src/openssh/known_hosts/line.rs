//! Lines of a `known_hosts` file: marker, host field, key type, key and comment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{
    certificate::HostCertificate,
    host_key::{CERTIFICATE_SUFFIX, HostKey, plain_key_type},
    host_pattern::stands_for,
};

/// A valid line which matches the host in question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MatchingLine {
    /// Number of the line, counted from 1 with comments and blank lines, as in the messages of
    /// `ssh`.
    pub(super) number: usize,
    pub(super) marker: Marker,
    /// Key of the line. If the line holds a certificate, this is the certified key.
    pub(super) key: HostKey,
    /// True if the line holds a certificate, which never counts as the host's plain key.
    pub(super) certified: bool,
}

/// Marker at the beginning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// No marker: the key belongs to the host.
    Plain,
    /// `@cert-authority`: the key signs the certificates of hosts and belongs to no host.
    CertAuthority,
    /// `@revoked`: the key must never be accepted.
    Revoked,
}

/// Returns the lines which match a host name, in order. Comments, blank lines and invalid lines are
/// skipped.
pub(super) fn lines_for<'a>(
    text: &'a [u8],
    name: &'a str,
) -> impl Iterator<Item = MatchingLine> + 'a {
    // Most lines are about other hosts, so a key is decoded only after the name has matched.
    text.split(|byte| *byte == b'\n')
        .zip(1..)
        .filter_map(move |(line, number)| {
            let (marker, hosts, rest) = fields(line)?;
            let (key, certified) = stands_for(hosts, name).then(|| read_key(rest))??;
            Some(MatchingLine {
                number,
                marker,
                key,
                certified,
            })
        })
}

/// Splits a line into the marker, the host field and the rest. Returns `None` for comments, blank
/// lines and unknown markers.
pub(super) fn fields(line: &[u8]) -> Option<(Marker, &[u8], &[u8])> {
    // `ssh` reads lines as C strings, which end at a NUL.
    let line = line.split(|byte| *byte == 0).next()?;
    let (first, rest) = next_field(line);

    // After a marker, `ssh` accepts a tab only if no blank follows on the line. Both are accepted
    // here, because ignoring the line would drop a revocation.
    let (marker, (hosts, rest)) = match first {
        b"@cert-authority" => (Marker::CertAuthority, next_field(rest)),
        b"@revoked" => (Marker::Revoked, next_field(rest)),
        _ => (Marker::Plain, (first, rest)),
    };

    // A comment cannot follow a marker, so `@revoked #host` would be a host field. A second marker
    // is unknown to `ssh`, which skips such lines.
    let comment = marker == Marker::Plain && hosts.starts_with(b"#");
    let unknown_or_second_marker = hosts.starts_with(b"@");
    (!comment && !unknown_or_second_marker && !hosts.is_empty()).then_some((marker, hosts, rest))
}

/// Parses `TYPE BASE64 COMMENT`, as in `known_hosts` and `.pub` files. The second value is true for
/// a certificate.
pub(in super::super) fn read_key(text: &[u8]) -> Option<(HostKey, bool)> {
    let (name, rest) = next_field(text);
    let (encoded, _comment) = next_field(rest);
    let (name, blob) = (str::from_utf8(name).ok()?, decode(encoded)?);
    // Certificates may stand on a line too, and are then judged by the key they certify.
    let key = HostKey::parse(&blob);
    let certified = key.is_none();
    let key = key.or_else(|| HostCertificate::parse(&blob).map(|certificate| certificate.key))?;

    // The type on the line has to agree with the key. RSA keys may also use the name of a signature
    // algorithm.
    let named = plain_key_type(name) == Some(key.key_type())
        && name.ends_with(CERTIFICATE_SUFFIX) == certified;
    named.then_some((key, certified))
}

/// Splits off the next field. Blanks and tabs separate fields and may precede the first.
fn next_field(text: &[u8]) -> (&[u8], &[u8]) {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(text.len());
    let (_, text) = text.split_at(start);
    text.split_at(text.iter().position(blank).unwrap_or(text.len()))
}

/// Decodes base64 strictly, but ignores some white space like `ssh`: the key of a line without
/// comment may end in the CR of a CRLF.
fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let base64: Vec<u8> = encoded
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'\r' | 0x0b | 0x0c))
        .collect();
    STANDARD.decode(base64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";
    const RSA: &str = "AAAAB3NzaC1yc2EAAAADAQABAAABgQC1q/2JS0EaGn5DNKW+Jw8QZ8dGEBOyYF8RYPWjayhMvGHggs0hi/sjV5tpxp7AatRSOT+ZN0sfGox2ccILIYGL9q33n7+ChEQXfraVIOPWHmQH95InPbERX0OfrDAOznNk8uSzTY3kU8Nc3zNA2G6190qlRZur2TCT5LI2jaW59a4iE6fhoMgsECa7+HN6GdIYqzZYuQ5e7Y26pBjj5iAhtUVXpOzRCNSNd6QZzZNqoXwnUnKs9tKFxu2Bkz1O7+iNJNI4G5OLa+cIyCf8dRdoJGBHR2WsMVKS++v5cgfCH0p5mXbl4geyimpeWJVk5T4lSU2q1UPaqRbpGcCS8NWEjCgPjyhqVNeCyBQG0QR/KB08QvpBsYALbcun4TVKGo21wS/ZHAhbkyfM1C2NFZhKmDAeOpBHIHFxyzb9LL/4rsxN6J4cJzXKEyXNJOS9lXIWGeKELlKgPQ//xTaOSEmxqxTZa7SecqoCFsAr/PxorU1P4m/0FBn9S1wnXxbTgSk=";

    fn read(line: &str) -> Option<Marker> {
        lines_for(line.as_bytes(), "h.ex")
            .next()
            .map(|line| line.marker)
    }

    #[test]
    fn lines_are_read_as_ssh_reads_them() {
        use Marker::{CertAuthority, Plain, Revoked};

        for (line, expected) in [
            (format!("h.ex ssh-ed25519 {KEY}"), Some(Plain)),
            (
                format!(" \t h.ex \t ssh-ed25519 \t{KEY}  some comment # x"),
                Some(Plain),
            ),
            (format!("h.ex ssh-ed25519 {KEY}\r"), Some(Plain)),
            (format!("h.ex ssh-ed25519 {KEY} me@home\r"), Some(Plain)),
            (format!("h.ex ssh-ed25519 {KEY}\0junk"), Some(Plain)),
            (format!("h.ex ssh-rsa {RSA}"), Some(Plain)),
            (format!("h.ex rsa-sha2-512 {RSA}"), Some(Plain)),
            (
                format!("@cert-authority h.ex ssh-ed25519 {KEY}"),
                Some(CertAuthority),
            ),
            (format!("@revoked   h.ex ssh-ed25519 {KEY}"), Some(Revoked)),
            (format!("@revoked\th.ex\tssh-ed25519\t{KEY}"), Some(Revoked)),
            (format!("@revoked\th.ex ssh-ed25519 {KEY}"), Some(Revoked)),
        ] {
            assert_eq!(read(&line), expected, "{line:?}");
        }
    }

    #[test]
    fn comments_and_broken_lines_are_skipped() {
        for line in [
            String::new(),
            "\r".into(),
            "   ".into(),
            "h.ex".into(),
            "h.ex ssh-ed25519".into(),
            "h.ex ssh-ed25519 ".into(),
            "h.ex ssh-ed25519 @@@".into(),
            "h.ex ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA".into(),
            "h.ex ssh-foo AAAAB3NzaC1mb28AAAAEAAAAAA==".into(),
            format!("#h.ex ssh-ed25519 {KEY}"),
            format!("  # h.ex ssh-ed25519 {KEY}"),
            format!("h.ex # ssh-ed25519 {KEY}"),
            format!("h.ex ssh-ed25519 #{KEY}"),
            format!("h.ex ssh-ed25519 {KEY}AAAA"),
            format!("h.ex ssh-ed25519 {}", KEY.trim_start_matches('A')),
            format!("h.ex ssh-rsa {KEY}"),
            format!("h.ex rsa-sha2-512 {KEY}"),
            format!("h.ex SSH-ED25519 {KEY}"),
            format!("\0h.ex ssh-ed25519 {KEY}"),
            format!("h.ex\u{b} ssh-ed25519 {KEY}"),
            format!("@foo h.ex ssh-ed25519 {KEY}"),
            format!("@REVOKED h.ex ssh-ed25519 {KEY}"),
            format!("@revoked @revoked h.ex ssh-ed25519 {KEY}"),
            format!("other ssh-ed25519 {KEY}"),
        ] {
            assert_eq!(read(&line), None, "{line:?}");
        }
    }

    #[test]
    fn line_numbers_count_every_line() {
        let text = format!("# c\r\n\n\u{fffd}\nh.ex ssh-ed25519 {KEY}\nh.ex\nh.ex ssh-rsa {RSA}");
        let numbers: Vec<usize> = lines_for(text.as_bytes(), "h.ex")
            .map(|line| line.number)
            .collect();
        assert_eq!(numbers, [4, 6]);
    }
}
