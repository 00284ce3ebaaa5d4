//! Edits while others read and write the same file.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use super::row::replace_in;
use crate::support::{
    checks::counted,
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

/// Work that is done every millisecond until it is stopped.
struct Alongside<T> {
    stopped: Arc<AtomicBool>,
    worker: JoinHandle<T>,
}

impl<T: Send + 'static> Alongside<T> {
    fn start(mut state: T, work: impl Fn(&mut T) + Send + 'static) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let worker = thread::spawn(move || {
            while !is_stopped.load(Ordering::Relaxed) {
                work(&mut state);
                thread::sleep(Duration::from_millis(1));
            }
            state
        });

        Self { stopped, worker }
    }

    fn stop(self) -> T {
        self.stopped.store(true, Ordering::Relaxed);
        self.worker.join().unwrap()
    }
}

/// One server with SFTP, one where files are not renamed over others, and one without SFTP.
async fn servers() -> Vec<(&'static str, ConnectedHost<OpenSshd>)> {
    let without_rename = TestHost::openssh_with(|settings| {
        settings.sftp = format!("{} -P posix-rename,fsync", settings.sftp);
    });
    let without_sftp = TestHost::openssh_with(|settings| settings.sftp = "/bin/false".into());

    vec![
        ("sshd", TestHost::openssh().connect().await),
        ("without posix-rename", without_rename.connect().await),
        ("without SFTP", without_sftp.connect().await),
    ]
}

/// Edits the file, which others change meanwhile. Returns true if it was edited, and false if it was refused for them.
fn was_edited(result: &ToolResult, server: &str) -> bool {
    let text = result.text();
    assert!(
        !result.is_error() || text.contains("changed"),
        "{server}: {text}"
    );
    !result.is_error()
}

/// Arguments that replace a text in the file, whose path is absolute.
fn replace(path: &Path, old: &str, new: &str) -> Value {
    replace_in(path.to_str().unwrap(), old, new)
}

#[tokio::test]
async fn what_others_append_meanwhile_is_never_lost() {
    for (server, mut bench) in servers().await {
        let path = bench.remote("log");
        fs::write(&path, "state: 0\n").unwrap();
        let appended = path.clone();
        let others = Alongside::start(0, move |count| {
            let mut file = OpenOptions::new().append(true).open(&appended).unwrap();
            file.write_all(format!("line {count}\n").as_bytes())
                .unwrap();
            *count += 1;
        });

        let mut state = 0;
        for _ in 0..60 {
            let edit = replace(
                &path,
                &format!("state: {state}\n"),
                &format!("state: {}\n", state + 1),
            );
            let result = bench.mcp.call("ssh_edit", edit).await;
            state += u32::from(was_edited(&result, server));
        }

        let count = others.stop();
        let expected = format!(
            "state: {state}\n{}",
            counted(count, |number| format!("line {number}\n"))
        );
        let found = fs::read_to_string(&path).unwrap();
        assert!(
            found == expected,
            "{server}: {}",
            first_difference(&expected, &found)
        );
    }
}

#[tokio::test]
async fn who_reads_meanwhile_sees_the_old_or_the_new_file() {
    for (server, mut bench) in servers().await {
        let path = bench.remote("file");
        let version = |number: u32| counted(5_000, |_| format!("this is version {number}\n"));
        fs::write(&path, version(0)).unwrap();
        let read = path.clone();
        let others = Alongside::start(Vec::new(), move |torn: &mut Vec<String>| {
            let text = fs::read_to_string(&read).unwrap_or_default();
            let first = text.lines().next().unwrap_or_default();
            if text.lines().any(|line| line != first) || text.lines().count() != 5_000 {
                torn.push(format!(
                    "{} lines, the first of which is {first:?}",
                    text.lines().count()
                ));
            }
        });

        for number in 0..20 {
            let mut edit = replace(
                &path,
                &format!("version {number}\n"),
                &format!("version {}\n", number + 1),
            );
            edit["replaceAll"] = true.into();
            bench.mcp.call("ssh_edit", edit).await.ok();
        }

        // Without a rename the file has to be written in place.
        let torn = others.stop();
        assert!(
            torn.is_empty() || server == "without posix-rename",
            "{server}: {torn:?}"
        );
        assert!(
            fs::read_to_string(&path).unwrap() == version(20),
            "{server}"
        );
    }
}

#[tokio::test]
async fn two_agents_at_once_lose_nothing() {
    for (server, bench) in servers().await {
        let mut clients = vec![bench.host.client().await, bench.mcp];
        for client in &mut clients {
            client.connect(serde_json::json!({"host": "host"})).await;
        }

        let path = bench.host.remote("file");
        fs::write(&path, counted(40, |number| format!("<{number}>\n"))).unwrap();
        let mut expected: Vec<String> = (0..40).map(|number| format!("<{number}>")).collect();

        for number in (0..40).step_by(4) {
            // Each agent has two edits on their way at once.
            let mut calls = Vec::new();
            for at in 0..4 {
                let line = number + at;
                let edit = replace(&path, &format!("<{line}>"), &format!("[{line}]"));
                calls.push((
                    at % 2,
                    line,
                    clients[at % 2].begin_call("ssh_edit", edit).await,
                ));
            }
            for (client, line, call) in calls {
                let result = clients[client].finish(call).await;
                if was_edited(&result, server) {
                    expected[line] = format!("[{line}]");
                }
            }
        }

        let found = fs::read_to_string(&path).unwrap();
        let expected = expected.join("\n") + "\n";
        assert!(
            found == expected,
            "{server}: {}",
            first_difference(&expected, &found)
        );
        assert!(
            found.matches('[').count() >= 10,
            "{server}: hardly anything was edited"
        );
        assert_eq!(others_in(&path), [""; 0], "{server}");
    }
}

#[tokio::test]
async fn one_agent_s_edits_at_once_are_all_made() {
    for (server, mut bench) in servers().await {
        let path = bench.remote("file");
        fs::write(&path, counted(30, |number| format!("<{number}>\n"))).unwrap();
        let mut calls = Vec::new();
        for number in 0..30 {
            let edit = replace(&path, &format!("<{number}>"), &format!("[{number}]"));
            calls.push(bench.mcp.begin_call("ssh_edit", edit).await);
        }
        for call in calls {
            let result = bench.mcp.finish(call).await;
            assert!(!result.is_error(), "{server}: {}", result.text());
        }

        let found = fs::read_to_string(&path).unwrap();
        assert_eq!(
            found,
            counted(30, |number| format!("[{number}]\n")),
            "{server}"
        );
        assert_eq!(others_in(&path), [""; 0], "{server}");
    }
}

/// Names of other files in the directory, apart from those that begin with a dot and were there before.
fn others_in(path: &Path) -> Vec<String> {
    let mut names = crate::support::disk::names(path.parent().unwrap());
    names.retain(|name| name != "file" && name != ".ssh" && name != ".cache");
    names
}

/// Says where two texts begin to differ.
fn first_difference(expected: &str, found: &str) -> String {
    let mut lines = expected.lines().zip(found.lines()).enumerate();
    match lines.find(|(_, (expected, found))| expected != found) {
        Some((number, (expected, found))) => {
            format!("line {number} is {found:?} instead of {expected:?}")
        }
        None => format!("{} bytes instead of {}", found.len(), expected.len()),
    }
}
