//! The names of hosts that are connected, against the real sshd; and whose daemon is whose.

use std::{fs, sync::Arc};

use mcp_ssh_sessions::{
    session::live::LiveSession,
    settings::{HostNames, NameKind, Settings},
};
use serde_json::json;

use super::Person;
#[cfg(target_os = "linux")]
use crate::support::processes;
use crate::support::{
    fixture::registry,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
};

/// The names of a host, as `kind:name`.
fn shown(names: &HostNames) -> Vec<String> {
    let shown = names.iter().map(|name| {
        let kind = match name.kind {
            NameKind::Asked => "asked",
            NameKind::HostName => "name",
            NameKind::Address => "address",
            NameKind::Alias => "alias",
        };
        format!("{kind}:{}", name.text)
    });
    shown.collect()
}

async fn connected(client: &mut McpClient, arguments: serde_json::Value) {
    client.call("ssh_connect", arguments).await.ok();
}

#[tokio::test]
async fn a_live_connection_is_known_by_where_it_leads() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let config = sshd.write_ssh_config("gate", "");
    let gate = fs::read_to_string(&config).unwrap();
    let port = sshd.port();
    let behind = gate
        .replace("Host gate", "Host behind\nProxyJump gate")
        .replace(
            "HostName 127.0.0.1",
            "HostName localhost\nHostKeyAlias [127.0.0.1]:PORT",
        )
        .replace("PORT", &port.to_string());
    fs::write(&config, format!("{gate}\n{behind}")).unwrap();

    let registry = registry(&config);
    let mut client = McpClient::with_registry(Arc::clone(&registry));
    client.initialize().await;
    connected(&mut client, json!({"host": "behind"})).await;

    let session = registry.lookup(Some("behind")).await.unwrap();
    let settings = Arc::new(Settings::parse("[host.gate]\nrun = 'never'").unwrap());
    let names = session.names(&settings).await.unwrap();

    let host = shown(&names.host);
    assert_eq!(host.get(..2).unwrap(), ["asked:behind", "name:localhost"]);
    assert!(host.contains(&"address:127.0.0.1".to_owned()), "{host:?}");
    // The jump host looks `localhost` up, and not this machine.
    assert!(names.host.may_have_other_addresses());

    let [jump] = names.jumps.as_slice() else {
        panic!("{:?}", names.jumps);
    };
    assert_eq!(shown(jump), ["asked:gate", "name:127.0.0.1"]);
    assert!(!jump.may_have_other_addresses());

    // They are collected once for a connection.
    assert!(Arc::ptr_eq(
        &names,
        &session.names(&settings).await.unwrap()
    ));

    // The way is the one that was taken, whatever the configuration says now.
    fs::write(&config, "Host behind\nHostName 192.0.2.1\n").unwrap();
    let other = Arc::new(Settings::parse("# changed").unwrap());
    let again: Arc<_> = session.names(&other).await.unwrap();
    assert_eq!(shown(&again.host), shown(&names.host));

    // Without a connection, it is what the configuration says.
    disconnect(&session).await;
    let planned = session.names(&other).await.unwrap();
    assert_eq!(shown(&planned.host), ["asked:behind", "name:192.0.2.1"]);
    assert!(planned.jumps.is_empty());
}

async fn disconnect(session: &LiveSession) {
    session.close(std::time::Duration::from_secs(1)).await;
}

#[tokio::test]
async fn an_address_is_known_by_the_aliases_that_lead_there() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let config = sshd.write_ssh_config("prod", "");
    let prod = fs::read_to_string(&config).unwrap();
    let options = prod
        .replace("Host prod", "Host *")
        .replace("HostName 127.0.0.1", "");
    let elsewhere = "Host prod-elsewhere\nHostName 192.0.2.1\n";
    fs::write(&config, format!("{prod}\n{elsewhere}\n{options}")).unwrap();

    let registry = registry(&config);
    let mut client = McpClient::with_registry(Arc::clone(&registry));
    client.initialize().await;
    let session = |name: &'static str| {
        let registry = Arc::clone(&registry);
        async move { registry.lookup(Some(name)).await.unwrap() }
    };

    let settings = Arc::new(Settings::parse("[host.'prod*']\naccess = 'read'").unwrap());
    connected(&mut client, json!({"host": "127.0.0.1", "name": "raw"})).await;
    let names = session("raw").await.names(&settings).await.unwrap();
    assert_eq!(shown(&names.host), ["asked:127.0.0.1", "alias:prod"]);
    assert_eq!(
        names.rules(&settings).host.access.matched.as_deref(),
        Some("prod")
    );

    // Nobody needs the aliases that no section names.
    let none = Arc::new(Settings::parse("[host.x]\naccess = 'read'").unwrap());
    let names = session("raw").await.names(&none).await.unwrap();
    assert_eq!(shown(&names.host), ["asked:127.0.0.1"]);
}

/// The daemons of the processes that are at home in a folder. Dropping it kills them.
#[cfg(target_os = "linux")]
struct Daemons<'a>(&'a std::path::Path);

#[cfg(target_os = "linux")]
impl Daemons<'_> {
    /// The process id and the command line of each.
    fn running(&self) -> Vec<(u32, String)> {
        let folder = self.0.display().to_string();
        let line = |pid: u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains("--serve") && line.contains(&folder)).then_some((pid, line))
        };

        processes::all().into_iter().filter_map(line).collect()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Daemons<'_> {
    fn drop(&mut self) {
        let pids: Vec<String> = self
            .running()
            .iter()
            .map(|(pid, _)| pid.to_string())
            .collect();
        processes::signal("KILL", &pids);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn another_settings_file_is_another_daemon() {
    use crate::support::program::{Program, command};

    let person = Person::new("");
    let folder = person.folder.path();
    let run = folder.join("run");
    fs::create_dir(&run).unwrap();
    person.write("# usual");
    let other = folder.join("other.toml");
    fs::write(&other, "# other").unwrap();

    let daemons = Daemons(folder);
    let mut proxies = Vec::new();
    for settings in [None, Some(&other), None, Some(&other)] {
        let mut shared = command(folder);
        shared.env("XDG_RUNTIME_DIR", &run).arg("--shared");
        if let Some(file) = settings {
            shared.arg("--settings").arg(file);
        }

        let mut proxy = Program::spawn(shared, folder);
        proxy.initialize().await;
        proxies.push(proxy);
    }

    // Each daemon has the file of those who started it.
    let running = daemons.running();
    let with_other = running
        .iter()
        .filter(|(_, line)| line.contains("other.toml"));
    assert_eq!((running.len(), with_other.count()), (2, 1), "{running:#?}");
}
