//! Every row of the table through the real `ssh` and through us.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    servers::Servers,
    table::{CERTIFICATES, Decision, LINES, Row, SETTINGS},
};
use crate::support::mcp_client::McpClient;

/// Connections at a time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn known_hosts_lines_lead_to_the_decision_of_ssh() {
    compare(LINES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_policies_algorithms_and_revocations_decide_as_in_ssh() {
    compare(SETTINGS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_lead_to_the_decision_of_ssh() {
    compare(CERTIFICATES).await;
}

async fn compare(rows: &'static [Row]) {
    let mut names: Vec<&str> = rows.iter().map(|row| row.server).collect();
    names.sort_unstable();
    names.dedup();
    let servers = Arc::new(Servers::start(&names));
    let turns = Arc::new(Semaphore::new(AT_ONCE));

    let judging: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(number, row)| {
            let (servers, turns) = (Arc::clone(&servers), Arc::clone(&turns));
            tokio::spawn(async move {
                let _turn = turns.acquire_owned().await.unwrap();
                judge(row, &servers).await.err().map(|difference| {
                    format!(
                        "row {number}: {} {:?}\n{}\n{difference}",
                        row.server, row.config, row.user
                    )
                })
            })
        })
        .collect();

    let mut differences = Vec::new();
    for judged in judging {
        differences.extend(judged.await.unwrap());
    }

    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n----\n")
    );
}

/// What one side decided, with its words, and what it left in the file `user`.
pub(super) struct Judged {
    decision: Option<Decision>,
    pub(super) words: String,
    pub(super) file: Option<String>,
}

async fn judge(row: &Row, servers: &Arc<Servers>) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let (theirs, ours) = (
        Case::write(row, servers, folder.path(), "ssh"),
        Case::write(row, servers, folder.path(), "we"),
    );

    let (theirs, ours) = (theirs.by_ssh().await, ours.by_us().await);
    let by_ssh = row.ssh.or_else(|| is_new().then_some(row.ours));
    let said = format!(
        "ssh: {:?}: {}\nwe: {:?}: {}",
        theirs.decision, theirs.words, ours.decision, ours.words
    );

    if ours.decision != Some(row.ours)
        || by_ssh.is_some_and(|expected| theirs.decision != Some(expected))
    {
        return Err(format!(
            "expected {:?} of ssh and {:?} of us\n{said}",
            by_ssh, row.ours
        ));
    }

    if by_ssh == Some(row.ours) && !alike(theirs.file.as_deref(), ours.file.as_deref()) {
        return Err(format!(
            "{said}\nssh left {:?}\nwe left {:?}",
            theirs.file, ours.file
        ));
    }

    // "Offending ECDSA key in FILE:LINE": the same key in the same place.
    let offending = |judged: &Judged| {
        let (_, place) = judged.words.split_once("Offending ")?;
        let (what, place) = place.split_once(" key in ")?;
        Some((
            what.to_owned(),
            place
                .split_whitespace()
                .next()?
                .rsplit('/')
                .next()?
                .to_owned(),
        ))
    };

    if row.ours == Decision::Changed
        && (offending(&theirs).is_none() || offending(&theirs) != offending(&ours))
    {
        return Err(format!("another offending key\n{said}"));
    }

    Ok(())
}

/// Whether `ssh` is OpenSSH 10.3 or newer.
fn is_new() -> bool {
    let output = std::process::Command::new("ssh")
        .arg("-V")
        .output()
        .unwrap();

    let text = String::from_utf8_lossy(&output.stderr);
    let version = text
        .strip_prefix("OpenSSH_")
        .and_then(|text| text.split(['p', ',', ' ']).next()?.split_once('.'));

    let numbers =
        version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("not OpenSSH: {text}")) >= (10_u32, 3_u32)
}

/// Hidden names are salted: those differ and the rest does not.
fn alike(theirs: Option<&str>, ours: Option<&str>) -> bool {
    let shape = |text: &str| -> Vec<String> {
        let hidden = |line: &str| match line.split_once(' ') {
            Some((host, key)) if host.starts_with("|1|") => format!("| {key}"),
            _ => line.to_owned(),
        };
        text.lines().map(hidden).collect()
    };

    theirs.map(shape) == ours.map(shape)
}

/// The files of one row for one side.
pub(super) struct Case {
    pub(super) config: PathBuf,
    pub(super) folder: PathBuf,
}

impl Case {
    pub(super) fn write(row: &Row, servers: &Servers, folder: &Path, side: &str) -> Self {
        let sshd = servers.get(row.server);
        let folder = folder.join(side);
        fs::create_dir(&folder).unwrap();

        if row.user != "-" {
            fs::write(
                folder.join("user"),
                servers.fill(row.user, sshd.port()) + "\n",
            )
            .unwrap();
        }

        let (name, text) = row.other;
        let text = servers.fill(text, sshd.port());
        match name {
            "" => {}
            "krl" => servers.revocation_list(&folder.join(name), &text),
            _ => fs::write(folder.join(name), text).unwrap(),
        }

        let config = format!(
            "Host box\n{}\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentitiesOnly yes\nIdentityAgent none\n\
             IdentityFile {}\nUserKnownHostsFile {{DIR}}/user\nGlobalKnownHostsFile {{DIR}}/global\n\
             StrictHostKeyChecking yes\nUpdateHostKeys no\n",
            row.config,
            sshd.port(),
            sshd.user(),
            sshd.private_key_path().display(),
        );

        let path = folder.join("config");
        fs::write(&path, config.replace("{DIR}", folder.to_str().unwrap())).unwrap();

        Self {
            config: path,
            folder,
        }
    }

    async fn by_ssh(&self) -> Judged {
        let mut command = tokio::process::Command::new("ssh");
        command
            .args(["-o", "BatchMode=yes", "-F"])
            .arg(&self.config)
            .args(["box", "true"]);

        let output = command
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap();

        let words = String::from_utf8_lossy(&output.stderr).into_owned();

        let decision = decision_of(
            output.status.success(),
            &words,
            &[
                ("revoked by file", Decision::Revoked),
                ("is marked as revoked", Decision::Revoked),
                ("Error checking host key", Decision::Unreadable),
                ("IDENTIFICATION HAS CHANGED", Decision::Changed),
                ("no matching host key type", Decision::NoAlgorithm),
                ("not permitted by HostkeyAlgorithms", Decision::NoAlgorithm),
                ("Invalid key length", Decision::TooShort),
                ("Host key verification failed", Decision::Unknown),
            ],
        );

        self.judged(decision, words)
    }

    pub(super) async fn by_us(&self) -> Judged {
        let mut client = McpClient::start(&self.config, &self.folder).await;
        let answer = client.call("ssh_connect", json!({"host": "box"})).await;
        let words = answer.text();

        let decision = decision_of(
            !answer.is_error(),
            &words,
            &[
                ("is REVOKED", Decision::Revoked),
                ("cannot be read", Decision::Unreadable),
                ("HAS CHANGED", Decision::Changed),
                ("host key has changed", Decision::Changed),
                ("no common host key algorithm", Decision::NoAlgorithm),
                ("HostKeyAlgorithms does not allow", Decision::NoAlgorithm),
                ("an RSA key of", Decision::TooShort),
                ("is not known", Decision::Unknown),
            ],
        );

        // The fingerprint of an accepted key is among the facts for programs.
        let facts = &answer.structured()["session"]["hostKey"];
        let words = words + facts.as_str().unwrap_or_default();

        self.judged(decision, words)
    }

    fn judged(&self, decision: Option<Decision>, words: String) -> Judged {
        Judged {
            decision,
            words,
            file: fs::read_to_string(self.folder.join("user")).ok(),
        }
    }
}

fn decision_of(connected: bool, words: &str, signs: &[(&str, Decision)]) -> Option<Decision> {
    let sign = signs
        .iter()
        .find(|(sign, _)| words.contains(sign))
        .map(|(_, decision)| *decision);

    match (connected, sign) {
        (true, None) => Some(Decision::Accepted),
        (true, Some(Decision::Changed | Decision::Revoked)) => Some(Decision::WentOn),
        (true, Some(_)) => None,
        (false, sign) => sign,
    }
}
