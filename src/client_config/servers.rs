//! The MCP servers in a client's configuration, and the changes to them.

use super::{
    ClientConfigError,
    client::Client,
    jsonc::{self, Node},
    launch::{Launch, SERVER_NAME},
    toml,
};

/// MCP server in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Name of the entry.
    pub name: String,
    /// How the client starts it. `None`: it is reached at a URL, or the entry is not complete.
    pub launch: Option<Launch>,
}

/// What a configuration says of our server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// Nothing, and the name `ssh` is free.
    Absent,
    /// Our server is there, under this name.
    Ours {
        /// Name of the entry.
        name: String,
        /// How the client starts it.
        launch: Launch,
    },
    /// The name `ssh` belongs to another server.
    Taken,
}

/// Returns the servers of a configuration.
///
/// # Errors
/// The text is not valid.
pub fn servers(client: Client, text: &str) -> Result<Vec<Server>, ClientConfigError> {
    if client == Client::Codex {
        let servers = toml::TomlDocument::parse(text)?.servers();
        return Ok(servers
            .into_iter()
            .map(|(name, launch)| Server { name, launch })
            .collect());
    }

    let document = jsonc::JsonDocument::parse(text)?;
    let Some(servers) = document.object(&[client.servers_key()])? else {
        return Ok(Vec::new());
    };

    let servers = servers.properties.iter().map(|member| {
        let entry = member.value.as_object();
        let value = |key| entry.and_then(|entry| entry.get(key)).map(|one| &one.value);
        let command = value("command").and_then(|command| command.as_string_lit());

        Server {
            name: member.name.as_str().to_owned(),
            launch: command.map(|command| Launch {
                command: command.value.to_string(),
                args: value("args").map(jsonc::strings).unwrap_or_default(),
            }),
        }
    });

    Ok(servers.collect())
}

/// Finds our server by what it starts, under any name.
///
/// # Errors
/// The text is not valid.
pub fn presence(client: Client, text: &str) -> Result<Presence, ClientConfigError> {
    let servers = servers(client, text)?;
    let is_taken = servers.iter().any(|server| server.name == SERVER_NAME);
    let ours = servers.into_iter().find_map(|Server { name, launch }| {
        let launch = launch.filter(Launch::is_ours)?;
        Some(Presence::Ours { name, launch })
    });

    Ok(match ours {
        Some(ours) => ours,
        None if is_taken => Presence::Taken,
        None => Presence::Absent,
    })
}

/// Returns the text with our server in it.
///
/// # Errors
/// The text is not valid, or cannot be changed.
pub fn add(client: Client, text: &str, launch: &Launch) -> Result<String, ClientConfigError> {
    if client == Client::Codex {
        return toml::TomlDocument::parse(text)?.with_server(SERVER_NAME, launch);
    }

    let mut entry = match client {
        Client::ClaudeCode | Client::VsCode => vec![("type", Node::text("stdio"))],
        // Zed before 2026 does not read an entry without it, and later versions ignore it.
        Client::Zed => vec![("source", Node::text("custom"))],
        Client::Codex | Client::Cursor | Client::Gemini => Vec::new(),
    };
    entry.push(("command", Node::text(&launch.command)));
    entry.push(("args", Node::texts(&launch.args)));

    jsonc::insert(
        text,
        &[client.servers_key()],
        SERVER_NAME,
        &Node::Object(entry),
    )
}

/// Returns the text with another command for the server of this name. Everything else of the entry
/// stays.
///
/// # Errors
/// The text is not valid, or has no such server.
pub fn set_launch(
    client: Client,
    text: &str,
    name: &str,
    launch: &Launch,
) -> Result<String, ClientConfigError> {
    if client == Client::Codex {
        return toml::TomlDocument::parse(text)?.with_launch(name, launch);
    }

    let command = [client.servers_key(), name, "command"];
    let text = jsonc::replace(text, &command, &Node::text(&launch.command))?;
    let args = [client.servers_key(), name, "args"];

    match jsonc::replace(&text, &args, &Node::texts(&launch.args)) {
        Err(ClientConfigError::Missing(_)) if launch.args.is_empty() => Ok(text),
        changed => changed,
    }
}

/// Returns the text without the server of this name, and without those of the `made` tables that
/// become empty.
///
/// # Errors
/// The text is not valid, or has no such server.
pub fn remove(
    client: Client,
    text: &str,
    name: &str,
    made: &[String],
) -> Result<String, ClientConfigError> {
    if client == Client::Codex {
        return toml::TomlDocument::parse(text)?.without_server(name);
    }

    let text = jsonc::remove_member(text, &[client.servers_key()], name)?;
    jsonc::prune(&text, made)
}

/// Returns the tables that [`add`] would make, as paths with dots.
#[must_use]
pub fn missing_tables(client: Client, text: &str) -> Vec<String> {
    if client == Client::Codex {
        return Vec::new();
    }
    jsonc::missing(text, &[&[client.servers_key()]])
}

/// Returns true if nothing but empty objects and white space is left of a configuration.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    let content: String = text
        .chars()
        .filter(|letter| !letter.is_whitespace() && *letter != '\u{feff}')
        .collect();
    matches!(content.as_str(), "" | "{}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npx() -> Launch {
        Launch::new("npx", ["-y", "mcp-ssh-sessions"])
    }

    #[test]
    fn each_client_gets_an_entry_that_is_found_and_removed() {
        for client in Client::ALL {
            for before in ["", "{}\n"] {
                let before = if client == Client::Codex { "" } else { before };
                let with = add(client, before, &npx()).unwrap();
                let expected = Presence::Ours {
                    name: "ssh".to_owned(),
                    launch: npx(),
                };
                assert_eq!(presence(client, &with), Ok(expected), "{with}");

                let without =
                    remove(client, &with, "ssh", &missing_tables(client, before)).unwrap();
                assert!(is_blank(&without), "{client:?}: {without:?}");
            }
        }
    }

    #[test]
    fn entries_look_like_those_in_the_clients_documentation() {
        let rows = [
            (
                Client::ClaudeCode,
                r#"{"mcpServers":{"ssh":{"type":"stdio","command":"npx","args":["-y","mcp-ssh-sessions"]}}}"#,
            ),
            (
                Client::VsCode,
                r#"{"servers":{"ssh":{"type":"stdio","command":"npx","args":["-y","mcp-ssh-sessions"]}}}"#,
            ),
            (
                Client::Cursor,
                r#"{"mcpServers":{"ssh":{"command":"npx","args":["-y","mcp-ssh-sessions"]}}}"#,
            ),
            (
                Client::Zed,
                r#"{"context_servers":{"ssh":{"source":"custom","command":"npx","args":["-y","mcp-ssh-sessions"]}}}"#,
            ),
        ];
        for (client, expected) in rows {
            let text = add(client, "", &npx()).unwrap();
            let compact: String = text.split_whitespace().collect();
            assert_eq!(compact, expected);
        }
    }

    #[test]
    fn our_server_is_found_under_any_name_and_others_are_not() {
        let rows = [
            ("{}", Presence::Absent),
            (
                r#"{"mcpServers": {"x": {"command": "y"}}}"#,
                Presence::Absent,
            ),
            (
                r#"{"mcpServers": {"ssh": {"command": "y"}}}"#,
                Presence::Taken,
            ),
            (
                r#"{"mcpServers": {"ssh": {"url": "http://h/"}}}"#,
                Presence::Taken,
            ),
            (r#"{"mcpServers": {"ssh": 1}}"#, Presence::Taken),
            (
                r#"{"mcpServers": {"mine": {"command": "/x/mcp-ssh-sessions"}}}"#,
                Presence::Ours {
                    name: "mine".to_owned(),
                    launch: Launch::new("/x/mcp-ssh-sessions", []),
                },
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(presence(Client::Cursor, text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn another_command_leaves_the_rest_of_the_entry() {
        let text = r#"{"mcpServers": {"ssh": {"command": "npx", "env": {"A": "b"}, "args": ["-y", "mcp-ssh-sessions"]}}}"#;
        let changed = set_launch(Client::Gemini, text, "ssh", &npx().with("--shared")).unwrap();
        assert_eq!(
            changed,
            text.replace("sessions\"]", "sessions\", \"--shared\"]")
        );
    }

    #[test]
    fn a_table_that_was_there_stays() {
        let text = "{\n  \"mcpServers\": {}\n}";
        let with = add(Client::Cursor, text, &npx()).unwrap();
        let made = missing_tables(Client::Cursor, text);
        assert_eq!(made, Vec::<String>::new());
        assert_eq!(remove(Client::Cursor, &with, "ssh", &made).unwrap(), text);
    }
}
