//! Finding and ending the processes that a test server has started.

use std::fs;
use std::process::{Command, Stdio};

/// Sends `signal` (a name without SIG, or `0` to ask whether a target exists) to processes (`123`) and process groups
/// (`-123`), and tells whether all of them took it.
///
/// The shell's own `kill` does it: the standard library can signal neither, and a container may lack the program.
pub(crate) fn signal(signal: &str, targets: &[String]) -> bool {
    targets.is_empty()
        || Command::new("sh")
            .args(["-c", r#"kill -s "$0" -- "$@""#, signal])
            .args(targets)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

/// The processes started through a log-in to 127.0.0.1:`port`, by the `SSH_CONNECTION` in their environment: it finds
/// those that left their process group or lost their parent. Empty where there is no /proc.
pub(crate) fn of_connections_to(port: u16) -> Vec<u32> {
    let server_end = format!(" 127.0.0.1 {port}");
    all()
        .into_iter()
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| {
                variable.starts_with(b"SSH_CONNECTION=")
                    && variable.ends_with(server_end.as_bytes())
            })
        })
        .collect()
}

/// The processes of log-ins to `port` that have `word` among their arguments.
pub(crate) fn running(port: u16, word: &str) -> Vec<u32> {
    of_connections_to(port)
        .into_iter()
        .filter(|pid| has_argument(*pid, word))
        .collect()
}

/// Reports whether a process has `word` among its arguments.
pub(crate) fn has_argument(pid: u32, word: &str) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments
        .split(|byte| *byte == 0)
        .any(|argument| argument == word.as_bytes())
}

/// The processes that see the same files mounted as `other` does: all that it has started, if it has mounts of its own.
pub(crate) fn sharing_mounts(other: u32) -> Vec<u32> {
    let mounts = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let Some(same) = mounts(other) else {
        return Vec::new();
    };

    assert_ne!(
        mounts(std::process::id()).as_ref(),
        Some(&same),
        "these are the mounts of everybody"
    );

    all()
        .into_iter()
        .filter(|pid| mounts(*pid).as_ref() == Some(&same))
        .collect()
}

/// The children of `parent`, their children, and so on, that run a program whose name starts with `name`.
pub(crate) fn descendants(parent: u32, name: &str) -> Vec<u32> {
    let listing: Vec<(u32, u32, String)> = all().into_iter().filter_map(parent_and_name).collect();
    let mut found = vec![parent];
    let mut next = 0;

    while let Some(ancestor) = found.get(next).copied() {
        found.extend(
            listing
                .iter()
                .filter(|(_, parent, _)| *parent == ancestor)
                .map(|(pid, ..)| *pid),
        );
        next += 1;
    }

    let named = |pid: &u32| {
        listing
            .iter()
            .any(|(id, _, program)| id == pid && program.starts_with(name))
    };

    found.into_iter().skip(1).filter(named).collect()
}

/// The TCP connections over which either end may still send, by their addresses: those from or to `port`. The system may
/// carry out the end of one a moment after its process is gone. Empty where there is no /proc.
pub(crate) fn connections(port: u16) -> Vec<String> {
    const ESTABLISHED: &str = "01";

    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let ours = format!(":{port:04X}");

    let connection = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let is_ours = state == ESTABLISHED && (local.ends_with(&ours) || remote.ends_with(&ours));
        is_ours.then(|| format!("{local} {remote}"))
    };

    table.lines().filter_map(connection).collect()
}

/// Whether a process has ended, all its files closed; it may still be known to its parent.
pub(crate) fn is_over(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its first thread may be over while others still have its files open.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    stat.rsplit_once(") ")
        .is_none_or(|(_, tail)| tail.starts_with(['Z', 'X']) && threads <= 1)
}

/// All processes. Empty where there is no /proc.
pub(crate) fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// From `/proc/PID/stat` (proc(5)): `pid (name) state ppid …`, where the name may hold blanks and brackets.
fn parent_and_name(pid: u32) -> Option<(u32, u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    Some((pid, tail.split(' ').nth(1)?.parse().ok()?, name.to_owned()))
}
