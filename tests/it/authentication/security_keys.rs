//! Security keys (FIDO), which only an agent can use: one that has the key in software, and the real sshd.

use std::{fs, path::Path, process::Stdio};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use russh::keys::{PrivateKey, signature::Signer as _};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use super::methods;
use crate::support::{keys, open_sshd::{OpenSshd, OpenSshdSettings}};

const KIND: &[u8] = b"sk-ssh-ed25519@openssh.com";
const APPLICATION: &[u8] = b"ssh:";
/// The person has touched the key, for the first time.
const TOUCHED: [u8; 5] = [1, 0, 0, 0, 1];

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// Takes a string off the front.
fn take(bytes: &mut &[u8]) -> Vec<u8> {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (string, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    *bytes = rest;
    string.to_vec()
}

fn public_blob(key: &PrivateKey) -> Vec<u8> {
    let public = key.public_key().key_data().ed25519().unwrap().0;
    [string(KIND), string(&public), string(APPLICATION)].concat()
}

/// Signs as a security key does (PROTOCOL.u2f of OpenSSH).
fn sign(key: &PrivateKey, data: &[u8]) -> Vec<u8> {
    let signed = [&Sha256::digest(APPLICATION)[..], &TOUCHED, &Sha256::digest(data)[..]].concat();
    let signature = key.try_sign(&signed).unwrap();
    [string(KIND), string(signature.as_bytes()), TOUCHED.to_vec()].concat()
}

/// Answers what a client asks of an agent (draft-ietf-sshm-ssh-agent).
async fn serve(mut stream: UnixStream, key: PrivateKey) {
    while let Ok(length) = stream.read_u32().await {
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        let mut rest = &request[1..];

        let answer = match request[0] {
            11 => [&[12, 0, 0, 0, 1][..], &string(&public_blob(&key)), &string(b"token")].concat(),
            13 => {
                assert_eq!(take(&mut rest), public_blob(&key));
                [&[14][..], &string(&sign(&key, &take(&mut rest)))].concat()
            }
            _ => vec![5],
        };

        stream.write_all(&string(&answer)).await.unwrap();
    }
}

fn start_agent(socket: &Path, key: &PrivateKey) {
    let (listener, key) = (UnixListener::bind(socket).unwrap(), key.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, key.clone()));
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_security_key_signs_through_the_agent() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let key = keys::ed25519();
    let public = format!("sk-ssh-ed25519@openssh.com {} token\n", BASE64_STANDARD.encode(public_blob(&key)));
    fs::write(sshd.dir().join("authorized_keys"), &public).unwrap();
    let socket = sshd.dir().join("agent");
    start_agent(&socket, &key);
    let extra = format!("IdentityAgent {}", socket.display());
    let config = sshd.write_ssh_config("box", &format!("{extra}\nIdentitiesOnly no"));
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.arg("-F").arg(&config).args(["-o", "BatchMode=yes", "box", "true"]).stdin(Stdio::null());
    assert!(ssh.output().await.unwrap().status.success());
    assert_eq!(methods(&config).await.as_deref(), Ok("publickey"));

    // By the public half alone, where nothing else of the agent may be used.
    let half = sshd.dir().join("half.pub");
    fs::write(&half, &public).unwrap();
    let config = sshd.write_ssh_config("box", &format!("{extra}\nIdentityFile {}", half.display()));
    assert_eq!(methods(&config).await.as_deref(), Ok("publickey"));
    let config = sshd.write_ssh_config("box", &extra);
    assert!(methods(&config).await.is_err());
}
