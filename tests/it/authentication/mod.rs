//! Logging in, in OpenSSH's order and manner: keys, certificates, several steps, and a person who is asked.

mod asking;
mod banners;
mod certificates;
mod keys;
#[cfg(target_os = "linux")]
mod memory;
mod none;
mod steps;

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use mcp_ssh_sessions::{
    openssh::destination::Destination,
    password::Password,
    ssh::{
        auth::Credentials,
        config::target::Target,
        connect::{RouteCheck, UnknownHosts, connection::Connection},
        error::SshError,
        known_servers::KnownServers,
        prompt::prompter::{PromptRequest, Prompter, SecretPrompt},
    },
};
use tokio::sync::mpsc;

use crate::support::open_sshd::OpenSshd;

/// Long enough for a slow machine.
const LIMIT: Duration = Duration::from_secs(40);

/// A person who gives these answers, one list a question; after the last one, and for an empty list, there is no answer.
struct Script {
    prompter: Prompter,
    questions: Arc<Mutex<Vec<SecretPrompt>>>,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Self {
        let mut answers: VecDeque<Vec<Password>> = answers
            .iter()
            .map(|answers| {
                answers
                    .iter()
                    .map(|answer| Password::from((*answer).to_owned()))
                    .collect()
            })
            .collect();

        let (give, mut take) = mpsc::channel(1);
        let questions = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&questions);

        tokio::spawn(async move {
            while let Some(PromptRequest::AskSecrets(question, answer)) = take.recv().await {
                asked.lock().unwrap().push(question);
                if let Some(answers) = answers.pop_front().filter(|answers| !answers.is_empty()) {
                    let _ = answer.send(answers);
                }
            }
        });

        Self {
            prompter: Prompter::new(None, Some(give)),
            questions,
        }
    }

    /// The prompts of all questions so far, one text a question.
    fn prompts(&self) -> Vec<String> {
        let texts = |question: &SecretPrompt| {
            question
                .prompts
                .iter()
                .map(|prompt| prompt.text.raw().to_owned())
                .collect::<Vec<_>>()
        };

        self.questions
            .lock()
            .unwrap()
            .iter()
            .map(|question| texts(question).join("|"))
            .collect()
    }
}

async fn open(
    config: &Path,
    credentials: &Credentials,
    prompter: &Prompter,
) -> Result<Arc<Connection>, SshError> {
    let destination = Destination::parse("box").unwrap();
    let target = Target {
        destination,
        user: None,
        port: None,
        config_file: Some(config.to_owned()),
    };

    Connection::open(
        &target,
        credentials,
        prompter,
        LIMIT,
        UnknownHosts::AsConfigured,
        &RouteCheck::default(),
        &KnownServers::default(),
    )
    .await
}

/// The methods by which a log-in with nothing but the configuration succeeds.
async fn methods(config: &Path) -> Result<String, String> {
    let opened = open(config, &Credentials::default(), &Prompter::default()).await;
    opened
        .map(|connection| connection.peer.auth_method.clone())
        .map_err(|error| error.to_string())
}

/// Runs the real `ssh` by the same configuration; whether it got in.
fn ssh(config: &Path) -> bool {
    let mut command = Command::new("ssh");
    command
        .arg("-F")
        .arg(config)
        .args(["-o", "BatchMode=yes", "box", "true"])
        .stdin(Stdio::null());

    command
        .output()
        .expect("the OpenSSH client is installed")
        .status
        .success()
}

/// The keys that a server was shown by this part of its log, in order, and what it thought of them.
fn shown(log: &str) -> Vec<String> {
    let line = |line: &str| {
        let verdict = ["Failed publickey", "Accepted publickey", "Accepted key"]
            .into_iter()
            .find(|v| line.starts_with(v))?;

        // Without the port of the client, which is another one each time.
        Some(format!(
            "{verdict}: {}",
            line.split_once("ssh2: ")
                .map_or(line, |(_, key)| key)
                .trim()
        ))
    };

    log.lines().filter_map(line).collect()
}

/// Appends the public key beside this private key to those that the server accepts.
fn authorize(sshd: &OpenSshd, key: &Path) {
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let path = sshd.dir().join("authorized_keys");
    fs::write(&path, fs::read_to_string(&path).unwrap() + &public).unwrap();
}
