//! What is said of a host's certificate.

use super::{
    differential::Case,
    servers::Servers,
    table::{Decision, row},
};

/// What we say about a server that is known by these lines.
async fn words(servers: &Servers, server: &'static str, known_hosts: &'static str) -> String {
    let folder = tempfile::tempdir().unwrap();
    Case::write(
        &row(server, "", known_hosts, Decision::Accepted),
        servers,
        folder.path(),
        "we",
    )
    .by_us()
    .await
    .words
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_right_authority_vouches_for_its_key() {
    let servers = Servers::start(&["good"]);
    let said = words(&servers, "good", "@cert-authority {H} {CA}\n{H} {ED-B}").await;
    assert!(
        said.contains("connected") && said.contains(&servers.fingerprint("ed25519")),
        "{said}"
    );
    assert!(!said.contains("notice"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_accepted_is_named_with_its_fault() {
    let servers = Servers::start(&[
        "good",
        "expired",
        "early",
        "other-name",
        "no-name",
        "critical",
        "users",
        "by-rsa-sha1",
    ]);

    let trusted = "@cert-authority {H} {CA}";

    for (server, known_hosts, fault) in [
        (
            "good",
            "@cert-authority {H} {CA-B}",
            "no @cert-authority line lists its authority for this host",
        ),
        ("expired", trusted, "it has expired (its authority is in "),
        ("early", trusted, "it is not yet valid"),
        ("other-name", trusted, "the name is not a listed principal"),
        ("no-name", trusted, "it lacks a list of principals"),
        (
            "critical",
            trusted,
            "it contains unsupported critical options",
        ),
        ("users", trusted, "it is not a host certificate"),
        (
            "by-rsa-sha1",
            "@cert-authority {H} {CA-RSA}",
            "CASignatureAlgorithms does not allow",
        ),
    ] {
        let said = words(&servers, server, known_hosts).await;
        for part in [
            "is not known",
            "its certificate was not accepted",
            fault,
            "once in a terminal",
        ] {
            assert!(
                said.contains(part),
                "{server}: {part:?} is missing in: {said}"
            );
        }

        assert!(
            said.contains(&servers.fingerprint("ed25519")),
            "{server}: {said}"
        );
    }

    let said = words(&servers, "expired", "@cert-authority {H} {CA}\n{H} {ED-B}").await;

    for part in [
        "HAS CHANGED",
        "Offending ED25519 key in",
        "user:2",
        "it has expired",
        "ssh-keygen -R",
    ] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_authority_or_key_is_refused_whatever_else_is_known() {
    let servers = Servers::start(&["good"]);
    for (revoked, line) in [
        (
            "@cert-authority {H} {CA}\n{H} {ED}\n@revoked {H} {CA}",
            "user:3",
        ),
        (
            "@cert-authority {H} {CA}\n@revoked * {ED}\n{H} {ED}",
            "user:2",
        ),
    ] {
        let said = words(&servers, "good", revoked).await;
        for part in ["is REVOKED: @revoked in ", line, "do not connect"] {
            assert!(said.contains(part), "{part:?} is missing in: {said}");
        }
    }
}
