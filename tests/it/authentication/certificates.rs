//! User certificates against the real sshd.

use std::{fs, path::Path, process::Command};

use super::{methods, ssh};
use crate::support::{
    keys,
    open_sshd::{OpenSshd, OpenSshdSettings},
    ssh_agent::SshAgent,
};

/// A server that lets in by certificate alone: it knows no key, but an authority.
fn by_certificate_alone(folder: &Path) -> OpenSshd {
    keys::ssh_keygen(&folder.join("ca"), "ed25519", "");
    let extra_config = format!("TrustedUserCAKeys {}", folder.join("ca.pub").display());
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    fs::write(sshd.dir().join("authorized_keys"), "").unwrap();

    sshd
}

/// Certifies the public key of this file for the user who runs the tests, and returns the certificate's text.
fn certify(folder: &Path, key: &Path, options: &[&str]) -> String {
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "me", "-n", user.trim(), "-s"])
        .arg(folder.join("ca"))
        .args(options);

    assert!(
        sign.arg(key.with_extension("pub"))
            .status()
            .unwrap()
            .success()
    );

    let path = format!("{}-cert.pub", key.display());
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();

    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_found_by_key_by_option_and_in_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let sshd = by_certificate_alone(folder.path());

    for kind in ["ed25519", "rsa", "ecdsa"] {
        let key = file(kind);
        keys::ssh_keygen(&key, kind, "");
        let identity = format!("IdentityAgent none\nIdentityFile {}", key.display());
        let config = sshd.write_ssh_config("box", &identity);
        assert!(methods(&config).await.is_err(), "without a certificate");
        let certificate = certify(folder.path(), &key, &[]);
        fs::write(format!("{}-cert.pub", key.display()), &certificate).unwrap();
        assert!(ssh(&config));
        assert_eq!(
            methods(&config).await.as_deref(),
            Ok("publickey"),
            "{kind}: beside its key"
        );

        fs::rename(format!("{}-cert.pub", key.display()), file("elsewhere")).unwrap();
        let option = format!(
            "{identity}\nCertificateFile {}",
            file("elsewhere").display()
        );

        assert_eq!(
            methods(&sshd.write_ssh_config("box", &option))
                .await
                .as_deref(),
            Ok("publickey"),
            "{kind}: by option"
        );

        let socket = file(&format!("agent-{kind}"));
        let agent = SshAgent::start(&socket).await;
        agent.add(&key, &[]);
        let in_agent = format!("IdentityAgent {}\nIdentitiesOnly no", socket.display());
        fs::rename(&key, file("away")).unwrap();
        let option = format!(
            "{in_agent}\nCertificateFile {}",
            file("elsewhere").display()
        );

        assert_eq!(
            methods(&sshd.write_ssh_config("box", &option))
                .await
                .as_deref(),
            Ok("publickey"),
            "{kind}: agent signs"
        );

        assert!(
            methods(&sshd.write_ssh_config("box", &in_agent))
                .await
                .is_err(),
            "the agent has the key alone"
        );

        fs::rename(file("away"), &key).unwrap();
        fs::write(format!("{}-cert.pub", key.display()), &certificate).unwrap();
        agent.add(&key, &[]);

        for name in [
            kind.to_owned(),
            format!("{kind}-cert.pub"),
            format!("{kind}.pub"),
        ] {
            fs::remove_file(file(&name)).unwrap();
        }

        assert_eq!(
            methods(&sshd.write_ssh_config("box", &in_agent))
                .await
                .as_deref(),
            Ok("publickey"),
            "{kind}: agent"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_certificate_is_refused_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = by_certificate_alone(folder.path());
    let key = folder.path().join("key");
    keys::ssh_keygen(&key, "ed25519", "");
    let certificate = format!("{}-cert.pub", key.display());
    let config = sshd.write_ssh_config(
        "box",
        &format!("IdentityAgent none\nIdentityFile {}", key.display()),
    );

    for (options, part) in [
        (
            &["-V", "20200101:20210203"][..],
            "refused (it expired on 2021-02-0",
        ),
        (
            &["-V", "20900101:20910101"],
            "refused (it is not valid before ",
        ),
        (&["-n", "somebody"], "refused (it is for somebody)"),
        (&["-h", "-n", "box"], "key: refused"),
    ] {
        fs::write(&certificate, certify(folder.path(), &key, options)).unwrap();
        let error = methods(&config).await.unwrap_err();
        assert!(error.contains(part), "{error}");
    }

    // What is no reason to fail is a reason to say something.
    fs::write(
        &certificate,
        certify(folder.path(), &key, &["-V", "20200101:20210203"]),
    )
    .unwrap();

    fs::copy(
        key.with_extension("pub"),
        sshd.dir().join("authorized_keys"),
    )
    .unwrap();

    let certificate_first = format!(
        "IdentityAgent none\nCertificateFile {certificate}\nIdentityFile {}",
        key.display()
    );

    let config = sshd.write_ssh_config("box", &certificate_first);
    let credentials = mcp_ssh_sessions::ssh::auth::Credentials::default();
    let prompter = mcp_ssh_sessions::ssh::prompt::prompter::Prompter::default();
    let connection = super::open(&config, &credentials, &prompter).await.unwrap();
    let notice = connection.peer.notices.join("; ");
    assert!(
        notice.contains("key-cert.pub was refused: it expired on 2021-02-0"),
        "{notice}"
    );
}
