//! The call that a client is about to make, as its hook's standard input describes it (pure).
//!
//! Claude Code and Codex use the same JSON, see <https://code.claude.com/docs/en/hooks> and
//! <https://developers.openai.com/codex/hooks>.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Names of tools that run a command line of a shell on this machine.
const SHELLS: [&str; 3] = ["Bash", "Monitor", "PowerShell"];

/// Call of a tool that waits for the answer of the hook.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HookCall {
    pub(super) event: HookEvent,
    /// True if the client can be told to ask the user. Codex cannot.
    pub(super) can_ask: bool,
    pub(super) tool: CalledTool,
}

/// Moment at which the client runs the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HookEvent {
    /// Before each call of a tool.
    PreToolUse,
    /// When the client is about to ask the user about a call.
    PermissionRequest,
}

/// Tool that is called.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CalledTool {
    /// Tool of an MCP server, without the name of the server.
    Mcp {
        name: String,
        arguments: Map<String, Value>,
    },
    /// Shell of this machine, with the command line.
    Shell(String),
}

/// Reason why the input of a hook cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The text is not JSON, or lacks a part.
    #[error("the client's description of the call cannot be read ({0})")]
    Json(#[from] serde_json::Error),
    /// The arguments of this tool have another form.
    #[error("the client's description of the call has no arguments of {0}")]
    Arguments(String),
}

/// Fields that are read. Clients add others.
#[derive(Deserialize)]
struct Wire {
    hook_event_name: String,
    tool_name: Option<String>,
    #[serde(default)]
    tool_input: Value,
    /// Only Codex has turns.
    turn_id: Option<Value>,
}

impl HookCall {
    /// Reads a description. Returns `None` for an event or a tool about which the hook says
    /// nothing.
    ///
    /// # Errors
    /// The text does not describe a call.
    pub(super) fn parse(text: &[u8]) -> Result<Option<Self>, CallError> {
        let wire: Wire = serde_json::from_slice(text)?;
        let event = match wire.hook_event_name.as_str() {
            "PreToolUse" => HookEvent::PreToolUse,
            "PermissionRequest" => HookEvent::PermissionRequest,
            _ => return Ok(None),
        };

        let Some(name) = wire.tool_name else {
            return Err(CallError::Arguments("a tool".to_owned()));
        };

        let tool = match (tool_of_server(&name), wire.tool_input) {
            (Some(tool), Value::Object(arguments)) => CalledTool::Mcp {
                name: tool.to_owned(),
                arguments,
            },
            (None, _) if !SHELLS.contains(&name.as_str()) => return Ok(None),
            (None, Value::Object(mut arguments)) => match arguments.remove("command") {
                Some(Value::String(command)) => CalledTool::Shell(command),
                // `Monitor` may watch something else than a command.
                None if name != "Bash" => return Ok(None),
                _ => return Err(CallError::Arguments(name)),
            },
            _ => return Err(CallError::Arguments(name)),
        };

        Ok(Some(Self {
            event,
            can_ask: wire.turn_id.is_none(),
            tool,
        }))
    }
}

/// Returns the name of a tool within its MCP server: `ssh_exec` of `mcp__ssh__ssh_exec` or
/// `mcp__plugin_ssh_ssh__ssh_exec`.
fn tool_of_server(name: &str) -> Option<&str> {
    let (_, tool) = name.strip_prefix("mcp__")?.rsplit_once("__")?;
    Some(tool)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A description, with a tool and its input.
    fn described(event: &str, tool: &str, input: &Value, more: &Value) -> Vec<u8> {
        let mut call = json!({
            "session_id": "s",
            "cwd": "/",
            "permission_mode": "default",
            "hook_event_name": event,
            "tool_name": tool,
            "tool_input": input,
            "tool_use_id": "t",
        });

        for (key, value) in more.as_object().unwrap() {
            call[key] = value.clone();
        }

        call.to_string().into_bytes()
    }

    /// What was read, in short: `tool {arguments}` or `$ command`, with `?` if the client can ask.
    fn short(text: &[u8]) -> String {
        match HookCall::parse(text) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(call)) => {
                let tool = match call.tool {
                    CalledTool::Mcp { name, arguments } => {
                        format!("{name} {}", Value::Object(arguments))
                    }
                    CalledTool::Shell(command) => format!("$ {command}"),
                };

                let asks = if call.can_ask { " ?" } else { "" };
                format!("{:?} {tool}{asks}", call.event)
            }
            Err(_) => "error".to_owned(),
        }
    }

    #[test]
    fn both_clients_are_understood() {
        let none = json!({});
        let codex = json!({"turn_id": "t", "model": "m"});
        let input = json!({"session": "web"});
        for (event, tool, input, more, expected) in [
            (
                "PreToolUse",
                "mcp__ssh__ssh_exec",
                &input,
                &none,
                r#"PreToolUse ssh_exec {"session":"web"} ?"#,
            ),
            (
                "PreToolUse",
                "mcp__plugin_mcp-ssh_my__ssh__ssh_read",
                &input,
                &none,
                r#"PreToolUse ssh_read {"session":"web"} ?"#,
            ),
            (
                "PermissionRequest",
                "mcp__ssh__ssh_exec",
                &input,
                &codex,
                r#"PermissionRequest ssh_exec {"session":"web"}"#,
            ),
            (
                "PreToolUse",
                "Bash",
                &json!({"command": "ls", "timeout": 1}),
                &codex,
                "PreToolUse $ ls",
            ),
            ("PostToolUse", "Bash", &json!(1), &none, "nothing"),
            (
                "PreToolUse",
                "Read",
                &json!({"file_path": "/"}),
                &none,
                "nothing",
            ),
            ("PreToolUse", "ssh_exec", &input, &none, "nothing"),
            ("PreToolUse", "mcp__ssh", &input, &none, "nothing"),
            (
                "PreToolUse",
                "Monitor",
                &json!({"ws": "x"}),
                &none,
                "nothing",
            ),
            (
                "PreToolUse",
                "mcp__ssh__ssh_exec",
                &json!("x"),
                &none,
                "error",
            ),
            (
                "PreToolUse",
                "mcp__ssh__ssh_exec",
                &Value::Null,
                &none,
                "error",
            ),
            ("PreToolUse", "Bash", &json!({"command": 1}), &none, "error"),
            ("PreToolUse", "Bash", &json!({}), &none, "error"),
        ] {
            let text = described(event, tool, input, more);
            assert_eq!(short(&text), expected, "{event} {tool} {input}");
        }
    }

    #[test]
    fn what_is_no_description_is_an_error() {
        for text in [
            "",
            "x",
            "{",
            "[]",
            "{}",
            "\u{feff}{}",
            r#"{"hook_event_name": 1}"#,
        ] {
            assert_eq!(short(text.as_bytes()), "error", "{text}");
        }

        assert_eq!(short(br#"{"hook_event_name":"PreToolUse"}"#), "error");
        assert_eq!(short(b"\xff"), "error");
    }
}
