//! Hosts of `ssh_config` as sessions: listed, and connected by the first call that names one.

use std::{
    fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command,
    time::Instant,
};

use mcp_ssh_sessions::ssh::config::named_hosts::named_hosts;
use serde_json::{Value, json};

use super::{entry, list};
use crate::support::{
    checks::{assert_refused, eventually},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    keys,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
    ssh_config,
};

/// Calls of all tools that take a session, for the session `name`.
fn calls(name: &str, folder: &Path) -> Vec<(&'static str, Value)> {
    let file = folder.join("file");
    fs::write(&file, "text\n").unwrap();

    vec![
        ("ssh_exec", json!({"session": name, "command": "true"})),
        ("ssh_exec", json!({"sessions": [name], "command": "true"})),
        (
            "ssh_exec",
            json!({"session": name, "command": "true", "background": true}),
        ),
        ("ssh_shell", json!({"session": name, "command": "true"})),
        (
            "ssh_upload",
            json!({"session": name, "localPath": file, "remotePath": folder.join("up")}),
        ),
        (
            "ssh_download",
            json!({"session": name, "remotePath": file, "localPath": folder.join("down")}),
        ),
        ("ssh_job", json!({"session": name})),
        ("ssh_reconnect", json!({"session": name})),
        ("ssh_reconnect", json!({"session": name, "fresh": true})),
        ("ssh_set_default", json!({"session": name})),
    ]
}

/// The names of the hosts that `ssh_sessions` lists.
async fn hosts(client: &mut McpClient) -> Vec<String> {
    let listing = client.call("ssh_sessions", json!({})).await.ok();
    let hosts = listing.structured()["hosts"].as_array();
    let hosts = hosts.into_iter().flatten();
    hosts
        .map(|host| host["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_host_is_connected_by_its_first_call_and_saved() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let config = sshd.write_ssh_config("web", "");
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(&config, folder.path()).await;
    assert_eq!(hosts(&mut client).await, ["web"]);

    let call = json!({"session": "web", "command": "echo hello"});
    let first = client.call("ssh_exec", call.clone()).await.ok();
    assert_eq!(first.stdout(), "hello\n");
    let status = first.status_line();
    assert!(status.contains("connected and saved"), "{status}");
    assert_eq!(first.outcome()["notice"], "connected and saved");

    let second = client.call("ssh_exec", call.clone()).await.ok();
    assert!(
        !second.status_line().contains("saved"),
        "{}",
        second.status_line()
    );

    assert_eq!(list(&mut client).await, [entry("web", "connected", true)]);
    assert!(hosts(&mut client).await.is_empty());
    // It is a session like any other: the default, and there in the next process.
    let default = client.call("ssh_exec", json!({"command": "true"})).await;
    assert_eq!(default.ok().outcome()["session"], "web");
    client.close().await;

    let mut later = McpClient::start(&config, folder.path()).await;
    assert_eq!(list(&mut later).await, [entry("web", "saved", true)]);
    let again = later.call("ssh_exec", call).await.ok();
    assert!(
        !again.status_line().contains("saved"),
        "{}",
        again.status_line()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_with_a_session_takes_a_known_host() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let config = sshd.write_ssh_config("web", "");
    let files = tempfile::tempdir().unwrap();

    for (tool, arguments) in calls("web", files.path()) {
        let folder = tempfile::tempdir().unwrap();
        let mut client = McpClient::start(&config, folder.path()).await;
        let text = client.call(tool, arguments.clone()).await.ok().text();
        assert!(
            text.contains("connected and saved"),
            "{tool} {arguments}: {text}"
        );

        assert_eq!(list(&mut client).await, [entry("web", "connected", true)]);
        client.close().await;
    }

    assert_eq!(fs::read(files.path().join("up")).unwrap(), b"text\n");
    assert_eq!(fs::read(files.path().join("down")).unwrap(), b"text\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_contacted_by_no_tool_but_connect() {
    for policy in ["yes", "ask", "accept-new", "no"] {
        let world = TestHost::fake_with(
            FakeSshdSettings::default(),
            &format!("StrictHostKeyChecking {policy}"),
        );

        let known_hosts = world.folder().join("known_hosts");
        let line = world.sshd.known_hosts_line();
        let key = world.sshd.host_public_key();
        let other_port = keys::known_hosts_line(world.sshd.port().wrapping_add(1), &key);

        for lines in [
            String::new(),
            other_port,
            line.replace("127.0.0.1", "127.0.0.2"),
            format!("{line}@revoked {line}"),
            format!(
                "@cert-authority other.example {}",
                line.split_once(' ').unwrap().1
            ),
        ] {
            fs::write(&known_hosts, &lines).unwrap();
            let mut client = world.client().await;

            for (tool, arguments) in calls("box", world.folder()) {
                assert_refused(
                    &client.call(tool, arguments).await,
                    &[
                        "no session \"box\"",
                        &format!("host [127.0.0.1]:{} is not known", world.sshd.port()),
                        "hint: call ssh_connect with host \"box\"",
                    ],
                );
            }

            assert_eq!(world.sshd.connections(), 0, "{policy} {lines}");
            assert_eq!(fs::read_to_string(&known_hosts).unwrap(), lines);
            assert_eq!(list(&mut client).await, []);
            assert_eq!(hosts(&mut client).await, ["host", "box", "other", "third"]);
        }

        // The configuration decides about what `ssh_connect` accepts, as ever.
        fs::write(&known_hosts, "").unwrap();
        let mut client = world.client().await;
        let connected = client.call("ssh_connect", json!({"host": "box"})).await;
        assert_eq!(
            connected.is_error(),
            ["yes", "ask"].contains(&policy),
            "{policy}: {}",
            connected.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_host_line_has_is_not_connected() {
    // Each of these would lead to the server, whose key is known.
    let world = TestHost::fake_with(FakeSshdSettings::default(), "");
    let text = fs::read_to_string(&world.config).unwrap();
    let known = fs::read_to_string(world.folder().join("known_hosts")).unwrap();
    fs::write(
        &world.config,
        text.replace("Host box other third", "Host box w*"),
    )
    .unwrap();
    let mut client = world.client().await;

    for name in [
        "web",
        "w*",
        "BOX",
        "box ",
        "agent@box",
        "box.",
        "-oProxyCommand=true",
        "127.0.0.1",
    ] {
        assert_refused(
            &client
                .call("ssh_exec", json!({"session": name, "command": "true"}))
                .await,
            &["no session", "ssh_connect with host"],
        );
    }

    assert_refused(
        &client
            .call("ssh_disconnect", json!({"session": "box"}))
            .await,
        &["no session \"box\""],
    );

    assert_eq!(world.sshd.connections(), 0);
    assert_eq!(
        fs::read_to_string(world.folder().join("known_hosts")).unwrap(),
        known
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_than_the_known_one_is_refused() {
    let world = TestHost::fake_with(FakeSshdSettings::default(), "StrictHostKeyChecking no");
    world.sshd.replace_host_key();
    let mut client = world.client().await;
    let call = json!({"session": "box", "command": "echo secret"});
    assert_refused(&client.call("ssh_exec", call).await, &["HAS CHANGED"]);
    assert_eq!(
        (world.received("secret"), list(&mut client).await),
        (0, vec![])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_under_the_name_that_ssh_looks_up() {
    let world = TestHost::fake_with(FakeSshdSettings::default(), "");
    let (known_hosts, line) = (
        world.folder().join("known_hosts"),
        world.sshd.known_hosts_line(),
    );
    let (_, key) = line.split_once(' ').unwrap();
    let plain = fs::read_to_string(&world.config).unwrap();

    for (lines, option, is_known) in [
        (format!("alias {key}"), "HostKeyAlias alias", true),
        (line.clone(), "HostKeyAlias alias", false),
        (format!("127.0.0.1 {key}"), "", true),
        (format!("[127.0.0.*]:* {key}"), "", true),
        (line.clone(), "HostKeyAlgorithms rsa-sha2-512", false),
        (line.clone(), "UserKnownHostsFile /dev/null", false),
    ] {
        fs::write(&known_hosts, &lines).unwrap();
        fs::write(&world.config, format!("Host box\n{option}\n{plain}")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut client = McpClient::start(&world.config, folder.path()).await;
        let before = world.sshd.connections();
        let result = client
            .call("ssh_exec", json!({"session": "box", "command": "true"}))
            .await;

        assert_eq!(!result.is_error(), is_known, "{option}: {}", result.text());
        assert_eq!(world.sshd.connections() > before, is_known, "{option}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_known_by_the_authority_of_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let authority = keys::ssh_keygen(&at("authority"), "ed25519", "");
    keys::ssh_keygen(&at("host"), "ed25519", "");
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-h", "-I", "id", "-n", "127.0.0.1", "-s"])
        .args([at("authority"), at("host.pub")])
        .status()
        .unwrap();
    assert!(signed.success());

    let sshd = OpenSshd::start(&OpenSshdSettings {
        host_key_types: Vec::new(),
        host_keys: vec![at("host")],
        extra_config: format!("HostCertificate {}", at("host-cert.pub").display()),
        ..OpenSshdSettings::default()
    });

    let config = sshd.write_ssh_config("web", "");
    let line = keys::known_hosts_line(sshd.port(), &authority);
    let mut client = McpClient::start(&config, folder.path()).await;
    let call = json!({"session": "web", "command": "echo ok"});

    for (known, is_known) in [
        (format!("@cert-authority {line}@revoked {line}"), false),
        (format!("@cert-authority {line}"), true),
    ] {
        fs::write(sshd.known_hosts_path(), known).unwrap();
        let result = client.call("ssh_exec", call.clone()).await;
        assert_eq!(!result.is_error(), is_known, "{}", result.text());
    }
}

/// Two servers that accept the same key; `inner` is reached over `jump`, whose lines are `extra`.
fn two_servers(extra: &str) -> (FakeSshd, FakeSshd, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = keys::ed25519();
    keys::write_private_key(&folder.path().join("key"), &key, None);

    let start = || {
        FakeSshd::start(FakeSshdSettings {
            authorized_keys: vec![key.public_key().clone()],
            ..FakeSshdSettings::default()
        })
    };

    let (inner, jump) = (start(), start());
    let known_hosts = folder.path().join("known_hosts");
    let block = |alias, lines: &str, server: &FakeSshd| {
        let lines = format!(
            "IdentityFile {}\n{lines}",
            folder.path().join("key").display()
        );
        ssh_config::host(alias, &lines, server.port(), "agent", &known_hosts)
    };

    let blocks = block("inner", "ProxyJump jump", &inner) + &block("jump", extra, &jump);
    ssh_config::write(folder.path(), "two", &blocks);

    (inner, jump, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_jump_host_on_the_way_must_be_known_too() {
    for policy in ["yes", "accept-new", "no"] {
        let (inner, jump, folder) = two_servers(&format!("StrictHostKeyChecking {policy}"));
        let known_hosts = folder.path().join("known_hosts");
        let config = folder.path().join("ssh_config_two");
        let mut client = McpClient::start(&config, folder.path()).await;
        let call = json!({"session": "inner", "command": "echo there"});

        for (lines, what) in [
            (
                inner.known_hosts_line(),
                format!("jump host [127.0.0.1]:{}", jump.port()),
            ),
            (
                jump.known_hosts_line(),
                format!("host [127.0.0.1]:{}", inner.port()),
            ),
        ] {
            fs::write(&known_hosts, &lines).unwrap();
            assert_refused(
                &client.call("ssh_exec", call.clone()).await,
                &[
                    "no session \"inner\"",
                    &what,
                    "ssh_connect with host \"inner\"",
                ],
            );

            assert_eq!(
                (inner.connections(), jump.connections()),
                (0, 0),
                "{policy}"
            );
            assert_eq!(fs::read_to_string(&known_hosts).unwrap(), lines);
        }

        fs::write(
            &known_hosts,
            inner.known_hosts_line() + &jump.known_hosts_line(),
        )
        .unwrap();

        // A hop with another key than the known one is refused as well.
        if policy == "no" {
            jump.replace_host_key();
            assert_refused(
                &client.call("ssh_exec", call.clone()).await,
                &["HAS CHANGED"],
            );
            assert_eq!(inner.connections(), 0);
        } else {
            let there = client.call("ssh_exec", call).await.ok();
            assert_eq!(there.stdout(), "there\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_simultaneous_callers_share_one_dial() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let mut calls = Vec::new();

    for number in 0..8 {
        let call = json!({"session": "box", "command": format!("echo {number}")});
        calls.push(client.begin_call("ssh_exec", call).await);
    }

    for (number, call) in calls.into_iter().enumerate() {
        let result = client.finish(call).await.ok();
        assert_eq!(result.stdout(), format!("{number}\n"));
    }

    assert_eq!(world.sshd.connections(), 1);
    assert_eq!(world.store()["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(list(&mut client).await, [entry("box", "connected", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_gives_up_leaves_the_dial_to_the_others() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    world.sshd.stall();
    let call = json!({"session": "box", "command": "echo ok"});
    let first = client.begin_call("ssh_exec", call.clone()).await;
    eventually("the first call dials", || world.sshd.connections() == 1).await;
    let second = client.begin_call("ssh_exec", call).await;
    client.cancel(first).await;
    world.sshd.resume();

    let result = client.finish(second).await.ok();
    assert_eq!(result.stdout(), "ok\n");
    assert_eq!(list(&mut client).await, [entry("box", "connected", true)]);
    assert_eq!(world.store()["sessions"][0]["name"], "box");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_be_reached_becomes_no_session() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let text = fs::read_to_string(&world.config).unwrap();
    let port = world.sshd.port();
    fs::write(
        &world.config,
        text.replace(
            "HostName 127.0.0.1",
            "HostName 127.0.0.1\nBindAddress 192.0.2.1",
        ),
    )
    .unwrap();

    let call = json!({"session": "box", "command": "true"});
    assert_refused(&client.call("ssh_exec", call).await, &[&port.to_string()]);
    assert_eq!(list(&mut client).await, []);
    assert_eq!(hosts(&mut client).await, ["host", "box", "other", "third"]);
    assert!(!world.folder().join("sessions.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sessions_the_error_names_some_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    fs::write(&config, "Host a b c d e f g\n").unwrap();
    let mut client = McpClient::start(&config, folder.path()).await;

    assert_refused(
        &client.call("ssh_exec", json!({"command": "true"})).await,
        &[
            "no default session; ssh_config names the hosts a, b, c, d, e\n",
            "parameter session",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_listed_with_their_purpose_after_the_sessions() {
    let world = TestHost::fake_with(
        FakeSshdSettings::default(),
        "# mcp: staging web\u{1b}[2J\nHost stage1 stage2\nHost db-*\nHost db1\n",
    );

    let mut client = world.client().await;
    client.connect(json!({"host": "other"})).await;
    let text = client.call("ssh_sessions", json!({})).await.ok().text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("other: connected"), "{text}");
    assert!(lines[1].starts_with("hosts of ssh_config"), "{text}");
    assert_eq!(
        lines[2..],
        [
            "stage1: staging web\\u{1b}[2J",
            "stage2: staging web\\u{1b}[2J",
            "db1",
            "host",
            "box",
            "third"
        ]
    );

    for (filter, expected) in [
        ("stage", "stage1 stage2"),
        ("STAGING", "stage1 stage2"),
        ("*1", "stage1 db1"),
        ("nothing", ""),
    ] {
        let listing = client
            .call("ssh_sessions", json!({"hosts": filter}))
            .await
            .ok();
        let found = listing.structured()["hosts"].as_array().cloned();
        let found: Vec<String> = found
            .unwrap_or_default()
            .iter()
            .map(|host| host["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(found.join(" "), expected, "{filter}");
        assert!(listing.text().starts_with("other: connected"), "{filter}");
    }

    // Nobody but the session's own server was contacted.
    assert_eq!(world.sshd.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_hosts_are_read_fast_and_answered_briefly() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let text = (0..2_000).fold(String::new(), |mut text, number| {
        let _ = write!(
            text,
            "# mcp: machine {number} of the farm\nHost farm-{number}\n  HostName 10.0.0.1\n  User u\n"
        );
        text
    });
    fs::write(&config, text).unwrap();

    // The best of some attempts, because other tests run at the same time.
    let took = (0..10).map(|_| {
        let began = Instant::now();
        assert_eq!(named_hosts(Some(&config)).len(), 2_000);
        began.elapsed()
    });
    let took = took.min().unwrap();
    assert!(took.as_millis() < 50, "{took:?}");

    let mut client = McpClient::start(&config, folder.path()).await;
    let listing = client.call("ssh_sessions", json!({})).await.ok();
    let text = listing.text();
    assert!(text.len() < 4_000, "{}", text.len());
    assert!(listing.0.to_string().len() < 9_000, "{}", listing.0);
    assert!(
        text.ends_with("farm-49: machine 49 of the farm\n… and 1,950 more: filter with hosts"),
        "{text}"
    );

    let filtered = client
        .call("ssh_sessions", json!({"hosts": "farm-199?"}))
        .await
        .ok();
    assert_eq!(filtered.structured()["hosts"].as_array().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_hosts_are_completed_together() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    client
        .connect(json!({"host": "third", "name": "bob"}))
        .await;

    for argument in ["session", "host"] {
        for (typed, names) in [
            ("", json!(["bob", "host", "box", "other", "third"])),
            ("bo", json!(["bob", "box"])),
            ("x", json!([])),
        ] {
            let params = json!({
                "ref": {"type": "ref/prompt", "name": "check-host"},
                "argument": {"name": argument, "value": typed},
            });

            let answer = client.request("completion/complete", params).await;
            assert_eq!(answer["result"]["completion"]["values"], names, "{typed:?}");
        }
    }
}

/// Files of a configuration; `{}` in them is their folder.
const INCLUDING: [(&str, &str); 9] = [
    (
        "config",
        "Include {}/one {}/two*\nHost a \"b\" !c\n Port 1001\nHost=d e\n Port 1002\nHost w*\n Include {}/three\n\
         Host last\n Port 1003\n Include {}/four {}/missing\nMatch all\n Include {}/five\n",
    ),
    ("one", "hOsT i1 # i2\n Port 1011\n"),
    ("two-b", "Host i4 * !i4\n Port 1013\n"),
    ("two-a", "Host i3\n Port 1012\nInclude {}/two-c\n"),
    ("two-c", "Host i5 i3\n Port 1014\n"),
    ("three", "Host w1 x1\n Port 1015\n"),
    ("four", "Host f1 last2\n Port 1016\n"),
    ("five", "Host g1\n Port 1017\n"),
    (".two-hidden", "Host h1\n Port 1018\n"),
];

#[test]
fn a_host_is_named_where_ssh_applies_its_block() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    for (name, text) in INCLUDING {
        fs::write(folder.path().join(name), text.replace("{}", &at)).unwrap();
    }

    // A block for all hosts would hide which names have one of their own.
    fs::write(folder.path().join("two-b"), "Host i4 !i4 i6\n Port 1013\n").unwrap();
    let config = folder.path().join("config");
    let named: Vec<String> = named_hosts(Some(&config))
        .into_iter()
        .map(|host| host.name)
        .collect();

    for name in [
        "a", "b", "c", "d", "e", "i1", "i2", "i3", "i4", "i5", "i6", "w1", "x1", "f1", "g1", "h1",
        "last", "last2", "other",
    ] {
        let ssh = Command::new("ssh")
            .args(["-G", "-F"])
            .args([config.as_os_str(), name.as_ref()])
            .output()
            .unwrap();

        let dump = String::from_utf8(ssh.stdout).unwrap();
        let applies = !dump.lines().any(|line| line == "port 22");
        assert!(dump.contains("port "), "{:?}", ssh.stderr);
        assert_eq!(
            named.iter().any(|host| host == name),
            applies,
            "{name} in {named:?}"
        );
    }
}

#[test]
fn files_that_cannot_be_read_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("bytes"), b"Host \xff\xfe b1\n").unwrap();
    fs::write(at("huge"), "#".repeat(9 * 1024 * 1024) + "\nHost huge\n").unwrap();
    fs::write(at("writable"), "Host writable\n").unwrap();
    let everybody = fs::Permissions::from_mode(0o666);
    fs::set_permissions(at("writable"), everybody).unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let all = folder.path().display();
    fs::write(
        at("config"),
        format!("Include {all}/* [ ~nobody/x\nHost last\n"),
    )
    .unwrap();

    let named: Vec<String> = named_hosts(Some(&at("config")))
        .into_iter()
        .map(|host| host.name)
        .collect();
    // The file includes itself too, down to the limit of depth.
    assert_eq!(named, ["b1", "last"]);

    // As in `ssh`, the file of `-F` may be written by others, and only included ones may not.
    assert_eq!(named_hosts(Some(&at("writable"))).len(), 1);

    for none in ["none", "missing", "directory", "pipe"] {
        let path = if none == "none" {
            none.into()
        } else {
            at(none)
        };
        assert_eq!(named_hosts(Some(&path)), [], "{none}");
    }
}
