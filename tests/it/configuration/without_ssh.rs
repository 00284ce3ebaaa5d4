//! Machines without an `ssh` program.

use std::{ffi::OsStr, fs, path::Path};

use mcp_ssh_sessions::{
    openssh::{destination::Destination, effective_config::EffectiveConfig},
    ssh::config::{fallback, resolve::resolve, target::Target},
};
use serde_json::json;

use super::world;
use crate::support::{checks::assert_refused, program::Program};

fn target(config: &Path, destination: &str) -> Target {
    let destination = Destination::parse(destination).unwrap();
    Target {
        destination,
        user: None,
        port: None,
        config_file: Some(config.to_owned()),
    }
}

/// What both readers must agree on: all but the notices, and the defaults that differ between releases and homes.
fn comparable(config: EffectiveConfig, text: &str) -> EffectiveConfig {
    let keep = |list: Vec<String>, option: &str| {
        if text.contains(option) {
            list
        } else {
            Vec::new()
        }
    };

    EffectiveConfig {
        notices: Vec::new(),
        user_known_hosts_files: if text.contains("UserKnown") {
            config.user_known_hosts_files
        } else {
            String::new()
        },
        ciphers: keep(config.ciphers, "Ciphers"),
        kex_algorithms: keep(config.kex_algorithms, "KexAlgorithms"),
        macs: keep(config.macs, "MACs"),
        host_key_algorithms: keep(config.host_key_algorithms, "HostKeyAlgorithms"),
        pubkey_accepted_algorithms: keep(
            config.pubkey_accepted_algorithms,
            "PubkeyAcceptedAlgorithms",
        ),
        identity_files: keep(config.identity_files, "IdentityFile"),
        update_host_keys: config.update_host_keys && text.contains("UpdateHostKeys"),
        ip_qos: config.ip_qos.filter(|_| text.contains("IPQoS")),
        ..config
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn the_files_mean_the_same_with_and_without_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let included = folder.path().join("included.conf");
    fs::write(
        &included,
        "User from-include\nHost other\nPort 99\nHost h\nPort 77\n",
    )
    .unwrap();

    let include = format!(
        "Host h\nInclude {}/inc*.conf\nPort 78\nHost *\nUser late",
        folder.path().display()
    );

    let include_in_inactive = include.replace("Host h\n", "Host x\n");

    for (destination, text) in [
        ("h", ""),
        ("bob@H.Example", ""),
        ("ssh://bob@h:2200", "Port 1\nUser nobody"),
        (
            "h",
            "Host a h !b\nHostName %h.Example\nPort=23\nUser \"x\"\nHost *\nPort 24\nUser y",
        ),
        ("b", "Host * !b\nPort 23\nHost b\nPort 24"),
        (
            "h1",
            "Host h?\nHostName = 10.0.0.1\nHost *1\nHostName 10.0.0.2",
        ),
        ("H", "Host h\nPort 23\nHost H\nPort 24"),
        (
            "h",
            "# comment\n\n  Port 25 # comment\n\tUser\tu\n  HostKeyAlias  al  \n",
        ),
        (
            "h",
            "IdentityFile \"~/a b\"\nIdentityFile ~/c\nIdentitiesOnly YES\nCertificateFile /x\nIdentityAgent none",
        ),
        (
            "h",
            "IdentityFile none\nIdentityAgent $AGENT\nForwardAgent $AGENT",
        ),
        ("h", "IdentityAgent SSH_AUTH_SOCK\nIdentityAgent none"),
        (
            "h",
            "SendEnv LANG LC_*\nSendEnv X\nSendEnv -LC*\nSetEnv A=1 B=\"x  y\"\nSetEnv C=3\nHost h\nSendEnv Z",
        ),
        (
            "h",
            "ConnectTimeout 1m30s\nConnectionAttempts 4\nServerAliveInterval 2h\nServerAliveCountMax 1",
        ),
        (
            "h",
            "ConnectTimeout none\nTCPKeepAlive no\nAddressFamily inet6\nBindAddress 1.2.3.4\nBindInterface lo",
        ),
        (
            "h",
            "RekeyLimit 512M 1h\nIPQoS af21 cs1\nCompression yes\nHashKnownHosts no",
        ),
        ("h", "RekeyLimit default none\nIPQoS ef"),
        ("h", "ProxyCommand nc  \"%h\"  %p # kept\nProxyJump never"),
        ("h", "ProxyJump a@b:22,c\nProxyCommand never"),
        ("h", "ProxyCommand none\nProxyJump never"),
        (
            "h",
            "StrictHostKeyChecking accept-new\nStrictHostKeyChecking no\nUserKnownHostsFile /a \"/b c\"\n",
        ),
        (
            "h",
            "StrictHostKeyChecking off\nUserKnownHostsFile none\nGlobalKnownHostsFile /g\nRevokedHostKeys /r",
        ),
        (
            "h",
            "PreferredAuthentications publickey\nPubkeyAuthentication no\nPasswordAuthentication no",
        ),
        (
            "h",
            "ChallengeResponseAuthentication no\nNumberOfPasswordPrompts 1\nProxyUseFdpass yes",
        ),
        (
            "h",
            "Ciphers aes128-ctr,aes256-ctr\nMACs hmac-sha2-256\nKexAlgorithms curve25519-sha256",
        ),
        (
            "h",
            "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512\nPubkeyAcceptedAlgorithms ssh-ed25519",
        ),
        (
            "h",
            "LocalForward 8080 db:1\nDynamicForward 1\nRemoteForward 0\nLocalForward [::1]:2 [::1]:3\n\
             Host h\nLocalForward *:4 [db]:5\nLocalForward 8080 db:1\nDynamicForward localhost:6",
        ),
        (
            "me@h",
            "LocalForward /%d/s-%h-%n-%r-%p-%u-%i \"/a b\"\nLocalForward 1 ${HOME}/t%%\n\
             RemoteForward /r /%u\nLocalForward 2 %h:80\nLocalForward ~/x /y\nRemoteForward [*]:7",
        ),
        (
            "h",
            "ExitOnForwardFailure yes\nStreamLocalBindUnlink yes\nGatewayPorts yes\nLocalForward 1 a:1\n\
             PermitRemoteOpen a:1\nRemoteForward 1\nRemoteForward 2 h:1",
        ),
        ("h", "LocalForward 1 a:1\nClearAllForwardings yes"),
        ("h", "Match all\nPort 26\nHost x\nPort 27"),
        ("h", &include),
        ("h", &include_in_inactive),
    ] {
        let file = folder.path().join("config");
        fs::write(&file, text).unwrap();
        let target = target(&file, destination);
        let with = resolve(&target, std::time::Duration::from_secs(10))
            .await
            .unwrap();
        let without = fallback::read(&target).unwrap();
        assert!(
            without.notices[0].contains("no `ssh` program"),
            "{:?}",
            without.notices
        );

        assert_eq!(
            comparable(without, text),
            comparable(with, text),
            "{destination}: {text}"
        );
    }
}

#[test]
fn lists_of_algorithms_are_changed_as_their_sign_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    for (text, first, last, absent) in [
        (
            "Ciphers +aes128-cbc",
            "chacha20-poly1305@openssh.com",
            "aes128-cbc",
            "aes192-cbc",
        ),
        (
            "Ciphers -chacha20*,aes256-*",
            "aes128-gcm@openssh.com",
            "aes192-ctr",
            "aes256-ctr",
        ),
        (
            "Ciphers ^aes256-ctr",
            "aes256-ctr",
            "aes192-ctr",
            "aes128-cbc",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let ciphers = fallback::read(&target(&file, "h")).unwrap().ciphers;
        assert_eq!(
            (ciphers[0].as_str(), ciphers.last().unwrap().as_str()),
            (first, last),
            "{text}: {ciphers:?}"
        );

        assert!(
            !ciphers.iter().any(|name| name == absent),
            "{text}: {ciphers:?}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let circle = format!("\nInclude {}", file.display());

    for (text, parts) in [
        (
            "Port 1\n\nMatch host h exec true\nProxyJump x",
            vec!["line 3", "Match host h exec true"],
        ),
        ("Match user root\nPort 1", vec!["line 1", "Match user root"]),
        ("User \"x", vec!["line 1", "quotation mark"]),
        ("Port", vec!["line 1", "port has no value"]),
        (
            "ConnectTimeout soon",
            vec!["line 1", "connecttimeout", "soon"],
        ),
        ("Port ssh", vec!["port ssh", "1 to 65535"]),
        (circle.as_str(), vec!["line 2", "include each other"]),
    ] {
        fs::write(&file, text).unwrap();
        let error = fallback::read(&target(&file, "h")).unwrap_err();
        let error = error.to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is missing in: {error}");
        }
    }

    let error = fallback::read(&target(&folder.path().join("absent"), "h"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("absent"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ssh_the_files_at_home_are_used_and_that_is_said() {
    let world = world("Frobnicate yes\nForwardX11 yes");
    let empty = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    fs::copy(&world.config, home.path().join(".ssh/more")).unwrap();
    fs::write(
        home.path().join(".ssh/config"),
        "Include more\nHost bad\nMatch host bad\nHostName 192.0.2.1\n",
    )
    .unwrap();

    let environment: [(_, &OsStr); 1] = [("PATH", empty.path().as_ref())];
    let mut program = Program::start_with(None, home.path(), &environment).await;
    let refused = program.call("ssh_connect", json!({"host": "box"})).await;
    assert_refused(
        &refused,
        &[
            "without the `ssh` program",
            "config line 3",
            "Match host bad",
        ],
    );

    fs::write(home.path().join(".ssh/config"), "Include more\n").unwrap();
    let connected = program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    for part in ["no `ssh` program", "Match", "frobnicate", "ForwardX11"] {
        assert!(
            connected.text().contains(part),
            "{part} is missing in: {}",
            connected.text()
        );
    }

    assert_eq!(
        program
            .call("ssh_exec", json!({"command": "echo in"}))
            .await
            .ok()
            .stdout(),
        "in\n"
    );
}
