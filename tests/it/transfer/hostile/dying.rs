//! A server whose channel for files ends at every step of an edit: the files are old or new, the answer says which of
//! the two where it knows, and what is left goes with the next edit.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::faults::{INIT, posing_as_openssh};
use crate::support::{
    disk::{has_extension, names},
    fake_sshd::{FakeSshd, FakeSshdSettings, tampered::Fault},
    fixture::{ConnectedHost, TestHost},
};

/// Hosts among which the steps of an edit are shared.
const SHARES: usize = 4;
/// Hosts at once.
const AT_ONCE: usize = 24;
/// Edits after one that was interrupted, on a machine that is too busy for the first ones to clean up.
const CLEANERS: usize = 10;
/// Time for the removal that follows an answer.
const SOON: Duration = Duration::from_secs(2);

/// An edit that is made again and again.
struct Row {
    name: &'static str,
    /// Files before the edit, by name.
    before: &'static [(&'static str, Content)],
    /// The same files after it; `None`: it is gone.
    after: &'static [(&'static str, Option<Content>)],
    /// A second name of the first file, for which it is written in place.
    has_link: bool,
    arguments: fn() -> Value,
}

/// A content that is made when it is needed.
type Content = fn() -> String;

fn small_old() -> String {
    "first\nold\nlast\n".to_owned()
}

fn small_new() -> String {
    small_old().replace("old", "new")
}

/// Of more than one write.
fn large_old() -> String {
    "0123456789abcde\n".repeat(20_000) + "old\n"
}

fn large_new() -> String {
    large_old().replace("old", "new")
}

fn replacing() -> Value {
    json!({"path": "file", "oldText": "old", "newText": "new"})
}

static ROWS: [Row; 6] = [
    Row {
        name: "a small file",
        before: &[("file", small_old)],
        after: &[("file", Some(small_new))],
        has_link: false,
        arguments: replacing,
    },
    Row {
        name: "a file of several writes",
        before: &[("file", large_old)],
        after: &[("file", Some(large_new))],
        has_link: false,
        arguments: replacing,
    },
    Row {
        name: "a small file with two names",
        before: &[("file", small_old)],
        after: &[("file", Some(small_new))],
        has_link: true,
        arguments: replacing,
    },
    Row {
        name: "a file of several writes with two names",
        before: &[("file", large_old)],
        after: &[("file", Some(large_new))],
        has_link: true,
        arguments: replacing,
    },
    Row {
        name: "a new file",
        before: &[],
        after: &[("file", Some(large_new))],
        has_link: false,
        arguments: || json!({"path": "file", "content": large_new()}),
    },
    Row {
        name: "a patch that changes, renames and deletes",
        before: &[
            ("file", small_old),
            ("here", small_old),
            ("gone", small_old),
        ],
        after: &[
            ("file", Some(small_new)),
            ("here", None),
            ("there", Some(small_old)),
            ("gone", None),
        ],
        has_link: false,
        arguments: || {
            json!({"patch": "*** Begin Patch\n*** Update File: file\n@@\n-old\n+new\n*** Update File: here\n\
                *** Move to: there\n*** Delete File: gone\n*** End Patch\n"})
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_at_any_step_leaves_old_or_new() {
    // Each end is waited for, so many are tried at once.
    let mut shares = Vec::new();
    for poses_as_openssh in [false, true] {
        for row in &ROWS {
            for first in 1..=SHARES {
                shares.push((row, poses_as_openssh, first));
            }
        }
    }

    // Each as a task, so that all that are broken are named.
    let ends = stream::iter(shares).map(async |(row, poses_as_openssh, first)| {
        let share = tokio::spawn(ends_at_steps(row, poses_as_openssh, first));
        share.await.map_err(|_| (row.name, poses_as_openssh, first))
    });
    let ends: Vec<_> = ends.buffer_unordered(AT_ONCE).collect().await;
    assert!(
        ends.iter().all(|end| matches!(end, Ok(step) if *step > 3)),
        "{ends:?}"
    );
}

/// Tries every [`SHARES`]th step from the `first` on, and returns the one that the edit does not have.
async fn ends_at_steps(row: &'static Row, poses_as_openssh: bool, first: usize) -> usize {
    let left = Arc::new(AtomicUsize::new(0));
    let mut host = host(Arc::clone(&left), poses_as_openssh).await;

    for step in (first..).step_by(SHARES) {
        let what = format!("{}, as OpenSSH {poses_as_openssh}, step {step}", row.name);
        row.set_up(&host.home);
        left.store(step, Ordering::SeqCst);
        let result = host.mcp.call("ssh_edit", (row.arguments)()).await;
        let was_reached = left.swap(0, Ordering::SeqCst) == 0;
        row.check(&host.home, &what, result.is_error(), &result.text());
        if !was_reached {
            assert!(!result.is_error(), "{what}: {}", result.text());
            return step;
        }

        // The next edits remove what this one has left, but for copies of the old content.
        let mut is_clean = false;
        for _ in 0..CLEANERS {
            row.set_up_again(&host.home);
            let next = host.mcp.call("ssh_edit", (row.arguments)()).await;
            assert!(!next.is_error(), "{what}, again: {}", next.text());
            row.check(&host.home, &what, false, &next.text());
            is_clean = soon(|| {
                litter(&host.home)
                    .iter()
                    .all(|name| has_extension(name, "old"))
            })
            .await;
            if is_clean {
                break;
            }
        }
        assert!(is_clean, "{what}: left is {:?}", litter(&host.home));
    }

    panic!("the steps have no end")
}

/// A server whose channel for files ends with the answer to the request at which the count is over.
async fn host(left: Arc<AtomicUsize>, poses_as_openssh: bool) -> ConnectedHost<FakeSshd> {
    let make = move || -> Fault {
        let left = Arc::clone(&left);
        let fault: Fault = Box::new(move |asked, honest| {
            if asked.kind == INIT {
                return Some(honest);
            }
            let count = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                count.checked_sub(1)
            });
            (count != Ok(1)).then_some(honest)
        });

        if poses_as_openssh {
            posing_as_openssh(fault)
        } else {
            fault
        }
    };

    let settings = FakeSshdSettings {
        fault: Some(Box::new(make)),
        software: if poses_as_openssh {
            "SSH-2.0-OpenSSH_9.9"
        } else {
            FakeSshdSettings::default().software
        },
        ..FakeSshdSettings::default()
    };
    TestHost::fake_with(settings, "").connect().await
}

impl Row {
    /// Makes the files as before the edit, and no others.
    fn set_up(&self, home: &Path) {
        for name in names(home) {
            let path = home.join(name);
            fs::remove_dir_all(&path)
                .or_else(|_| fs::remove_file(&path))
                .unwrap();
        }
        self.set_up_again(home);
    }

    /// The same, and whatever else is there stays.
    fn set_up_again(&self, home: &Path) {
        for (name, _) in self.after {
            let _ = fs::remove_file(home.join(name));
        }
        for (name, content) in self.before {
            fs::write(home.join(name), content()).unwrap();
        }
        if self.has_link {
            let _ = fs::remove_file(home.join("link"));
            fs::hard_link(home.join("file"), home.join("link")).unwrap();
        }
    }

    /// Checks that each file is old or new, or that its old content is next to it.
    fn check(&self, home: &Path, what: &str, failed: bool, text: &str) {
        for (name, new) in self.after {
            let old = self.before.iter().find(|(old, _)| old == name);
            let old = old.map(|(_, content)| content());
            let new = new.map(|content| content());
            let found = fs::read_to_string(home.join(name)).ok();
            let is_kept = || {
                let copies = litter(home).into_iter().map(|name| home.join(name));
                let mut contents = copies.map(|copy| fs::read_to_string(copy).ok());
                self.has_link && contents.any(|copy| copy == old)
            };

            if !failed {
                assert!(found == new, "{what}: {name} is not new: {text}");
            } else if text.contains("nothing was written") {
                assert!(found == old, "{what}: {name} is not old: {text}");
            } else {
                assert!(
                    found == old || found == new || is_kept(),
                    "{what}: {name} is neither old nor new: {text}"
                );
            }
        }

        for name in litter(home) {
            let is_next_to = name.starts_with('.')
                && ["part", "old"].iter().any(|end| has_extension(&name, end));
            assert!(
                is_next_to || name.starts_with(".mcp-ssh-sessions-"),
                "{what}: {name} is not ours to see"
            );
        }
    }
}

/// Whether a condition holds within a short time.
async fn soon(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while !condition() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    condition()
}

/// The names of what no edit was to make.
fn litter(home: &Path) -> Vec<String> {
    let known = ["file", "link", "here", "there", "gone"];
    let mut names = names(home);
    names.retain(|name| !known.contains(&name.as_str()));
    names
}
