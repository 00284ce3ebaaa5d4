//! `LocalForward`, `DynamicForward` and `RemoteForward` of the SSH configuration, against the real sshd: open from the
//! connect on, and what is not open is named.

use std::{
    ffi::OsStr,
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt as _, net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_ssh_sessions::session::registry::{RegistryOptions, SessionRegistry};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use super::{ask, echo, free_port};
use crate::support::{
    checks::{assert_refused, eventually},
    fixture::TestHost,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
    program::Program,
};

/// A host with the alias `box`, for which the configuration has these lines.
fn world(lines: &str) -> TestHost<OpenSshd> {
    let mut host = TestHost::openssh();
    host.config = host.sshd.write_ssh_config("box", lines);
    host
}

/// Reports whether nobody listens at the port.
fn is_free(port: u16) -> bool {
    let connected = std::net::TcpStream::connect(("127.0.0.1", port));
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// The lines of the list of forwards.
async fn list(client: &mut McpClient) -> Vec<String> {
    let list = client.call("ssh_forward", json!({})).await.ok().text();
    let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
    lines.retain(|line| line.starts_with('f'));
    lines
}

/// Sends a line to a socket and expects it back.
async fn ask_socket(path: &Path) {
    let mut client = UnixStream::connect(path).await.unwrap();
    client.write_all(b"line").await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"line");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_option_opens_its_forward_until_the_disconnect() {
    let (far, local, dynamic) = (echo().await, free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let (socket, far_socket) = (folder.path().join("here"), folder.path().join("there"));
    let mut host = world(&format!(
        "LocalForward {local} localhost:{far}\nDynamicForward localhost:{dynamic}\n\
         LocalForward \"{}\" 127.0.0.1:{far}\nLocalForward {} {}",
        socket.display(),
        folder.path().join("to-socket").display(),
        far_socket.display(),
    ));
    host.config = host.config.clone();
    let mut client = host.client().await;

    for round in 0..2 {
        let connected = client.connect(json!({"host": "box"})).await;
        let opened = [
            format!("socks5h://127.0.0.1:{dynamic} → box"),
            format!("127.0.0.1:{local} → box localhost:{far}"),
            format!("{} → box 127.0.0.1:{far}", socket.display()),
            format!(
                "{} → box {}",
                folder.path().join("to-socket").display(),
                far_socket.display()
            ),
        ];
        let opened: Vec<String> = opened
            .iter()
            .zip(round * 4 + 1..)
            .map(|(line, id)| format!("f{id} · {line}"))
            .collect();
        let notice = format!("notice: forwards: {}", opened.join("; "));
        assert!(
            connected.text().ends_with(&notice),
            "{notice}\n{}",
            connected.text()
        );
        assert_eq!(list(&mut client).await, opened);

        drop(ask(local).await);
        ask_socket(&socket).await;
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let mut proxy = TcpStream::connect(("127.0.0.1", dynamic)).await.unwrap();
        let [high, low] = far.to_be_bytes();
        let request = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low];
        proxy.write_all(&request).await.unwrap();
        proxy.write_all(b"line").await.unwrap();
        let mut answer = [0; 16];
        proxy.read_exact(&mut answer).await.unwrap();
        assert_eq!(
            (&answer[..4], &answer[12..]),
            (&[5, 0, 5, 0][..], &b"line"[..])
        );

        client
            .call("ssh_disconnect", json!({"session": "box"}))
            .await
            .ok();
        assert!(is_free(local), "{local}");
        assert!(is_free(dynamic), "{dynamic}");
        assert!(!socket.exists());
        assert_eq!(list(&mut client).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_named_and_the_rest_is_open() {
    let (far, free, taken) = (echo().await, free_port(), echo().await);
    let socket = "/nowhere/to/be/found";
    let lines = format!(
        "LocalForward {taken} localhost:{far}\nLocalForward {free} localhost:{far}\n\
         LocalForward {socket} localhost:{far}\nLocalForward ./relative localhost:{far}"
    );
    let host = world(&lines);
    let mut client = host.client().await;
    let connected = client.connect(json!({"host": "box"})).await.text();

    for part in [
        format!("notice: LocalForward {taken}: port {taken} is taken on this machine"),
        format!("notice: LocalForward {socket}: "),
        "notice: LocalForward ./relative: \"./relative\" is not an absolute path; write `%d` for the home directory"
            .to_owned(),
        format!(" · 127.0.0.1:{free} → box localhost:{far}"),
    ] {
        let lines = connected.lines().filter(|line| line.contains(&part));
        assert_eq!(lines.count(), 1, "{part}: {connected}");
    }
    drop(ask(free).await);

    let again = client.connect(json!({"host": "box"})).await.text();
    assert!(!again.contains("is taken"), "it was said: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_on_failure_fails_the_connect_and_closes_the_rest() {
    let (far, free, taken) = (echo().await, free_port(), free_port());
    let blocker = std::net::TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let host = world(&format!(
        "ExitOnForwardFailure yes\nLocalForward {free} localhost:{far}\nLocalForward {taken} localhost:{far}"
    ));
    let mut client = host.client().await;

    let refused = client.call("ssh_connect", json!({"host": "box"})).await;
    assert_refused(
        &refused,
        &[
            &format!(
                "LocalForward {taken}: port {taken} is taken on this machine, and ExitOnForwardFailure is set"
            ),
            "have the person free that address",
        ],
    );
    assert!(is_free(free));
    assert_eq!(list(&mut client).await, Vec::<String>::new());
    eventually("no connection is left", || host.sshd.serving().is_empty()).await;

    drop(blocker);
    client.connect(json!({"host": "box"})).await;
    drop(ask(free).await);
    drop(ask(taken).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_use_fails_the_connect_if_so_configured() {
    let host = world("ExitOnForwardFailure yes\nLocalForward 1 %h:80");
    let refused = host
        .client()
        .await
        .call("ssh_connect", json!({"host": "box"}))
        .await;
    assert_refused(&refused, &["LocalForward 1: \"%h\" is not a host name"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_of_another_session_is_named_as_such() {
    let (far, port) = (echo().await, free_port());
    for (exit, is_refused) in [("no", false), ("yes", true)] {
        let mut host = world("");
        let lines = format!("LocalForward {port} localhost:{far}\nExitOnForwardFailure {exit}");
        host.config = host.sshd.write_ssh_config("box twin", &lines);
        let mut client = host.client().await;
        client.connect(json!({"host": "box"})).await;

        let twin = client.call("ssh_connect", json!({"host": "twin"})).await;
        let words = format!("LocalForward {port}: open already as f1 of session box");
        assert!(twin.text().contains(&words), "{}", twin.text());
        assert_eq!(twin.is_error(), is_refused, "{}", twin.text());
        assert_eq!(list(&mut client).await.len(), 1);
        drop(ask(port).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_replaces_another_has_its_forwards() {
    let (far, port) = (echo().await, free_port());
    let mut host = world("");
    let lines = format!("LocalForward {port} localhost:{far}\nExitOnForwardFailure yes");
    host.config = host.sshd.write_ssh_config("box twin", &lines);
    let mut client = host.client().await;

    for (id, alias) in [(1, "box"), (2, "twin")] {
        let arguments = json!({"host": alias, "name": "web"});
        let connected = client.connect(arguments).await.text();
        let open = format!("forwards: f{id} · 127.0.0.1:{port} → web localhost:{far}");
        assert!(connected.ends_with(&open), "{connected}");
        drop(ask(port).await);
    }
    assert_eq!(list(&mut client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_link_opens_nothing_twice() {
    let (far, first, second) = (echo().await, free_port(), free_port());
    let host = world(&format!(
        "LocalForward {first} localhost:{far}\nLocalForward {second} localhost:{far}\nExitOnForwardFailure yes"
    ));
    let mut client = host.client().await;
    client.connect(json!({"host": "box"})).await;
    client
        .call("ssh_forward", json!({"close": "f2"}))
        .await
        .ok();

    host.sshd.kill_connections();
    client
        .call("ssh_exec", json!({"command": "true"}))
        .await
        .ok();
    let open = [format!("f1 · 127.0.0.1:{first} → box localhost:{far}")];
    assert_eq!(list(&mut client).await, open);
    drop(ask(first).await);
    assert!(is_free(second), "what was closed stays closed");

    client
        .call("ssh_reconnect", json!({"fresh": true}))
        .await
        .ok();
    assert_eq!(list(&mut client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn further_connections_and_clients_open_nothing() {
    let (far, port) = (echo().await, free_port());
    let mut host = TestHost::openssh_with(|settings| settings.max_sessions = 1);
    let lines = format!("LocalForward {port} localhost:{far}\nExitOnForwardFailure yes");
    host.config = host.sshd.write_ssh_config("box", &lines);

    let registry = SessionRegistry::new(RegistryOptions {
        ssh_config: Some(host.config.clone()),
        store: Some(host.local("sessions.json")),
        output: None,
        settings: Arc::default(),
        own: Vec::new(),
        askpass: None,
    });
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = McpClient::with_registry(Arc::clone(&registry));
        client.initialize().await;
        client.connect(json!({"host": "box"})).await;
        clients.push(client);
    }

    let wait = json!({"command": "read line; echo $line", "session": "box", "background": true});
    for client in &mut clients {
        client.call("ssh_exec", wait.clone()).await.ok();
    }
    assert!(host.sshd.serving().len() > 1, "one connection for each");
    assert_eq!(registry.forwards.list().len(), 1);
    drop(ask(port).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_used_by_its_alias_opens_its_forwards() {
    let (far, free, taken) = (echo().await, free_port(), echo().await);
    let lines =
        format!("LocalForward {free} localhost:{far}\nLocalForward {taken} localhost:{far}");
    let host = world(&lines);
    let run = json!({"command": "true", "session": "box"});

    // The second client finds the session saved.
    for words in ["connected and saved; LocalForward", "LocalForward"] {
        let mut client = host.client().await;
        let first = client.call("ssh_exec", run.clone()).await.ok();
        let taken = format!("{words} {taken}: port {taken} is taken on this machine");
        assert!(first.status_line().contains(&taken), "{}", first.text());
        drop(ask(free).await);

        let second = client.call("ssh_exec", run.clone()).await.ok();
        assert!(!second.text().contains("LocalForward"), "it was said");
        client.call("ssh_disconnect", json!({})).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_addresses_than_loopback_are_named_and_not_opened() {
    let far = echo().await;
    let (any, own, gateway) = (free_port(), free_port(), free_port());
    let host = world(&format!(
        "GatewayPorts yes\nLocalForward *:{any} localhost:{far}\nLocalForward localhost:{own} localhost:{far}\n\
         DynamicForward {gateway}"
    ));
    let connected = host.client().await.connect(json!({"host": "box"})).await;
    let words = format!(
        "notice: a forward listens on loopback only, whatever address is configured: DynamicForward {gateway}, \
         LocalForward [*]:{any}\n"
    );
    assert!(connected.text().contains(&words), "{}", connected.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listens_beyond_loopback() {
    let (far, port) = (echo().await, free_port());
    let host = world(&format!("LocalForward 0.0.0.0:{port} localhost:{far}"));
    let mut client = host.client().await;
    client.connect(json!({"host": "box"})).await;

    drop(ask(port).await);
    // Whoever has all addresses has this one.
    std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_stale_socket_is_replaced_and_only_if_configured() {
    let far = echo().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let stale = |path: &PathBuf| drop(StdUnixListener::bind(path).unwrap());
    let forward = |path: &PathBuf| format!("\nLocalForward {} localhost:{far}", path.display());

    let kept = path("kept");
    stale(&kept);
    let host = world(&forward(&kept));
    let connected = host.client().await.connect(json!({"host": "box"})).await;
    let words = format!("{} exists already", kept.display());
    assert!(connected.text().contains(&words), "{}", connected.text());
    assert!(kept.exists());

    let (left, used, file) = (path("left"), path("used"), path("file"));
    stale(&left);
    let _listener = StdUnixListener::bind(&used).unwrap();
    fs::write(&file, "mine").unwrap();
    let lines = ["StreamLocalBindUnlink yes".to_owned()]
        .into_iter()
        .chain([&left, &used, &file].map(forward));
    let host = world(&lines.collect::<String>());
    let mut client = host.client().await;
    let connected = client.connect(json!({"host": "box"})).await.text();

    ask_socket(&left).await;
    for path in [&used, &file] {
        let words = format!("{} exists already", path.display());
        assert!(connected.contains(&words), "{connected}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    std::os::unix::net::UnixStream::connect(&used).expect("it still listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn cleared_forwards_and_those_of_a_jump_host_are_not_opened() {
    let (far, port) = (echo().await, free_port());
    let forward = format!("LocalForward {port} localhost:{far}");
    let cleared = world(&format!("{forward}\nClearAllForwardings yes"));
    let connected = cleared.client().await.connect(json!({"host": "box"})).await;
    assert!(!connected.text().contains("notice"), "{}", connected.text());
    assert!(is_free(port));

    let hop = OpenSshd::start(&OpenSshdSettings::default());
    let hop_config = fs::read_to_string(hop.write_ssh_config("hop", &forward)).unwrap();
    let host = world("ProxyJump hop");
    let blocks = fs::read_to_string(&host.config).unwrap() + &hop_config;
    fs::write(&host.config, blocks).unwrap();
    let mut client = host.client().await;
    client.connect(json!({"host": "box"})).await;
    assert!(!hop.serving().is_empty(), "it leads through the hop");
    assert!(is_free(port));
    assert_eq!(list(&mut client).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ssh_the_same_forwards_are_open() {
    let (far, local) = (echo().await, free_port());
    let host = world(&format!(
        "LocalForward 127.0.0.1:{local} localhost:{far}\nLocalForward %d/s-%n localhost:{far}\n\
         LocalForward 80 db\nLocalForward /%Z db:80"
    ));
    let empty = tempfile::tempdir().unwrap();
    let environment: [(_, &OsStr); 2] = [
        ("PATH", empty.path().as_ref()),
        ("HOME", host.folder().as_ref()),
    ];
    let mut program = Program::start_with(Some(&host.config), host.folder(), &environment).await;
    let connected = program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok()
        .text();

    for part in [
        "no `ssh` program",
        "notice: LocalForward \"80 db\": the value has none of the forms of ssh_config(5)",
        "notice: LocalForward /%Z: unknown token `%Z`",
    ] {
        assert!(connected.contains(part), "{part}: {connected}");
    }
    drop(ask(local).await);
    ask_socket(&host.local("s-box")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_forward_of_the_person_needs_no_consent() {
    let (far, port, taken) = (echo().await, free_port(), echo().await);
    for exit in ["no", "yes"] {
        let host = world(&format!(
            "RemoteForward {port} localhost:{far}\nRemoteForward {taken} localhost:{far}\nExitOnForwardFailure {exit}"
        ));
        let mut client = host.client().await;
        let connected = client.call("ssh_connect", json!({"host": "box"})).await;
        let words = format!("RemoteForward {taken}: port {taken} on the host is taken");
        assert!(connected.text().contains(&words), "{}", connected.text());
        assert_eq!(connected.is_error(), exit == "yes");

        if exit == "no" {
            drop(ask(port).await);
            assert_eq!(list(&mut client).await.len(), 1);
        }
        client.close().await;
        drop(host);
        eventually("the host has stopped listening", || is_free(port)).await;
    }
}
