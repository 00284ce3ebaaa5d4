//! Links that break, stall or drip during a call.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{BreakPoint, Line, Rig, assert_helpful, break_points, each, runs};
use crate::support::{
    checks::{eventually, random, status},
    disk::names,
    link::{Break, Direction},
    mcp_client::ToolResult,
};

/// In percent of the bytes of a good call; 99 is in its last packets.
const SHARES: [u64; 4] = [0, 33, 66, 99];
const MANNERS: [Break; 3] = [Break::End, Break::Reset, Break::Stall];
/// Bytes that the commands print.
const PRINTED: usize = 20_000;
/// Bytes of the files.
const LENGTH: usize = 300_000;

/// A tool, with arguments for a command that counts its runs in `file`.
fn command(tool: &'static str, file: &Path) -> (&'static str, Value) {
    let command = format!(
        "echo ran >> '{}'; head -c {PRINTED} /dev/zero | tr '\\0' x",
        file.display()
    );

    match tool {
        "job" => (
            "ssh_exec",
            json!({"command": command, "detach": true, "waitMs": 60_000}),
        ),
        tool => (tool, json!({"command": command})),
    }
}

fn is_complete(result: &ToolResult) -> bool {
    status(result) == "exited" && result.outcome()["stdoutBytes"] == PRINTED
}

async fn commands(tool: &'static str) {
    let rig = Rig::new();
    let mut line = rig.connected().await;
    let before = line.passed();
    let (called, arguments) = command(tool, &rig.home.join("good"));
    let result = line.call(called, arguments).await.ok();
    assert!(is_complete(&result), "{}", result.text());
    let good = [Direction::Up, Direction::Down]
        .map(|direction| line.link.passed_so_far(direction) - before[direction as usize]);
    let rows: Vec<_> = break_points(good, &SHARES, &MANNERS)
        .into_iter()
        .enumerate()
        .collect();

    let files: Vec<_> = rows
        .iter()
        .map(|(number, _)| rig.home.join(format!("runs{number}")))
        .collect();

    each(rows, async |(number, at_point)| {
        breaks_during(&rig, tool, files[number].clone(), at_point).await;
    })
    .await;

    for file in files {
        assert!(runs(&file) <= 1, "{} ran more than once", file.display());
    }
}

async fn breaks_during(rig: &Rig, tool: &'static str, file: PathBuf, at_point: BreakPoint) {
    let mut line = rig.connected().await;
    let (called, arguments) = command(tool, &file);
    line.link
        .break_after(at_point.direction, at_point.after, at_point.how);
    let result = line.call(called, arguments).await;

    if result.is_error() {
        assert_helpful(&result);
    } else if status(&result) == "exited" {
        assert!(
            is_complete(&result) && runs(&file) == 1,
            "{at_point:?}: {}",
            result.text()
        );
    } else {
        assert_eq!(
            status(&result),
            "connectionLost",
            "{at_point:?}: {}",
            result.text()
        );

        assert!(
            result.status_line().contains("may have run"),
            "{at_point:?}: {}",
            result.text()
        );

        return line.works(called).await;
    }

    if tool == "job" {
        assert!(
            !result.is_error() && status(&result) == "exited",
            "{at_point:?}: {}",
            result.text()
        );
    }

    line.works_once_told(called).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_reported_and_never_run_twice_if_the_link_breaks() {
    commands("ssh_exec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_reported_and_runs_nothing_twice_on_a_broken_link() {
    commands("ssh_shell").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_once_and_is_reported_if_the_link_breaks() {
    commands("job").await;
}

async fn transfer(line: &mut Line, rig: &Rig, tool: &str, name: &str) -> (ToolResult, PathBuf) {
    let (remote, local) = (rig.home.join(name), line.folder.path().join(name));
    fs::create_dir(&remote).unwrap();
    fs::create_dir(&local).unwrap();
    let (remote, local) = (remote.join("file"), local.join("file"));
    let (from, to) = if tool == "ssh_upload" {
        (&local, &remote)
    } else {
        (&remote, &local)
    };

    let content = random(LENGTH);
    fs::write(from, &content).unwrap();
    fs::write(to, "old").unwrap();
    let result = line
        .call(tool, json!({"remotePath": remote, "localPath": local}))
        .await;
    let arrived = fs::read(to).unwrap();

    assert!(
        arrived
            == if result.is_error() {
                b"old".to_vec()
            } else {
                content
            },
        "{}",
        result.text()
    );

    (result, to.clone())
}

async fn transfers(tool: &'static str) {
    let rig = Rig::new();
    let mut line = rig.connected().await;
    let before = line.passed();
    transfer(&mut line, &rig, tool, "good").await.0.ok();
    let good = [Direction::Up, Direction::Down]
        .map(|direction| line.link.passed_so_far(direction) - before[direction as usize]);
    let rows: Vec<_> = break_points(good, &SHARES, &MANNERS)
        .into_iter()
        .enumerate()
        .collect();

    each(rows, async |(number, at_point)| {
        let mut line = rig.connected().await;
        line.link
            .break_after(at_point.direction, at_point.after, at_point.how);
        let (result, to) = transfer(&mut line, &rig, tool, &format!("row{number}")).await;
        assert!(!result.is_error(), "{at_point:?}: {}", result.text());
        line.works_once_told("ssh_exec").await;
        assert_eq!(names(to.parent().unwrap()), ["file"], "{at_point:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_link_breaks_at_any_stage_arrives_whole() {
    transfers("ssh_upload").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_whose_link_breaks_at_any_stage_arrives_whole() {
    transfers("ssh_download").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_at_a_time_everything_works() {
    let rig = Rig::new();
    let mut line = rig.line_with("").await;
    line.link.drip();
    line.call("ssh_connect", json!({"host": "host"})).await.ok();

    for tool in ["ssh_exec", "ssh_shell", "job"] {
        let file = rig.home.join(tool);
        let (called, arguments) = command(tool, &file);
        let result = line.call(called, arguments).await.ok();
        assert!(
            is_complete(&result) && runs(&file) == 1,
            "{tool}: {}",
            result.text()
        );
    }

    for tool in ["ssh_upload", "ssh_download"] {
        transfer(&mut line, &rig, tool, tool).await.0.ok();
    }
}

/// The server's process ends with a command's last output; the end of the connection comes late.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_held_back_while_data_flows_loses_none_of_it() {
    let rig = Rig::new();
    for lost in [false, true] {
        let mut line = rig.connected().await;
        line.link.hold_ends(true);
        let file = rig.home.join(format!("lost{lost}"));
        let command = format!(
            "echo ran >> '{}'; head -c {PRINTED} /dev/zero; sleep 600",
            file.display()
        );

        let call = line
            .mcp
            .begin_call("ssh_exec", json!({"command": command}))
            .await;

        let before = line.passed();
        eventually("it has printed", || {
            runs(&file) == 1
                && line.link.passed_so_far(Direction::Down) > before[1] + PRINTED as u64
        })
        .await;

        rig.sshd.kill_connections();
        if !lost {
            line.link.hold_ends(false);
        }

        let result = tokio::time::timeout(super::HANGS, line.mcp.finish(call))
            .await
            .expect("it ends")
            .ok();

        assert_eq!(
            (status(&result), &result.outcome()["stdoutBytes"]),
            ("connectionLost", &json!(PRINTED))
        );

        line.works("ssh_exec").await;
        assert_eq!(runs(&file), 1);
    }
}
