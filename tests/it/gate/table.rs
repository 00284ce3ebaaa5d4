//! Each tool on hosts with each setting, for clients that can and cannot ask the person.

use std::{net::TcpListener, path::Path};

use serde_json::{Value, json};

use super::{World, answer, call, forms, is_refused, write};
use crate::support::mcp_client::McpClient;

/// Something that a client does in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Connect,
    Reconnect,
    Exec,
    Terminal,
    ShellChannel,
    Background,
    Detach,
    ExecSudo,
    FanOut,
    Shell,
    ShellSudo,
    Edit,
    DryEdit,
    Upload,
    CopyTo,
    CopyFrom,
    Read,
    ReadSudo,
    Search,
    Download,
    Forward,
    RemoteForward,
}

use Act::*;

/// All acts, by what the settings know of them.
const CONNECTING: [Act; 2] = [Connect, Reconnect];
const READING: [Act; 4] = [Read, Search, Download, CopyFrom];
const RUNNING: [Act; 11] = [
    Exec,
    Terminal,
    ShellChannel,
    Background,
    Detach,
    FanOut,
    Shell,
    Edit,
    DryEdit,
    Upload,
    CopyTo,
];
const AS_ROOT: [Act; 3] = [ExecSudo, ShellSudo, ReadSudo];
const FORWARDING: [Act; 2] = [Forward, RemoteForward];

/// What a setting means for connecting, reading, running, sudo and forwarding: `+` goes, `?` is
/// asked about, `-` is refused. A host that may not be connected to is not connected before.
const ROWS: [(&str, [char; 5]); 17] = [
    ("", ['+', '+', '+', '+', '+']),
    ("access = 'full'", ['+', '+', '+', '+', '+']),
    ("access = 'read'", ['+', '+', '-', '-', '-']),
    ("access = 'never'", ['-', '-', '-', '-', '-']),
    ("connect = 'ask'", ['?', '?', '?', '?', '?']),
    ("connect = 'never'", ['-', '-', '-', '-', '-']),
    ("run = 'ask'", ['+', '+', '?', '?', '+']),
    ("run = 'never'", ['+', '+', '-', '-', '+']),
    ("sudo = 'ask'", ['+', '+', '+', '?', '+']),
    ("sudo = 'never'", ['+', '+', '+', '-', '+']),
    ("forward = 'ask'", ['+', '+', '+', '+', '?']),
    ("forward = 'never'", ['+', '+', '+', '+', '-']),
    (
        "run = 'ask'\nsudo = 'never'\nforward = 'never'",
        ['+', '+', '?', '-', '-'],
    ),
    (
        "access = 'read'\nrun = 'allow'\nsudo = 'allow'\nforward = 'allow'",
        ['+', '+', '-', '-', '-'],
    ),
    (
        "access = 'read'\nrun = 'ask'\nforward = 'ask'",
        ['+', '+', '-', '-', '-'],
    ),
    (
        "access = 'read'\nconnect = 'ask'",
        ['?', '?', '-', '-', '-'],
    ),
    (
        "access = 'never'\nconnect = 'ask'\nrun = 'ask'",
        ['-', '-', '-', '-', '-'],
    ),
];

/// What the person does where there is a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Person {
    Yes,
    No,
    /// The client declares no forms.
    Absent,
}

/// One row of the table at work.
struct Row<'a> {
    world: &'a World,
    setting: &'a str,
    number: usize,
}

impl Row<'_> {
    /// The arguments of a call, and what it leaves on the host.
    fn arguments(&self, act: Act) -> (&'static str, Value) {
        let host = &self.world.host;
        let mark = host.remote(&self.mark());
        let (touch, local) = (self.world.leaving(&self.mark()), host.local("file"));
        let there = host.remote("there");
        let path = |path: &Path| path.display().to_string();

        match act {
            Connect => ("ssh_connect", json!({"host": "host"})),
            Reconnect => ("ssh_reconnect", json!({"session": "host"})),
            Exec => ("ssh_exec", json!({"session": "host", "command": touch})),
            Terminal => (
                "ssh_exec",
                json!({"session": "host", "command": touch, "pty": true}),
            ),
            ShellChannel => (
                "ssh_exec",
                json!({"session": "host", "command": "", "pty": true, "stdin": format!("{touch}; exit\n"), "waitMs": 5000}),
            ),
            Background => (
                "ssh_exec",
                json!({"session": "host", "command": touch, "background": true, "waitMs": 5000}),
            ),
            Detach => (
                "ssh_exec",
                json!({"session": "host", "command": touch, "detach": true, "waitMs": 5000}),
            ),
            ExecSudo => (
                "ssh_exec",
                json!({"session": "host", "command": touch, "sudo": true}),
            ),
            FanOut => ("ssh_exec", json!({"sessions": ["host"], "command": touch})),
            Shell => ("ssh_shell", json!({"session": "host", "command": touch})),
            ShellSudo => (
                "ssh_shell",
                json!({"session": "host", "command": touch, "sudo": true}),
            ),
            Edit => (
                "ssh_edit",
                json!({"session": "host", "path": path(&mark), "content": "x"}),
            ),
            DryEdit => (
                "ssh_edit",
                json!({"session": "host", "path": path(&mark), "content": "x", "dryRun": true}),
            ),
            Upload => (
                "ssh_upload",
                json!({"session": "host", "localPath": path(&local), "remotePath": path(&mark)}),
            ),
            CopyTo => (
                "ssh_download",
                json!({"session": "free", "remotePath": path(&there), "localPath": format!("host:{}", mark.display())}),
            ),
            CopyFrom => (
                "ssh_upload",
                json!({"session": "free", "localPath": format!("host:{}", there.display()), "remotePath": path(&mark)}),
            ),
            Read => ("ssh_read", json!({"session": "host", "path": path(&there)})),
            ReadSudo => (
                "ssh_read",
                json!({"session": "host", "path": path(&there), "sudo": true}),
            ),
            Search => (
                "ssh_search",
                json!({"session": "host", "path": path(&host.home), "pattern": "there"}),
            ),
            Download => (
                "ssh_download",
                json!({"session": "host", "remotePath": path(&there), "localPath": path(&host.local(&self.mark()))}),
            ),
            Forward => ("ssh_forward", json!({"session": "host", "to": "9"})),
            RemoteForward => (
                "ssh_forward",
                json!({"session": "host", "to": free_port(), "direction": "remote"}),
            ),
        }
    }

    fn mark(&self) -> String {
        format!("mark-{}", self.number)
    }

    /// What an act that was refused would have left, if it had been done.
    fn is_done(&self) -> bool {
        let host = &self.world.host;
        host.remote(&self.mark()).exists() || host.local(&self.mark()).exists()
    }

    /// Does an act, and checks what came of it and of a question.
    async fn check(&mut self, client: &mut McpClient, act: Act, expected: char, person: Person) {
        self.number += 1;
        let row = format!("[{}] {act:?}, {person:?}", self.setting.replace('\n', "; "));
        let reply = answer(if person == Person::Yes { "once" } else { "no" });
        let started = self.world.started();

        let (tool, arguments) = self.arguments(act);
        let (questions, result) = call(client, tool, arguments, &reply).await;
        let text = result.text();

        // A remote forward is a question of its own, without any settings.
        let lends = questions
            .iter()
            .any(|text| text.contains("reach this address"));
        let asked = questions.len() - usize::from(lends);
        let is_asked = expected == '?' && person != Person::Absent;
        assert_eq!(asked, usize::from(is_asked), "{row}: {questions:?} {text}");

        let goes = expected == '+' || (expected == '?' && person == Person::Yes);
        if goes {
            assert!(!is_refused(&result), "{row}: {text}");
            let leaves = RUNNING.contains(&act) && act != DryEdit;
            assert!(!leaves || self.is_done(), "{row}: {text}");
            return;
        }

        assert!(is_refused(&result), "{row}: {text}");
        assert!(text.contains("hint: ") || act == FanOut, "{row}: {text}");
        assert!(!self.is_done(), "{row}: it was done");
        let free = matches!(act, CopyTo | CopyFrom);
        assert!(
            free || self.world.started() == started,
            "{row}: something was started"
        );
    }
}

/// A port of this machine at which nobody listens.
fn free_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port().to_string()
}

fn expected(row: &[char; 5], act: Act) -> char {
    let groups: [&[Act]; 5] = [&CONNECTING, &READING, &RUNNING, &AS_ROOT, &FORWARDING];
    let group = groups.iter().position(|acts| acts.contains(&act)).unwrap();
    row[group]
}

fn all_acts() -> impl Iterator<Item = Act> {
    let groups: [&[Act]; 5] = [&CONNECTING, &READING, &RUNNING, &AS_ROOT, &FORWARDING];
    groups.into_iter().flatten().copied()
}

/// Checks the rows for which `wanted` is true.
async fn check_rows(wanted: impl Fn(&[char; 5]) -> bool) {
    let world = World::new("");
    write(&world.host.local("file"), "here");
    write(&world.host.remote("there"), "there");
    let mut number = 0;

    for (setting, row) in ROWS.iter().filter(|(_, row)| wanted(row)) {
        world.settings(&format!("[host.host]\n{setting}"));

        for person in [Person::Yes, Person::No, Person::Absent] {
            let capabilities = match person {
                Person::Absent => json!({}),
                Person::Yes | Person::No => forms(),
            };
            let mut client = world.client(capabilities.clone()).await;
            if row[0] == '+' {
                client.connect(json!({"host": "host"})).await;
            }

            for act in all_acts() {
                let expected = expected(row, act);
                // Without a question, it does not matter who would be asked.
                if expected != '?' && person != Person::Yes {
                    continue;
                }
                // Each act is to find the host not connected.
                if row[0] != '+' {
                    client = world.client(capabilities.clone()).await;
                }

                let (world, setting) = (&world, *setting);
                let mut row = Row {
                    world,
                    setting,
                    number,
                };
                row.check(&mut client, act, expected, person).await;
                number = row.number;
            }
        }
    }

    assert!(number >= 60, "{number} cells");
}

#[tokio::test]
async fn each_tool_does_what_the_settings_say_once_connected() {
    check_rows(|row| row[0] == '+').await;
}

#[tokio::test]
async fn each_tool_is_held_to_the_settings_before_connecting() {
    check_rows(|row| row[0] != '+').await;
}
