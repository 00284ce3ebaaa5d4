//! The real sshd: it works, or its key, its algorithms or the configuration are in the way.

use std::fs;

use super::doctor;
#[cfg(target_os = "linux")]
use crate::support::other_sshd::{Make, OtherSshd};
use crate::windows::{SOFTWARE, windows};
use crate::{
    support::{
        checks::skipped,
        fake_sshd::{AfterFirst, FakeSshdSettings},
        fixture::TestHost,
        keys::{ed25519, known_hosts_line},
        open_sshd::{OpenSshd, OpenSshdSettings},
    },
    transfer::sftp_server,
};

#[tokio::test]
async fn a_working_host_is_reported_from_configuration_to_channels() {
    let sshd = OpenSshd::start(&OpenSshdSettings {
        max_sessions: 4,
        ..OpenSshdSettings::default()
    });

    let config = sshd.write_ssh_config(
        "box",
        "ServerAliveInterval 7\nLocalForward 1 h:2\nLocalForward *:2 %h:2\nForwardX11 yes",
    );
    let known_hosts = sshd.known_hosts_path();
    let output = doctor(&config, &[&known_hosts]).await;
    let port = sshd.port().to_string();

    output.says(
        true,
        &[
            &format!("✓ configuration: {} at 127.0.0.1 port {port}", sshd.user()),
            &format!("    reads {}", config.display()),
            "line 1 applies (Host box)",
            "ServerAliveInterval 7",
            "LocalForward 1 [h]:2",
            "not supported and have no effect: ForwardX11",
            "LocalForward [*]:2: \"%h\" is not a host name",
            "✓ addresses: 127.0.0.1",
            &format!("✓ TCP: 127.0.0.1:{port} accepts"),
            "✓ server: SSH-2.0-OpenSSH_",
            "✓ key exchange: ",
            "✓ host key: ssh-ed25519 SHA256:",
            &format!("✓ log-in: publickey as {}", sshd.user()),
            "the server takes publickey",
            "accepted",
            "✓ channel: ",
            "✓ login shell: /",
            "✓ ssh_shell: bash",
            "✓ files (SFTP)",
            " at once over a connection (MaxSessions)",
            "✓ box connects",
        ],
    );

    assert!(
        output
            .text
            .contains(&format!(", known by {}:1", known_hosts.display())),
        "{}",
        output.text
    );

    assert!(
        !output.text.contains("next:") && !output.text.contains('✗'),
        "{}",
        output.text
    );
}

#[tokio::test]
async fn an_untrusted_host_key_is_reported_with_advice_and_not_saved() {
    // The second key is one that UpdateHostKeys would add.
    let host_key_types = vec!["ed25519", "ecdsa"];
    let sshd = OpenSshd::start(&OpenSshdSettings {
        host_key_types,
        ..OpenSshdSettings::default()
    });

    let (port, known_hosts) = (
        sshd.port(),
        fs::read_to_string(sshd.known_hosts_path()).unwrap(),
    );

    let right = format!("{}\n", known_hosts.lines().next().unwrap());
    let other = known_hosts_line(port, ed25519().public_key());

    for (options, known, connects, parts) in [
        (
            "StrictHostKeyChecking ask",
            String::new(),
            false,
            [
                "✗ host key: the host key of [127.0.0.1]:PORT is not known: ssh-ed25519 SHA256:",
                "next: run `ssh -F '",
            ],
        ),
        (
            "",
            other.clone(),
            false,
            [
                "✗ host key: THE HOST KEY OF [127.0.0.1]:PORT HAS CHANGED",
                "next: find out why; only if",
            ],
        ),
        (
            "",
            format!("@revoked {right}"),
            false,
            ["is REVOKED: @revoked in FILE:1", "next: do not connect"],
        ),
        (
            "StrictHostKeyChecking accept-new",
            "# none\n".to_owned(),
            true,
            [
                "which is new (StrictHostKeyChecking)",
                "is new and would be accepted and saved in FILE",
            ],
        ),
        (
            "StrictHostKeyChecking no",
            other,
            true,
            [
                "which has changed (StrictHostKeyChecking no)",
                "the host key has changed (offending",
            ],
        ),
        (
            "UpdateHostKeys yes",
            right.clone(),
            true,
            [", known by FILE:1", "✓ box connects"],
        ),
    ] {
        let file = sshd.dir().join("known");
        fs::write(&file, known).unwrap();
        let config = sshd.write_ssh_config(
            "box",
            &format!("{options}\nUserKnownHostsFile {}", file.display()),
        );

        let output = doctor(&config, &[&file]).await;
        let filled = |part: &str| {
            part.replace("PORT", &port.to_string())
                .replace("FILE", &file.display().to_string())
        };

        let [first, second] = parts.map(filled);
        output.says(connects, &["✓ key exchange", &first, &second]);
        let not_reached = output.text.contains("– log-in: not reached");
        assert_eq!(not_reached, !connects, "{}", output.text);
    }
}

#[tokio::test]
async fn algorithms_that_only_one_side_has_are_named() {
    let extra_config = "KexAlgorithms curve25519-sha256".to_owned();
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    for (options, parts, next) in [
        (
            "KexAlgorithms ecdh-sha2-nistp256",
            &[
                "✓ server",
                "✗ key exchange: no common key exchange: the SSH configuration does not allow",
                "the server has the key exchanges curve25519-sha256",
            ][..],
            "next: add this line for the host to ssh_config, if that algorithm is acceptable: `KexAlgorithms +curve25519-sha256`",
        ),
        (
            "MACs umac-64@openssh.com",
            &[
                "✗ configuration: this program does not have any algorithm that MACs allows",
                "– server: not reached",
            ],
            "next: add one that this program has to MACs of this host in ssh_config: `MACs hmac-sha2-256`",
        ),
    ] {
        let output = doctor(&sshd.write_ssh_config("box", options), &[]).await;
        output.says(false, &[parts, &["✗ box does not connect", next]].concat());
    }
}

#[tokio::test]
async fn a_configuration_that_ssh_refuses_is_told_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ssh_config");
    for (text, parts) in [
        (
            "Host box\nMatch bogus\n",
            &[
                "✗ configuration: ssh refuses it",
                "reads ",
                "line 2: Bad Match condition",
            ][..],
        ),
        (
            "Host box\nNoSuchOption yes\n",
            &[
                "✗ configuration: ssh refuses it",
                "Bad configuration option: nosuchoption",
            ],
        ),
        ("Host box\nPort 0\n", &["✗ configuration: "]),
        (
            "Host box\nRevokedHostKeys /nowhere/list\n",
            &["✗ configuration: /nowhere/list cannot be read"],
        ),
    ] {
        fs::write(&config, text).unwrap();
        let output = doctor(&config, &[folder.path()]).await;

        output.says(
            false,
            &[
                parts,
                &[
                    "– addresses: not reached",
                    "– log-in: not reached",
                    "next: fix",
                ],
            ]
            .concat(),
        );

        assert!(!output.text.contains("debug1"), "{}", output.text);
    }
}

#[tokio::test]
async fn what_an_unknown_server_takes_is_said() {
    let one_command = [
        "✓ channel: the server takes one command over a connection",
        "✓ login shell: /bin/sh",
        "✓ ssh_shell: bash starts",
        "✓ files (SFTP): files can be moved",
        "channels: one over a connection, which ends with it",
    ];

    for (after_first, parts) in [
        (AfterFirst::Ends, one_command),
        (AfterFirst::Breaks, one_command),
        (
            AfterFirst::BreaksMeanwhile,
            [
                "✓ channel: the server opens one",
                "✓ login shell: /bin/sh",
                "✓ ssh_shell: bash starts",
                "✓ files (SFTP): files can be moved",
                "channels: one at a time over a connection",
            ],
        ),
        (
            AfterFirst::GoesOn,
            [
                "✓ channel: the server opens one",
                "✓ login shell: /bin/sh",
                "✓ ssh_shell: bash starts",
                "✓ files (SFTP): files can be moved",
                "✓ channels: 10 at once over a connection",
            ],
        ),
    ] {
        let settings = FakeSshdSettings {
            software: "SSH-2.0-FakeSshd",
            after_first,
            ..FakeSshdSettings::default()
        };
        let host = TestHost::fake_with(settings, "");
        doctor(&host.config, &[]).await.says(true, &parts);
    }
}

#[tokio::test]
async fn windows_is_named() {
    for (shell, name) in [
        ("cmd", "cmd.exe"),
        ("powershell", "PowerShell 5.1.20348.2110"),
    ] {
        let (host, _folder) = windows(shell, SOFTWARE);
        let output = doctor(&host.config, &[]).await;
        output.says(
            true,
            &[
                &format!("✓ login shell: {name}"),
                "the host runs Windows 10.0.20348",
                "ssh_shell: Windows has no bash or sh; ssh_exec runs commands",
                "✓ files (SFTP)",
            ],
        );
        assert!(!output.text.contains("startup files"), "{}", output.text);
    }
}

#[tokio::test]
async fn what_an_account_may_do_over_sftp_is_said() {
    let Some(program) = sftp_server() else {
        return skipped("no sftp-server program");
    };

    for (options, lines) in [
        (
            "-R",
            &["✓ files (SFTP): read-only: files can be fetched, not sent"][..],
        ),
        (
            "-P posix-rename,fsync,remove",
            &[
                "✓ files (SFTP): files can be moved",
                "    no atomic replacement (no posix-rename)",
                "    the account may not remove files",
                "    no fsync",
            ],
        ),
        (
            "-P rename,posix-rename",
            &[
                "✓ files (SFTP): files can be moved",
                "    no atomic replacement: the account may not rename",
            ],
        ),
        (
            "-P opendir,stat,realpath",
            &[
                "✓ files (SFTP): files can be moved, and directories cannot be listed",
                "    no attributes are shown",
                "    the home directory is not told",
            ],
        ),
        (
            "-P open",
            &["✗ files (SFTP): the account may neither read nor write files"],
        ),
    ] {
        let sshd = OpenSshd::start(&OpenSshdSettings {
            sftp: format!("{program} {options}"),
            ..OpenSshdSettings::default()
        });
        let config = sshd.write_ssh_config("box", "");
        let output = doctor(&config, &[&sshd.known_hosts_path()]).await;
        output.says(true, lines);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_for_files_alone_is_examined_to_the_end() {
    let home = tempfile::tempdir().unwrap();
    let sshd = OtherSshd::start(&Make::Proftpd, home.path());
    let config = sshd.write_ssh_config("box", "");
    let output = doctor(&config, &[home.path()]).await;
    output.says(
        true,
        &["✗ ssh_shell: ", "✓ files (SFTP): files can be moved"],
    );
}
