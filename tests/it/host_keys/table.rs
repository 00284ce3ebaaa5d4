//! The table: what stands in the files, and what comes of it.

use Decision::{Accepted, Changed, NoAlgorithm, Revoked, TooShort, Unknown, Unreadable, WentOn};

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Accepted,
    /// Accepted although the key is not the known one (`StrictHostKeyChecking no`).
    WentOn,
    Unknown,
    Changed,
    Revoked,
    /// A file of revoked keys is missing or broken.
    Unreadable,
    /// Nothing in common.
    NoAlgorithm,
    /// An RSA key below `RequiredRSASize`.
    TooShort,
}

/// One case. `{…}` stands for keys and names, see `Servers::fill`.
pub(super) struct Row {
    /// Whose key is judged.
    pub(super) server: &'static str,
    /// Lines of `ssh_config`; `{DIR}` is the folder of the files. Else `StrictHostKeyChecking yes`.
    pub(super) config: &'static str,
    /// The file `user`, with a line end added; `-` for none.
    pub(super) user: &'static str,
    /// Another file: its name and text. A name that begins with `krl` is a key revocation list, made of the text.
    pub(super) other: (&'static str, &'static str),
    /// What we decide.
    pub(super) ours: Decision,
    /// What `ssh` decides; `None` where releases before 10.3 decide something else than we.
    pub(super) ssh: Option<Decision>,
}

pub(super) const fn row(
    server: &'static str,
    config: &'static str,
    user: &'static str,
    decision: Decision,
) -> Row {
    Row {
        server,
        config,
        user,
        other: ("", ""),
        ours: decision,
        ssh: Some(decision),
    }
}

const fn with(
    server: &'static str,
    config: &'static str,
    user: &'static str,
    other: (&'static str, &'static str),
    decision: Decision,
) -> Row {
    Row {
        server,
        config,
        user,
        other,
        ours: decision,
        ssh: Some(decision),
    }
}

/// A case in which we differ from `ssh`, with the reason beside it.
const fn differs(config: &'static str, user: &'static str, ours: Decision, ssh: Decision) -> Row {
    Row {
        server: "plain",
        config,
        user,
        other: ("", ""),
        ours,
        ssh: Some(ssh),
    }
}

/// A case in which releases of `ssh` differ: we follow the newest.
const fn newest(
    server: &'static str,
    config: &'static str,
    user: &'static str,
    ours: Decision,
) -> Row {
    Row {
        server,
        config,
        user,
        other: ("", ""),
        ours,
        ssh: None,
    }
}

const NEW: &str = "StrictHostKeyChecking accept-new";
const OFF: &str = "StrictHostKeyChecking no";
const ALIAS: &str = "HostKeyAlias box.example";
const REVOKED: &str = "RevokedHostKeys {DIR}/revoked";
const KRL: &str = "RevokedHostKeys {DIR}/krl";

pub(super) const LINES: &[Row] = &[
    row("plain", "", "{H} {ED}", Accepted),
    row("plain", "", "", Unknown),
    row("plain", "", "-", Unknown),
    row("plain", "", "# {H} {ED}", Unknown),
    row("plain", "", "{H} {ED-B}", Changed),
    row("plain", "", "{H} {EC-B}", Changed),
    row("plain", "", "{H} {EC}", Accepted),
    row("plain", "", "{H} {RSA}", Accepted),
    row("plain", "", "{H} {ED-B}\n{H} {ED}", Accepted),
    row("plain", "", "{H} {ED-B}\n{H} {EC}", Changed),
    row("plain", "", "{H} {EC-B}\n{H} {RSA}", Changed),
    // Names, ports, patterns, negations.
    row("plain", "", "127.0.0.1 {ED}", Accepted),
    row("plain", "", "127.0.0.1 {ED-B}", Unknown),
    row("plain", "", "127.0.0.1 {EC}", Unknown),
    row("plain", "", "{H} {ED-B}\n127.0.0.1 {ED}", Changed),
    row("plain", "", "[127.0.0.1]:22 {ED}", Unknown),
    row("plain", "", "[127.0.0.1]:* {ED}", Accepted),
    row("plain", "", "* {ED}", Accepted),
    row("plain", "", "[127.?.0.1]:{P} {ED}", Accepted),
    row("plain", "", "a.example,{H},b.example {ED}", Accepted),
    row("plain", "", "a.example, {H} {ED}", Unknown),
    row("plain", "", "{H}x {ED}", Unknown),
    // Not under its full name, but under the bare one.
    row("plain", "", "!{H},* {ED}", Accepted),
    row("plain", "", "*,!{H},!127.0.0.1 {ED}", Unknown),
    row("plain", ALIAS, "!box.example,* {ED}", Unknown),
    row("plain", ALIAS, "*,!*.example {ED}", Unknown),
    row("plain", ALIAS, "*,!other.example {ED}", Accepted),
    row("plain", "", "*,!127.0.0.1 {ED}", Accepted),
    row("plain", "", "!{H} {ED}", Unknown),
    row("plain", "", "{HASHED} {ED}", Accepted),
    row("plain", "", "{HASHED} {ED-B}", Changed),
    row("plain", "", "{HASHED-OTHER} {ED}", Unknown),
    row("plain", "", "{HASHED},x {ED}", Unknown),
    row("plain", ALIAS, "box.example {ED}", Accepted),
    row("plain", ALIAS, "{H} {ED}\n127.0.0.1 {ED}", Unknown),
    row("plain", ALIAS, "*.example {ED}", Accepted),
    row(
        "plain",
        "HostKeyAlias BOX.example",
        "box.Example {ED}",
        Accepted,
    ),
    row("plain", ALIAS, "box.example {EC}\n{H} {ED-B}", Accepted),
    // White space, comments, broken lines.
    row("plain", "", "{H}\tssh-ed25519\t{ED64}", Accepted),
    row("plain", "", " \t {H}  \t {ED}", Accepted),
    row("plain", "", "{H} {ED}\r", Accepted),
    row("plain", "", "{H} {ED} me@home\r", Accepted),
    row("plain", "", "{H} {ED} # a comment", Accepted),
    row("plain", "", "{H} # {ED}", Unknown),
    row(
        "plain",
        "",
        "\n\n# x\n   \n{H}\n{H} ssh-ed25519\nnonsense\n{H} ssh-ed25519 @@@\n{H} {ED}",
        Accepted,
    ),
    row(
        "plain",
        "",
        "{H} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA",
        Unknown,
    ),
    row("plain", "", "{H} {ED}AAAA", Unknown),
    row("plain", "", "{H} ssh-rsa {ED64}", Unknown),
    row("plain", "", "{H} SSH-ED25519 {ED64}", Unknown),
    row("plain", "", "{H} rsa-sha2-512 {RSA64}", Accepted),
    row(
        "plain",
        "",
        "{H} ssh-foo AAAAB3NzaC1mb28AAAAEAAAAAA==",
        Unknown,
    ),
    row("plain", "", "{H} 1024 65537 123456789", Unknown),
    // Markers.
    row("plain", "", "@foo {H} {ED}", Unknown),
    row("plain", "", "@foo {H} {ED-B}\n{H} {ED}", Accepted),
    row("plain", "", "@revoked {H} {ED}", Revoked),
    row("plain", "", "{H} {ED}\n@revoked * {ED}", Revoked),
    row(
        "plain",
        "",
        "@revoked\t{H}\tssh-ed25519\t{ED64}\n{HASHED} {ED}",
        Revoked,
    ),
    row("plain", "", "@revoked {HASHED} {ED}\n{H} {ED}", Revoked),
    row(
        "plain",
        "",
        "@revoked other.example {ED}\n{H} {ED}",
        Accepted,
    ),
    row("plain", "", "@revoked {H} {ED-B}\n{H} {ED}", Accepted),
    row("plain", "", "@revoked {H} {ED}\n{H} {EC}", Accepted),
    row(
        "plain",
        "",
        "@revoked {H} {EC}\n{H} {EC}\n{H} {ED}",
        Accepted,
    ),
    row(
        "plain",
        "",
        "@revoked @revoked {H} {ED}\n{H} {ED}",
        Accepted,
    ),
    row("plain", "", "@cert-authority {H} {ED}", Unknown),
    row("plain", "", "@cert-authority {H} {CA}\n{H} {ED}", Accepted),
    row("plain", "", "@cert-authority {H} {CA}\n{H} {EC}", Accepted),
    // A revocation is kept in force that `ssh` drops for its tab, that stands under the bare name, or that
    // `StrictHostKeyChecking no` would only warn of: such a key "must not ever be accepted" (sshd(8)).
    differs("", "{H} {ED}\n@revoked\t{H} {ED}", Revoked, Accepted),
    differs(NEW, "@revoked 127.0.0.1 {ED}", Revoked, WentOn),
    differs(OFF, "@revoked {H} {ED}", Revoked, WentOn),
];

pub(super) const SETTINGS: &[Row] = &[
    // Several files.
    with("plain", "", "", ("global", "{H} {ED}"), Accepted),
    with("plain", "", "-", ("global", "{H} {EC}"), Accepted),
    with("plain", "", "{H} {ED-B}", ("global", "{H} {ED}"), Accepted),
    with("plain", "", "{H} {EC-B}", ("global", "{H} {ED-B}"), Changed),
    with(
        "plain",
        "",
        "{H} {ED}",
        ("global", "@revoked * {ED}"),
        Revoked,
    ),
    with(
        "plain",
        "UserKnownHostsFile {DIR}/user {DIR}/second",
        "-",
        ("second", "{H} {ED}"),
        Accepted,
    ),
    with(
        "plain",
        "UserKnownHostsFile \"{DIR}/a b\" {DIR}/user",
        "",
        ("a b", "{H} {ED}"),
        Accepted,
    ),
    with(
        "plain",
        "UserKnownHostsFile none",
        "{H} {ED}",
        ("global", ""),
        Unknown,
    ),
    with(
        "plain",
        "UserKnownHostsFile none",
        "",
        ("global", "{H} {ED}"),
        Accepted,
    ),
    with(
        "plain",
        "UserKnownHostsFile {DIR}/none/of/these",
        "",
        ("global", "{H} {ED-B}"),
        Changed,
    ),
    // Policies, and what they write.
    row("plain", NEW, "", Accepted),
    row("plain", NEW, "-", Accepted),
    row("plain", NEW, "{H} {ED}", Accepted),
    row("plain", NEW, "other.example {ED-B}", Accepted),
    row("plain", NEW, "127.0.0.1 {ED-B}", Accepted),
    row("plain", NEW, "{H} {ED-B}", Changed),
    row("plain", NEW, "@revoked {H} {ED}", Revoked),
    row(
        "plain",
        "StrictHostKeyChecking accept-new\nHashKnownHosts yes",
        "",
        Accepted,
    ),
    row(
        "plain",
        "StrictHostKeyChecking accept-new\nHostKeyAlias Box.example",
        "",
        Accepted,
    ),
    row(
        "plain",
        "StrictHostKeyChecking accept-new\nHostKeyAlias box\nHashKnownHosts yes",
        "",
        Accepted,
    ),
    row(
        "plain",
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile none",
        "",
        Unknown,
    ),
    row(
        "plain",
        "StrictHostKeyChecking no\nUserKnownHostsFile none",
        "",
        Unknown,
    ),
    row(
        "plain",
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile /dev/null",
        "",
        Accepted,
    ),
    row(
        "plain",
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile /dev/null/x",
        "",
        Accepted,
    ),
    row("plain", OFF, "", Accepted),
    row("plain", OFF, "{H} {ED-B}", WentOn),
    row("plain", "StrictHostKeyChecking ask", "", Unknown),
    row("plain", "StrictHostKeyChecking ask", "{H} {ED-B}", Changed),
    row("plain", "StrictHostKeyChecking ask", "{H} {ED}", Accepted),
    // Algorithms.
    row(
        "plain",
        "HostKeyAlgorithms rsa-sha2-512,ssh-ed25519",
        "{H} {ED}",
        Changed,
    ),
    row(
        "plain",
        "HostKeyAlgorithms ^ecdsa-sha2-nistp256",
        "{H} {ED}",
        Changed,
    ),
    row(
        "plain",
        "HostKeyAlgorithms -ssh-ed25519",
        "{H} {ED}",
        Changed,
    ),
    row(
        "plain",
        "HostKeyAlgorithms -ssh-ed25519",
        "{H} {RSA}",
        Accepted,
    ),
    row("plain", "HostKeyAlgorithms +ssh-rsa", "{H} {RSA}", Accepted),
    // `ssh -G` does not say that this list was set, so that it is taken for one that `-` has left. A key that is known
    // is asked for and accepted, where `ssh` asks for another and calls it changed.
    differs(
        "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512",
        "{H} {RSA}",
        Accepted,
        Changed,
    ),
    row(
        "plain",
        "HostKeyAlgorithms ecdsa-sha2-nistp384",
        "{H} {ED}",
        NoAlgorithm,
    ),
    row(
        "plain",
        "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com",
        "{H} {ED}",
        NoAlgorithm,
    ),
    row("plain", "RequiredRSASize 4096", "{H} {RSA}", TooShort),
    row("plain", "RequiredRSASize 4096", "{H} {ED}", Accepted),
    row(
        "plain",
        "NoHostAuthenticationForLocalhost yes",
        "{H} {ED-B}",
        Accepted,
    ),
    row(
        "plain",
        "NoHostAuthenticationForLocalhost yes\nHostKeyAlias box",
        "{H} {ED}",
        Unknown,
    ),
    row("plain", "CheckHostIP yes", "{H} {ED}", Accepted),
    // Revoked keys.
    with(
        "plain",
        REVOKED,
        "{H} {ED}",
        ("revoked", "# old\n{ED} comment"),
        Revoked,
    ),
    with(
        "plain",
        REVOKED,
        "{H} {ED}",
        ("revoked", "{ED-B}\r\n\t{EC}"),
        Accepted,
    ),
    with("plain", REVOKED, "{H} {ED}", ("revoked", ""), Accepted),
    with("plain", REVOKED, "{H} {ED}", ("global", ""), Unreadable),
    with(
        "plain",
        REVOKED,
        "{H} {ED}",
        ("revoked", "{ED-B}\nnonsense"),
        Unreadable,
    ),
    with(
        "plain",
        REVOKED,
        "{H} {ED}",
        ("revoked", "{H} {ED-B}"),
        Unreadable,
    ),
    with(
        "plain",
        REVOKED,
        "{H} {ED}",
        ("revoked", "SSHKRL\n\0broken"),
        Unreadable,
    ),
    with(
        "plain",
        KRL,
        "{H} {ED}",
        ("krl", "key: {ED-B}\nkey: {ED}"),
        Revoked,
    ),
    with("plain", KRL, "{H} {ED}", ("krl", "sha1: {ED}"), Revoked),
    with("plain", KRL, "{H} {ED}", ("krl", "sha256: {ED}"), Revoked),
    with(
        "plain",
        KRL,
        "{H} {ED}",
        ("krl", "key: {EC}\nsha1: {ED-B}\nserial: 1-9\nid: x"),
        Accepted,
    ),
    with(
        "plain",
        "StrictHostKeyChecking no\nRevokedHostKeys {DIR}/krl",
        "",
        ("krl", "key: {ED}"),
        Revoked,
    ),
];

pub(super) const CERTIFICATES: &[Row] = &[
    row("good", "", "@cert-authority {H} {CA}", Accepted),
    row("good", "", "@cert-authority * {CA}", Accepted),
    row("good", "", "@cert-authority 127.0.0.1 {CA}", Accepted),
    row("good", "", "@cert-authority {HASHED} {CA}", Accepted),
    row(
        "good",
        "",
        "@cert-authority *,!{H},!127.0.0.1 {CA}",
        Unknown,
    ),
    row("good", "", "@cert-authority other.example {CA}", Unknown),
    row("good", "", "@cert-authority {H} {CA-B}", Unknown),
    row(
        "good",
        "",
        "@cert-authority {H} {CA-B}\n@cert-authority {H} {CA}",
        Accepted,
    ),
    row("good", "", "{H} {CA}", Changed),
    row("good", "", "", Unknown),
    with(
        "good",
        "",
        "",
        ("global", "@cert-authority [*]:{P} {CA}"),
        Accepted,
    ),
    row("good", "", "@cert-authority {H} {CA}\n{H} {ED-B}", Accepted),
    row("good", "", "@cert-authority {H} {CA}\n{H} {EC}", Accepted),
    // Without an authority it is a key like any other.
    row("good", "", "@cert-authority {H} {CA-B}\n{H} {ED}", Accepted),
    row("good", "", "{H} {ED}", Accepted),
    row("good", "", "{H} {EC}", Accepted),
    row("good", "", "{H} {ED-B}", Changed),
    row("good", NEW, "@cert-authority {H} {CA}", Accepted),
    row("good", NEW, "@cert-authority {H} {CA-B}", Accepted),
    row(
        "good",
        OFF,
        "@cert-authority {H} {CA-B}\n{H} {ED-B}",
        WentOn,
    ),
    // A certificate where a key should be.
    row("good", "", "{H} {CERT}", Changed),
    row("good", "", "{H} {CERT}\n{H} {ED}", Accepted),
    row("good", "", "@cert-authority {H} {CERT}", Unknown),
    row("good", "", "@revoked * {CERT}\n{H} {ED}", Revoked),
    // Revoked.
    row(
        "good",
        "",
        "@cert-authority * {CA}\n@revoked * {CA}",
        Revoked,
    ),
    row(
        "good",
        "",
        "@cert-authority * {CA}\n@revoked * {ED}",
        Revoked,
    ),
    row(
        "good",
        "",
        "@cert-authority * {CA}\n{H} {ED}\n@revoked {H} {CA}",
        Revoked,
    ),
    row("good", "", "@revoked * {CA}\n{H} {ED}", Revoked),
    row(
        "good",
        "",
        "@cert-authority * {CA}\n@revoked * {CA-B}\n@revoked other.example {CA}",
        Accepted,
    ),
    with(
        "good",
        REVOKED,
        "@cert-authority * {CA}",
        ("revoked", "{CA}"),
        Revoked,
    ),
    with(
        "good",
        REVOKED,
        "@cert-authority * {CA}",
        ("revoked", "{ED}"),
        Revoked,
    ),
    with(
        "good",
        REVOKED,
        "@cert-authority * {CA}",
        ("revoked", "{CA-B}"),
        Accepted,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "key: {CA}"),
        Revoked,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "sha256: {CA}"),
        Revoked,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "serial: 300"),
        Revoked,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "serial: 200-400"),
        Revoked,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "serial: 290\nserial: 295\nserial: 300\nserial: 304"),
        Revoked,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "serial: 290\nserial: 295\nserial: 299\nserial: 304"),
        Accepted,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "id: web"),
        Revoked,
    ),
    with(
        "good",
        KRL,
        "@cert-authority * {CA}",
        ("krl", "id: db\nserial: 1-299\nserial: 301-999"),
        Accepted,
    ),
    with("good", KRL, "{H} {ED}", ("krl", "serial: 300"), Revoked),
    // Faults of the certificate.
    row("expired", "", "@cert-authority {H} {CA}", Unknown),
    row(
        "expired",
        "",
        "@cert-authority {H} {CA}\n{H} {ED}",
        Accepted,
    ),
    row("expired", NEW, "@cert-authority {H} {CA}", Accepted),
    row("early", "", "@cert-authority {H} {CA}", Unknown),
    row("other-name", "", "@cert-authority {H} {CA}", Unknown),
    row(
        "other-name",
        "HostKeyAlias other.example",
        "@cert-authority *.example {CA}",
        Accepted,
    ),
    // Names are made lower case, principals are not.
    row(
        "other-name",
        "HostKeyAlias Third.example",
        "@cert-authority *.example {CA}",
        Unknown,
    ),
    row("critical", "", "@cert-authority {H} {CA}", Unknown),
    row("users", "", "@cert-authority {H} {CA}", Unknown),
    row("users", "", "@cert-authority {H} {CA}\n{H} {ED}", Accepted),
    newest("no-name", "", "@cert-authority {H} {CA}", Unknown),
    newest("wildcard", "", "@cert-authority {H} {CA}", Accepted),
    newest(
        "good",
        "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com",
        "{H} {ED}",
        NoAlgorithm,
    ),
    // Authorities and algorithms.
    row("by-ecdsa", "", "@cert-authority {H} {CA-EC}", Accepted),
    row("by-rsa", "", "@cert-authority {H} {CA-RSA}", Accepted),
    row(
        "by-rsa",
        "CASignatureAlgorithms ssh-ed25519",
        "@cert-authority {H} {CA-RSA}",
        Unknown,
    ),
    row("by-rsa-sha1", "", "@cert-authority {H} {CA-RSA}", Unknown),
    row(
        "good",
        "HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com",
        "@cert-authority {H} {CA}",
        Accepted,
    ),
    row(
        "good",
        "HostKeyAlgorithms ssh-ed25519",
        "@cert-authority {H} {CA}",
        Unknown,
    ),
    row(
        "good-ecdsa",
        "",
        "@cert-authority {H} {CA}\n{H} {ED}",
        Accepted,
    ),
    row("good-ecdsa", "", "@cert-authority {H} {CA}", Accepted),
    row("good-ecdsa", "", "{H} {EC}", Accepted),
    row("good-ecdsa", "", "{H} {RSA}", Accepted),
    row("good-ecdsa", "", "{H} {ED}", Changed),
];
