//! The hook `mcp-ssh-sessions hook` in the configurations of Claude Code and Codex.

use jsonc_parser::ast::Value;

use super::{
    ClientConfigError,
    client::Client,
    jsonc::{self, Node},
    launch::Launch,
    toml::TomlDocument,
};

/// Key of all hooks. The same in both clients.
const HOOKS: &str = "hooks";

/// Returns the events at which the client runs the hook.
///
/// Codex does not let a hook ask before a call. It has an event for calls about which it asks
/// itself.
fn events(client: Client) -> &'static [&'static str] {
    match client {
        Client::ClaudeCode => &["PreToolUse"],
        Client::Codex => &["PreToolUse", "PermissionRequest"],
        Client::VsCode | Client::Cursor | Client::Gemini | Client::Zed => &[],
    }
}

/// Returns the pattern of the tools about which the hook has something to say: those of our server,
/// which has this name in the client, and shells of this machine, which could run plain `ssh`.
fn matcher(client: Client, server: &str) -> String {
    // Clients write names of tools with these letters only.
    let is_kept = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let server: String = server
        .chars()
        .map(|letter| if is_kept(letter) { letter } else { '_' })
        .collect();

    match client {
        // Codex calls all of its shells `Bash`.
        Client::Codex => format!("^(mcp__{server}__.*|Bash)$"),
        _ => format!("mcp__{server}__.*|Bash|Monitor|PowerShell"),
    }
}

/// Returns the command of the hook, for the shell of the client.
#[must_use]
pub fn command(program: &str) -> String {
    // Clients on Windows run hooks in bash or PowerShell. Both take slashes in a path.
    let program = if cfg!(windows) {
        program.replace('\\', "/")
    } else {
        program.to_owned()
    };

    Launch::new(&program, ["hook"]).shell_line()
}

/// Returns the program of a hook's command, without its quotes.
#[must_use]
pub fn program(command: &str) -> &str {
    for quote in ['\'', '"'] {
        if let Some(quoted) = command.strip_prefix(quote) {
            return quoted.split(quote).next().unwrap_or(quoted);
        }
    }
    command.split_whitespace().next().unwrap_or(command)
}

/// Returns true if the hook is in Codex's `config.toml`, which may hold hooks as well.
///
/// # Errors
/// The text is not valid.
pub fn is_in_codex_config(text: &str) -> Result<bool, ClientConfigError> {
    let document = TomlDocument::parse(text)?;
    Ok(document.hook_commands().into_iter().any(is_ours))
}

/// Returns the command of our hook in this configuration, or `None` if it is not at each of the
/// client's events.
///
/// # Errors
/// The text is not valid.
pub fn find(client: Client, text: &str) -> Result<Option<String>, ClientConfigError> {
    let document = jsonc::JsonDocument::parse(text)?;
    let mut found = None;
    for event in events(client) {
        let list = document.value(&[HOOKS, event])?;
        let Some(command) = list.and_then(|list| elements(list).iter().find_map(our_command))
        else {
            return Ok(None);
        };
        found = Some(command);
    }

    Ok(found)
}

/// Returns the text with the hook at each of the client's events, in place of one that is there.
/// The `server` is the name of our server in the client.
///
/// # Errors
/// The text is not valid, or has other values where hooks belong.
pub fn add(
    client: Client,
    text: &str,
    command: &str,
    server: &str,
) -> Result<String, ClientConfigError> {
    let handler = Node::Object(vec![
        ("type", Node::text("command")),
        ("command", Node::text(command)),
    ]);
    let element = Node::Object(vec![
        ("matcher", Node::text(&matcher(client, server))),
        (HOOKS, Node::List(vec![handler])),
    ]);

    let mut text = remove(client, text, &[])?;
    for event in events(client) {
        text = jsonc::append(&text, &[HOOKS, event], &element)?;
    }

    Ok(text)
}

/// Returns the text without our hook, and without those of the `made` lists that become empty.
///
/// # Errors
/// The text is not valid.
pub fn remove(client: Client, text: &str, made: &[String]) -> Result<String, ClientConfigError> {
    let mut text = text.to_owned();
    for event in events(client) {
        while let Some(index) = position(&text, event)? {
            text = jsonc::remove(&text, &[HOOKS, event], index)?;
        }
    }

    jsonc::prune(&text, made)
}

/// Returns the objects and lists that [`add`] would make, as paths with dots.
#[must_use]
pub fn missing_tables(client: Client, text: &str) -> Vec<String> {
    let lists: Vec<[&str; 2]> = events(client).iter().map(|event| [HOOKS, event]).collect();
    let mut paths: Vec<&[&str]> = vec![&[HOOKS]];
    paths.extend(lists.iter().map(<[_; 2]>::as_slice));
    jsonc::missing(text, &paths)
}

/// Returns the number of our element in the list of an event.
fn position(text: &str, event: &str) -> Result<Option<usize>, ClientConfigError> {
    let document = jsonc::JsonDocument::parse(text)?;
    let list = document.value(&[HOOKS, event])?;
    Ok(list.and_then(|list| {
        elements(list)
            .iter()
            .position(|element| our_command(element).is_some())
    }))
}

/// Returns the elements of a list; none of any other value.
fn elements<'a, 'b>(value: &'b Value<'a>) -> &'b [Value<'a>] {
    value
        .as_array()
        .map_or(&[], |array| array.elements.as_slice())
}

/// Returns the command if the only handler of this element is our hook. An element that also has
/// handlers of others is theirs.
fn our_command(element: &Value<'_>) -> Option<String> {
    let handlers = &element.as_object()?.get(HOOKS)?.value;
    let [handler] = elements(handlers) else {
        return None;
    };
    let command = &handler.as_object()?.get("command")?.value;
    let command = command.as_string_lit()?.value.to_string();

    is_ours(&command).then_some(command)
}

/// Returns true if this command runs our hook: by a path, a name or `npx`, with any options.
fn is_ours(command: &str) -> bool {
    let program = program(command);
    let words = command.split_whitespace();
    let launch = Launch::new(program, words.clone());

    launch.is_ours() && words.clone().any(|word| word == "hook")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "/usr/bin/mcp-ssh-sessions hook";

    #[test]
    fn the_hook_is_added_once_and_removed() {
        let rows = [
            "{}",
            "{\n  \"model\": \"x\"\n}\n",
            "{\n  \"hooks\": {}\n}\n",
            "{\n  \"hooks\": {\n    \"PreToolUse\": [\n      {\n        \"matcher\": \"Bash\",\n        \"hooks\": [\n          { \"type\": \"command\", \"command\": \"theirs\" }\n        ]\n      }\n    ]\n  }\n}\n",
        ];
        for client in [Client::ClaudeCode, Client::Codex] {
            for before in rows {
                let made = missing_tables(client, before);
                let with = add(client, before, COMMAND, "ssh").unwrap();
                assert_eq!(find(client, &with), Ok(Some(COMMAND.to_owned())), "{with}");

                let again = add(client, &with, COMMAND, "ssh").unwrap();
                assert_eq!(again, with);
                assert_eq!(remove(client, &with, &made).unwrap(), before, "{with}");
            }
        }
    }

    #[test]
    fn an_element_of_others_is_not_ours() {
        let text = r#"{"hooks": {"PreToolUse": [{"hooks": [
            {"command": "/usr/bin/mcp-ssh-sessions hook"}, {"command": "theirs"}]}]}}"#;
        assert_eq!(find(Client::ClaudeCode, text), Ok(None));
        assert_eq!(remove(Client::ClaudeCode, text, &[]).unwrap(), text);
    }

    #[test]
    fn a_program_with_a_space_is_quoted_and_found() {
        let command = command("/opt/my tools/mcp-ssh-sessions");
        assert_eq!(command, "'/opt/my tools/mcp-ssh-sessions' hook");
        assert_eq!(program(&command), "/opt/my tools/mcp-ssh-sessions");
        let with = add(Client::ClaudeCode, "", &command, "ssh").unwrap();
        assert_eq!(find(Client::ClaudeCode, &with), Ok(Some(command)));
    }

    #[test]
    fn only_tools_of_our_server_and_shells_match() {
        let rows = [
            (Client::ClaudeCode, "mcp__ssh__.*|Bash|Monitor|PowerShell"),
            (Client::Codex, "^(mcp__ssh__.*|Bash)$"),
        ];
        for (client, expected) in rows {
            let with = add(client, "", COMMAND, "ssh").unwrap();
            assert!(
                with.contains(&format!("\"matcher\": \"{expected}\"")),
                "{with}"
            );
        }

        let with = add(Client::ClaudeCode, "", COMMAND, "my.hosts (2)").unwrap();
        assert!(with.contains("mcp__my_hosts__2___.*"), "{with}");
    }

    #[test]
    fn a_hook_that_the_user_has_written_is_ours() {
        let commands = [
            "mcp-ssh-sessions hook",
            "mcp-ssh-sessions hook --settings '/home/me/my settings.toml'",
            "npx -y mcp-ssh-sessions@0.1.0 hook",
            "\"/opt/my tools/mcp-ssh-sessions\" hook",
        ];
        for command in commands {
            assert!(is_ours(command), "{command}");
            let toml = format!(
                "[[hooks.PreToolUse]]\n[[hooks.PreToolUse.hooks]]\ntype = 'command'\ncommand = {command:?}\n"
            );
            assert_eq!(is_in_codex_config(&toml), Ok(true), "{command}");
        }

        for command in ["mcp-ssh-sessions", "ssh hook", "echo hook"] {
            assert!(!is_ours(command), "{command}");
        }
    }
}
