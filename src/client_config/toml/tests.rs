use super::*;

fn npx() -> Launch {
    Launch::new("npx", ["-y", "mcp-ssh-sessions"])
}

fn added(text: &str) -> String {
    let with = TomlDocument::parse(text)
        .unwrap()
        .with_server("ssh", &npx())
        .unwrap();
    let servers = TomlDocument::parse(&with).unwrap().servers();
    assert!(
        servers.contains(&("ssh".to_owned(), Some(npx()))),
        "{with}\n{servers:?}"
    );
    with
}

const OURS: &str = "[mcp_servers.ssh]\ncommand = \"npx\"\nargs = [\"-y\", \"mcp-ssh-sessions\"]\n";

#[test]
fn a_server_is_added_at_the_end() {
    let rows = [
        ("", OURS.to_owned()),
        ("model = \"x\"\n", format!("model = \"x\"\n\n{OURS}")),
        ("model = \"x\"", format!("model = \"x\"\n\n{OURS}")),
        ("# only this\n", format!("# only this\n\n{OURS}")),
        (
            "\u{feff}[a]\r\nb = 1 # c\r\n",
            format!(
                "\u{feff}[a]\r\nb = 1 # c\r\n\r\n{}",
                OURS.replace('\n', "\r\n")
            ),
        ),
        (
            "[mcp_servers.x]\ncommand = 'y'\n",
            format!("[mcp_servers.x]\ncommand = 'y'\n\n{OURS}"),
        ),
    ];
    for (before, expected) in rows {
        assert_eq!(added(before), expected);
    }
}

#[test]
fn removing_undoes_the_addition() {
    for before in ["", "a = 1\n", "# x\n\n[a]\n\n", "\u{feff}[a]\r\nb = 1\r\n"] {
        let with = added(before);
        for behind in ["", "\n# mine\n[other]\nx = 1\n"] {
            let edited = format!("{with}{behind}");
            let without = TomlDocument::parse(&edited)
                .unwrap()
                .without_server("ssh")
                .unwrap();
            assert_eq!(without, format!("{before}{behind}"));
        }
    }
}

#[test]
fn tables_below_the_server_go_with_it() {
    let text = format!("{OURS}\n[mcp_servers.ssh.env]\nA = \"b\" # c\n\n[z]\n");
    let without = TomlDocument::parse(&text)
        .unwrap()
        .without_server("ssh")
        .unwrap();
    assert_eq!(without, "\n[z]\n");
}

#[test]
fn servers_are_read_in_every_spelling() {
    let texts = [
        "[mcp_servers.ssh]\ncommand = 'npx'\nargs = ['-y', \"mcp-ssh-sessions\"]",
        "[mcp_servers.\"ssh\"]\ncommand = \"\"\"npx\"\"\"\nargs = [\n  '-y', # yes\n  'mcp-ssh-sessions',\n]",
        "[mcp_servers]\nssh = { command = \"npx\", args = [\"-y\", \"mcp-ssh-sessions\"] }",
        "mcp_servers.ssh.command = \"n\\u0070x\"\nmcp_servers.ssh.args = [\"-y\", \"mcp-ssh-sessions\"]",
        "mcp_servers = { ssh = { env = { A = [[1], ['x']] }, command = 'npx', args = ['-y', 'mcp-ssh-sessions'] } }",
    ];
    for text in texts {
        let servers = TomlDocument::parse(text).unwrap().servers();
        assert_eq!(servers, [("ssh".to_owned(), Some(npx()))], "{text}");
    }

    let url = "[mcp_servers.ssh]\nurl = 'http://127.0.0.1:7722/mcp'";
    assert_eq!(
        TomlDocument::parse(url).unwrap().servers(),
        [("ssh".to_owned(), None)]
    );
}

#[test]
fn the_command_of_a_server_is_replaced() {
    let text = "[mcp_servers.ssh]\nargs = ['a'] # b\ncommand = 'x' # y\nenabled = true\n";
    let changed = TomlDocument::parse(text)
        .unwrap()
        .with_launch("ssh", &Launch::new(r"C:\x", ["--shared"]))
        .unwrap();
    assert_eq!(
        changed,
        "[mcp_servers.ssh]\nargs = [\"--shared\"] # b\ncommand = \"C:\\\\x\" # y\nenabled = true\n"
    );
}

#[test]
fn what_cannot_be_changed_is_refused() {
    for text in ["a = ", "[a", "a = 1 b = 2", "x = \"\u{1}\"", "a = \"\\q\""] {
        assert!(TomlDocument::parse(text).is_err(), "{text}");
    }

    let error = TomlDocument::parse("a = 1\n[b\n").unwrap_err().to_string();
    assert!(error.starts_with("line 2 is not valid TOML: "), "{error}");

    let inline = "mcp_servers = { x = { command = 'y' } }\n";
    let document = TomlDocument::parse(inline).unwrap();
    assert!(document.with_server("ssh", &npx()).is_err());
    let inline = "[mcp_servers]\nssh = { command = 'npx', args = ['mcp-ssh-sessions'] }\n";
    assert!(
        TomlDocument::parse(inline)
            .unwrap()
            .without_server("ssh")
            .is_err()
    );
}
