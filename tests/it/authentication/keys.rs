//! Keys against the real sshd: every format, and the order in which they are shown, compared with the real `ssh`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mcp_ssh_sessions::{
    password::Password,
    ssh::{auth::Credentials, prompt::prompter::Prompter},
};

use super::{authorize, methods, open, shown, ssh};
use crate::support::{
    keys,
    open_sshd::{OpenSshd, OpenSshdSettings},
    ssh_agent::SshAgent,
};

/// A new key of this type beside the server's files.
fn new_key(sshd: &OpenSshd, name: &str, kind: &str) -> PathBuf {
    let path = sshd.dir().join(name);
    keys::ssh_keygen(&path, kind, "");
    path
}

/// Rewrites a private key; `false` if this `ssh-keygen` cannot write that form.
fn rewrite(path: &Path, format: &str, old: &str, new: &str) -> bool {
    let mut command = Command::new("ssh-keygen");
    command
        .args([
            "-q", "-p", "-a", "2", "-m", format, "-P", old, "-N", new, "-f",
        ])
        .arg(path);
    command.output().unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_and_format_logs_in_with_and_without_a_passphrase() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let credentials = Credentials {
        passphrase: Some(Password::from("open sesame".to_owned())),
        ..Credentials::default()
    };

    for kind in ["rsa", "ecdsa", "ed25519"] {
        let path = new_key(&sshd, kind, kind);
        authorize(&sshd, &path);

        // Without the public half, so that only the private key can tell what it is.
        fs::remove_file(path.with_extension("pub")).unwrap();
        let config = sshd.dir().join("config");
        let text = fs::read_to_string(sshd.write_ssh_config("box", "IdentityAgent none")).unwrap();
        let only = text.replace(
            sshd.private_key_path().to_str().unwrap(),
            path.to_str().unwrap(),
        );

        fs::write(&config, only).unwrap();
        let mut passphrase = "";

        for (format, next, heading) in [
            ("PEM", "", ""),
            ("PEM", "open sesame", "ENCRYPTED"),
            ("PKCS8", "", "BEGIN PRIVATE KEY"),
            ("PKCS8", "open sesame", "BEGIN ENCRYPTED PRIVATE KEY"),
            ("RFC4716", "", "BEGIN OPENSSH PRIVATE KEY"),
            ("RFC4716", "open sesame", "BEGIN OPENSSH PRIVATE KEY"),
        ] {
            let what = format!("{kind} {format} {next:?}");
            assert!(rewrite(&path, format, passphrase, next), "{what}");
            passphrase = next;
            let text = fs::read_to_string(&path).unwrap();

            // `ssh-keygen` has only its own format for Ed25519.
            assert!(
                text.contains(heading) || kind == "ed25519",
                "{what}: {}",
                text.lines().next().unwrap_or_default()
            );

            let opened = open(&config, &credentials, &Prompter::default()).await;

            assert_eq!(
                opened
                    .map(|c| c.peer.auth_method.clone())
                    .map_err(|e| e.to_string()),
                Ok("publickey".into()),
                "{what}"
            );

            if !next.is_empty() {
                let wrong = Credentials {
                    passphrase: Some(Password::from("close".to_owned())),
                    ..Credentials::default()
                };

                let error = open(&config, &wrong, &Prompter::default())
                    .await
                    .unwrap_err()
                    .to_string();

                assert!(error.contains("wrong passphrase"), "{what}: {error}");
            }
        }
    }
}

/// A key is rewritten by `openssl` or `ssh-keygen`, and whatever the real `ssh-keygen` still opens is opened here.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn key_files_with_old_ciphers_open_with_their_passphrase() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let given = |passphrase: &str| Credentials {
        passphrase: Some(Password::from(passphrase.to_owned())),
        ..Credentials::default()
    };

    let ways = [
        (
            "rsa",
            "openssl rsa -traditional -des3 -in IN -out OUT -passout pass:sesame",
            "DEK-Info: DES-EDE3-CBC",
        ),
        (
            "ecdsa",
            "openssl ec -des3 -in IN -out OUT -passout pass:sesame",
            "DEK-Info: DES-EDE3-CBC",
        ),
        (
            "rsa",
            "openssl pkcs8 -topk8 -v2 des3 -in IN -out OUT -passout pass:sesame",
            "BEGIN ENCRYPTED",
        ),
        (
            "ecdsa",
            "openssl pkcs8 -topk8 -v2 aes128 -v2prf hmacWithSHA1 -in IN -out OUT -passout pass:sesame",
            "BEGIN ENCRYPTED",
        ),
        (
            "rsa",
            "openssl pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1 -in IN -out OUT -passout pass:sesame",
            "BEGIN ENCRYPTED",
        ),
        (
            "rsa",
            "cp IN OUT && ssh-keygen -q -p -Z 3des-cbc -a 2 -P '' -N sesame -f OUT",
            "BEGIN OPENSSH",
        ),
        (
            "ecdsa",
            "cp IN OUT && ssh-keygen -q -p -Z 3des-cbc -a 2 -P '' -N sesame -f OUT",
            "BEGIN OPENSSH",
        ),
        (
            "rsa",
            "cp IN OUT && ssh-keygen -q -p -Z aes256-cbc -a 2 -P '' -N sesame -f OUT",
            "BEGIN OPENSSH",
        ),
        (
            "ecdsa",
            "cp IN OUT && ssh-keygen -q -p -Z aes128-gcm@openssh.com -a 2 -P '' -N sesame -f OUT",
            "BEGIN OPENSSH",
        ),
    ];

    for (number, (kind, command, heading)) in ways.into_iter().enumerate() {
        let plain = new_key(&sshd, &format!("{kind}-{number}"), kind);
        authorize(&sshd, &plain);
        assert!(rewrite(&plain, "PEM", "", ""), "{kind}");
        let key = plain.with_extension("encrypted");
        let words = command
            .replace("IN", plain.to_str().unwrap())
            .replace("OUT", key.to_str().unwrap());
        let made = Command::new("sh").args(["-c", &words]).output().unwrap();
        assert!(
            made.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&made.stderr)
        );

        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(
            fs::read_to_string(&key).unwrap().contains(heading),
            "{command}"
        );

        let mut reads = Command::new("ssh-keygen");
        reads.args(["-y", "-P", "sesame", "-f"]).arg(&key);
        assert!(
            reads.output().unwrap().status.success(),
            "the real one opens it: {command}"
        );

        let text = fs::read_to_string(sshd.write_ssh_config("box", "IdentityAgent none")).unwrap();
        let config = sshd.dir().join("config");

        fs::write(
            &config,
            text.replace(
                sshd.private_key_path().to_str().unwrap(),
                key.to_str().unwrap(),
            ),
        )
        .unwrap();

        let methods = open(&config, &given("sesame"), &Prompter::default())
            .await
            .map(|one| one.peer.auth_method.clone());

        assert_eq!(
            methods.map_err(|error| error.to_string()),
            Ok("publickey".to_owned()),
            "{command}"
        );

        let error = open(&config, &given("wrong"), &Prompter::default())
            .await
            .unwrap_err()
            .to_string();

        assert!(error.contains("wrong passphrase"), "{command}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_shown_in_the_order_of_ssh_and_none_more_often() {
    let extra_config = "MaxAuthTries 20".to_owned();
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    fs::write(sshd.dir().join("authorized_keys"), "").unwrap();
    let socket = sshd.dir().join("agent");
    let agent = SshAgent::start(&socket).await;
    let authority = new_key(&sshd, "ca", "ed25519");
    let file = |name: &str| sshd.dir().join(name).display().to_string();

    for (name, kind) in [
        ("a", "ed25519"),
        ("b", "ecdsa"),
        ("c", "rsa"),
        ("d", "ed25519"),
        ("e", "ed25519"),
    ] {
        let path = new_key(&sshd, name, kind);
        if ["a", "c", "d"].contains(&name) {
            let mut sign = Command::new("ssh-keygen");
            sign.args(["-q", "-I", "me", "-n", "nobody", "-s"])
                .arg(&authority)
                .arg(path.with_extension("pub"));

            assert!(sign.status().unwrap().success());
        }
    }

    for name in ["d", "b", "a"] {
        agent.add(&sshd.dir().join(name), &[]);
    }

    // The agent has it, the files have its public half alone.
    fs::remove_file(file("b")).unwrap();
    let (with_agent, without) = (
        format!("IdentityAgent {}", socket.display()),
        "IdentityAgent none".to_owned(),
    );

    let files = |names: &str| {
        names.chars().fold(String::new(), |lines, name| {
            lines + "\nIdentityFile " + &file(&name.to_string())
        })
    };

    let all = "\nIdentitiesOnly no".to_owned();

    for extra in [
        without.clone() + &files("ace"),
        without.clone() + &files("ea") + &format!("\nCertificateFile {}", file("a-cert.pub")),
        without + &files("ca") + "\nPubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-256",
        with_agent.clone() + &files("eba"),
        with_agent.clone() + &files("eca") + &all,
        with_agent.clone() + &all,
        with_agent.clone() + &all + "\nPubkeyAcceptedAlgorithms *-cert-v01@openssh.com",
        with_agent + &format!("\nIdentityFile {}", file("b.pub")),
    ] {
        let config = sshd.write_ssh_config("box", &extra);
        let before = sshd.log().len();
        assert!(!ssh(&config), "{extra}");
        let middle = sshd.log().len();
        let error = methods(&config).await.unwrap_err();
        let log = sshd.log();
        let part = |range| shown(log.get(range).unwrap());
        assert_eq!(
            part(middle..log.len()),
            part(before..middle),
            "{extra}\n{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_only_so_many_keys_is_told_by_name_which() {
    let extra_config = "MaxAuthTries 3".to_owned();
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    let socket = sshd.dir().join("agent");
    let agent = SshAgent::start(&socket).await;
    for name in ["a", "b", "c", "d"] {
        agent.add(&new_key(&sshd, name, "ed25519"), &[]);
    }

    let agent_line = format!("IdentityAgent {}", socket.display());
    let config = sshd.write_ssh_config("box", &format!("{agent_line}\nIdentitiesOnly no"));
    assert!(!ssh(&config));
    let error = open(&config, &Credentials::default(), &Prompter::default())
        .await
        .unwrap_err();
    let hint = mcp_ssh_sessions::ssh::error::Remedy::FewerKeys;
    assert!(
        matches!(&error, mcp_ssh_sessions::ssh::error::SshError::Authentication { remedy, .. } if *remedy == hint),
        "{error}"
    );

    assert!(
        error
            .to_string()
            .contains("Too many authentication failures"),
        "{error}"
    );

    let config = sshd.write_ssh_config("box", &agent_line);
    assert!(ssh(&config));
    assert_eq!(methods(&config).await.unwrap(), "publickey");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_key_for_one_host_is_used_only_there() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let socket = sshd.dir().join("agent");
    let agent = SshAgent::start(&socket).await;
    let known_hosts = sshd.known_hosts_path().display().to_string();
    let here = format!("[127.0.0.1]:{}", sshd.port());
    agent.add(&sshd.private_key_path(), &["-h", &here, "-H", &known_hosts]);
    fs::remove_file(sshd.private_key_path()).unwrap();
    let extra = format!("IdentityAgent {}", socket.display());

    assert_eq!(
        methods(&sshd.write_ssh_config("box", &extra))
            .await
            .unwrap(),
        "publickey"
    );

    let other = OpenSshd::start(&OpenSshdSettings::default());
    fs::copy(
        sshd.dir().join("authorized_keys"),
        other.dir().join("authorized_keys"),
    )
    .unwrap();

    let extra = format!(
        "{extra}\nIdentityFile {}",
        sshd.private_key_path().display()
    );

    let config = other.write_ssh_config("box", &extra);
    fs::remove_file(other.private_key_path()).unwrap();
    assert!(methods(&config).await.is_err());
}
