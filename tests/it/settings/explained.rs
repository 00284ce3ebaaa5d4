//! `mcp-ssh-sessions settings HOST`.

use serde_json::{Value, json};

use super::{Person, names, verdicts};
use crate::support::{fixture, mcp_client::McpClient};

/// Hosts with addresses of their own, so that no name server is asked.
const SSH_CONFIG: &str = "
Host prod-web
  HostName 192.0.2.1
Host prod-db
  HostName 192.0.2.2
  Port 2222
Host web
  HostName 192.0.2.1
Host v6
  HostName 2001:db8::0:1
Host behind
  HostName 192.0.2.9
  ProxyJump me@gate:2200,inner
Host gate
  HostName 192.0.2.20
Host inner
  HostName 192.0.2.21
Host command
  HostName 192.0.2.9
  ProxyCommand nc %h %p
Host same-port
  HostName 192.0.2.3
Host other-port
  HostName 192.0.2.3
  Port 2222
";

#[tokio::test]
async fn each_setting_is_told_with_its_section_and_name() {
    let person = Person::new(SSH_CONFIG);
    person.write(
        "[default]\nconnect = 'ask'\n\
         [host.'prod-*']\naccess = 'read'\n\
         [host.'192.0.2.0/30']\nsudo = 'never'\n\
         [host.web]\nrun = 'ask'\n\
         [local]\nroots = ['~/work', '/srv']\n\
         [audit]\nrequired = true\n",
    );
    let file = person.file().display().to_string();

    person.settings("prod-web").await.has(
        0,
        &[
            &format!("settings file: {file}\n"),
            "names of prod-web: prod-web (as given), 192.0.2.1 (HostName)",
            "\nconnect = \"allow\": no section says otherwise\n",
            "\naccess = \"read\": [host.\"prod-*\"], which matches prod-web\n",
            "\nsudo = \"never\": [host.\"192.0.2.0/30\"], which matches 192.0.2.1\n",
            "\nconnect (ssh_connect, ssh_reconnect) goes\n",
            "\nread (ssh_read, ssh_search, ssh_download) goes\n",
            "\nrun (ssh_exec, ssh_shell, ssh_edit, ssh_upload) is refused: access = \"read\" in \
             [host.\"prod-*\"], which matches prod-web\n",
            "\nsudo (any tool with sudo) is refused: access = \"read\" in",
            "\nforward (ssh_forward) is refused: access = \"read\" in",
            "\nlocal roots: ~/work, /srv\n",
            "\naudit: the usual file, required = true",
        ],
    );

    person.settings("elsewhere.invalid").await.has(
        0,
        &[
            "connect = \"ask\": [default], because no other section names elsewhere.invalid",
            "perhaps other addresses",
            "asks the person: connect = \"ask\" in [default]",
        ],
    );
}

#[tokio::test]
async fn without_a_file_everything_goes() {
    let person = Person::new(SSH_CONFIG);
    person.settings("web").await.has(
        0,
        &[
            "(there is no such file, so everything is allowed)",
            "run = \"allow\": no section says otherwise",
            "forward (ssh_forward) goes",
            "local roots: not set",
            "audit: off",
        ],
    );

    let told = person.json("web").await;
    assert_eq!(
        (&told["isThere"], verdicts(&told).as_str()),
        (&json!(false), "allow allow allow allow allow")
    );
    assert!(told["error"].is_null());
}

#[tokio::test]
async fn a_host_is_known_under_all_its_names() {
    const FREE: &str = "allow allow allow allow allow";
    const READ: &str = "allow allow refuse refuse refuse";

    let person = Person::new(SSH_CONFIG);
    person.write(
        "[host.'prod-*']\naccess = 'read'\n\
         [host.other-port]\naccess = 'never'\n\
         [host.'2001:DB8:0::1']\nrun = 'never'\n",
    );

    for (host, expected_names, expected) in [
        // A person who asks for an alias means it.
        ("web", "asked:web hostName:192.0.2.1", FREE),
        ("prod-web", "asked:prod-web hostName:192.0.2.1", READ),
        // Somebody who asks for an address means whatever is there.
        ("192.0.2.1", "asked:192.0.2.1 alias:prod-web", READ),
        ("root@192.0.2.1", "asked:192.0.2.1 alias:prod-web", READ),
        ("ssh://192.0.2.1:22", "asked:192.0.2.1 alias:prod-web", READ),
        ("::ffff:192.0.2.1", "asked:192.0.2.1 alias:prod-web", READ),
        // Other spellings of the address, as inet_aton(3) reads them.
        (
            "3221225985",
            "asked:3221225985 hostName:192.0.2.1 alias:prod-web",
            READ,
        ),
        // Another port is another host.
        ("ssh://192.0.2.1:2222", "asked:192.0.2.1", FREE),
        (
            "ssh://192.0.2.2:2222",
            "asked:192.0.2.2 alias:prod-db",
            READ,
        ),
        ("192.0.2.3", "asked:192.0.2.3", FREE),
        // An alias with another port leads elsewhere than the alias.
        (
            "ssh://same-port:2222",
            "asked:same-port hostName:192.0.2.3 alias:other-port",
            "refuse refuse refuse refuse refuse",
        ),
        (
            "v6",
            "asked:v6 hostName:2001:db8::1",
            "allow allow refuse refuse allow",
        ),
        (
            "2001:db8:0:0::1",
            "asked:2001:db8::1",
            "allow allow refuse refuse allow",
        ),
    ] {
        let told = person.json(host).await;
        assert_eq!(names(&told), expected_names, "{host}: {told}");
        assert_eq!(verdicts(&told), expected, "{host}: {told}");
    }
}

#[tokio::test]
async fn jump_hosts_are_held_to_their_own_rules() {
    let person = Person::new(SSH_CONFIG);

    for (rules, verdict, jump) in [
        ("[host.inner]\naccess = 'read'", "allow", Value::Null),
        ("[host.inner]\nrun = 'never'", "allow", Value::Null),
        ("[host.inner]\nconnect = 'ask'", "ask", json!("inner")),
        ("[host.gate]\nconnect = 'never'", "refuse", json!("gate")),
        ("[host.gate]\naccess = 'never'", "refuse", json!("gate")),
        (
            "[host.'192.0.2.20']\naccess = 'never'",
            "refuse",
            json!("gate"),
        ),
        ("[host.'*']\nconnect = 'ask'", "ask", Value::Null),
        (
            "[default]\nconnect = 'never'\n[host.behind]",
            "refuse",
            json!("inner"),
        ),
    ] {
        person.write(rules);
        let told = person.json("behind").await;
        let connect = &told["work"][0];
        assert_eq!(
            (&connect["verdict"], &connect["jumpHost"]),
            (&json!(verdict), &jump),
            "{rules}: {told}"
        );

        let jumps = told["jumpHosts"].as_array().unwrap();
        assert_eq!(
            jumps.iter().map(names).collect::<Vec<_>>(),
            [
                "asked:inner hostName:192.0.2.21",
                "asked:gate hostName:192.0.2.20"
            ]
        );
    }

    // The last of these looks names up, and this machine does not know what it finds.
    for (host, is_open) in [("behind", true), ("command", true), ("web", false)] {
        let told = person.json(host).await;
        assert_eq!(told["mayHaveOtherAddresses"], is_open, "{told}");
    }

    person.write("[host.gate]\nconnect = 'never'");
    person.settings("behind").await.has(
        0,
        &[
            "jump host: gate (as given), 192.0.2.20 (HostName)\n    connect = \"never\": [host.gate]",
            "run (ssh_exec, ssh_shell, ssh_edit, ssh_upload) is refused: connect = \"never\" in \
             [host.gate], which matches gate at the jump host gate",
        ],
    );
}

#[tokio::test]
async fn the_file_can_be_named() {
    let person = Person::new(SSH_CONFIG);
    person.write("[host.web]\nrun = 'ask'");
    let other = person.folder.path().join("other.toml");
    std::fs::write(&other, "[host.web]\nrun = 'never'").unwrap();
    let run = "\nrun = \"never\": [host.web], which matches web\n";

    let mut by_option = person.command();
    by_option
        .arg("--settings")
        .arg(&other)
        .args(["settings", "web"]);
    person.said(&mut by_option).await.has(0, &[run]);

    let mut by_environment = person.command();
    by_environment
        .env("MCP_SSH_SETTINGS", "other.toml")
        .current_dir(person.folder.path())
        .args(["settings", "web"]);
    person.said(&mut by_environment).await.has(0, &[run]);

    let mut missing = person.command();
    missing.args(["--settings", "/nowhere/x.toml", "settings", "web"]);
    person.said(&mut missing).await.has(
        1,
        &[
            "the settings file /nowhere/x.toml cannot be used",
            "there is no such file",
        ],
    );
}

#[tokio::test]
async fn a_saved_session_is_its_host() {
    let person = Person::new(SSH_CONFIG);
    std::fs::write(
        person.folder.path().join("sessions.json"),
        json!({"version": 1, "sessions": [{"name": "shop", "host": "192.0.2.1"}]}).to_string(),
    )
    .unwrap();
    person.write("[host.prod-web]\naccess = 'read'");

    let told = person.json("shop").await;
    assert_eq!(names(&told), "asked:192.0.2.1 alias:prod-web");
}

#[tokio::test]
async fn every_tool_is_in_the_explanation() {
    /// Tools that do nothing on a host, and `ssh_job`, which goes on with what was allowed.
    const ALWAYS: [&str; 4] = [
        "ssh_sessions",
        "ssh_disconnect",
        "ssh_set_default",
        "ssh_job",
    ];

    let person = Person::new(SSH_CONFIG);
    let told = person.json("web").await;
    let registry = fixture::registry(&person.folder.path().join("ssh_config"));
    let mut client = McpClient::with_registry(registry);
    client.initialize().await;

    let listed = client.request("tools/list", json!({})).await;
    for tool in listed["result"]["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        assert!(
            ALWAYS.contains(&name) || told["work"].to_string().contains(&format!("\"{name}\"")),
            "{name}"
        );
    }
}
