//! What a call of a tool does on which host, before the call is made.

use std::sync::Arc;

use rmcp::model::JsonObject;
use serde_json::Value;

use super::{
    connect, download, edit, exec, find, forward, read, reconnect, search, shell,
    transfer::session_and_path, upload,
};
use crate::{mcp::call::params, settings::Operation};

/// Host that a call names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TouchedHost {
    /// The default session.
    Default,
    /// The session of this name, or of a name that matches this pattern.
    Session(String),
    /// A host to connect to, as `ssh_connect` takes it.
    Typed {
        /// Destination, or a command line of `ssh`.
        host: String,
        /// Port, if it is given apart from the destination.
        port: Option<u16>,
    },
}

/// Work of a call on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The host.
    pub host: TouchedHost,
    /// The work.
    pub operation: Operation,
    /// True if files of this machine are sent or written.
    pub moves_local_files: bool,
}

/// Returns what a call of the tool `name` does on hosts.
///
/// The result is empty for an unknown tool, for a tool that works on no host, and for arguments
/// that the tool refuses. `ssh_job` works on commands that were allowed before, so it counts as a
/// tool that works on no host.
#[must_use]
pub fn touches(name: &str, arguments: JsonObject) -> Vec<Touch> {
    let Some(tool) = find(name) else {
        return Vec::new();
    };

    let schema = Arc::clone(&tool.input_schema);
    match params::with_own_names(name, &schema, Some(arguments)) {
        Ok(arguments) => all(name, &Arguments(arguments)),
        Err(_) => Vec::new(),
    }
}

/// Returns the work of a call whose arguments have the parameters' own names.
fn all(name: &str, arguments: &Arguments) -> Vec<Touch> {
    let session = || arguments.session();
    let touch = |host, operation| Touch {
        host,
        operation,
        moves_local_files: false,
    };

    match name {
        exec::NAME => arguments
            .sessions()
            .into_iter()
            .map(|host| touch(host, arguments.or_sudo(Operation::Run)))
            .collect(),
        // A shell of another user is started by sudo.
        shell::NAME if arguments.text("user").is_some() => {
            vec![touch(session(), Operation::Sudo)]
        }
        shell::NAME | edit::NAME => vec![touch(session(), arguments.or_sudo(Operation::Run))],
        read::NAME | search::NAME => vec![touch(session(), arguments.or_sudo(Operation::Read))],
        upload::NAME => arguments.transfer(Operation::Run, Operation::Read),
        download::NAME => arguments.transfer(Operation::Read, Operation::Run),
        // Without `to` it lists forwards, or closes one.
        forward::NAME if arguments.text("to").is_some() => {
            vec![touch(session(), Operation::Forward)]
        }
        reconnect::NAME => vec![touch(session(), Operation::Connect)],
        connect::NAME => arguments
            .text("host")
            .map(|host| TouchedHost::Typed {
                host: host.to_owned(),
                port: arguments.port(),
            })
            .map(|host| touch(host, Operation::Connect))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// Arguments of a call, with the parameters' own names.
struct Arguments(JsonObject);

impl Arguments {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn port(&self) -> Option<u16> {
        let port = self.0.get("port").and_then(Value::as_u64)?;
        u16::try_from(port).ok()
    }

    fn session(&self) -> TouchedHost {
        self.text("session").map_or(TouchedHost::Default, |name| {
            TouchedHost::Session(name.to_owned())
        })
    }

    /// Returns the sessions of `ssh_exec` or `ssh_upload`: those of the list `sessions`, else the
    /// one of `session`.
    fn sessions(&self) -> Vec<TouchedHost> {
        let listed = self.0.get("sessions").and_then(Value::as_array);
        let Some(listed) = listed else {
            return vec![self.session()];
        };

        let names = listed.iter().filter_map(Value::as_str);
        names
            .map(|name| TouchedHost::Session(name.to_owned()))
            .collect()
    }

    /// Returns the work of a transfer on its hosts, and on the host of a local path of the form
    /// `session:/path`.
    fn transfer(&self, operation: Operation, on_other_side: Operation) -> Vec<Touch> {
        let local_path = self.text("localPath").unwrap_or_default();
        let other_side = session_and_path(local_path).map(|(name, _)| Touch {
            host: TouchedHost::Session(name.to_owned()),
            operation: on_other_side,
            moves_local_files: false,
        });

        let is_from_here = other_side.is_none();
        let own = self.sessions().into_iter().map(|host| Touch {
            host,
            operation,
            moves_local_files: is_from_here,
        });

        own.chain(other_side).collect()
    }

    fn or_sudo(&self, operation: Operation) -> Operation {
        let is_sudo = self.0.get("sudo").and_then(Value::as_bool);
        if is_sudo == Some(true) {
            Operation::Sudo
        } else {
            operation
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a call does, in short: `operation host`, with `-` for the default session and `+` for
    /// files of this machine.
    fn short(tool: &str, arguments: Value) -> String {
        let Value::Object(arguments) = arguments else {
            panic!("{arguments} is no object");
        };

        let touches = touches(tool, arguments).into_iter().map(|touch| {
            let host = match touch.host {
                TouchedHost::Default => "-".to_owned(),
                TouchedHost::Session(name) => name,
                TouchedHost::Typed { host, port } => format!("{host}:{}", port.unwrap_or(0)),
            };
            let files = if touch.moves_local_files { " +" } else { "" };
            format!("{:?} {host}{files}", touch.operation)
        });

        touches.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_work_of_a_call_is_known_before_it_is_made() {
        for (tool, arguments, expected) in [
            ("ssh_exec", json!({"command": "id"}), "Run -"),
            (
                "ssh_exec",
                json!({"command": "id", "session": "web"}),
                "Run web",
            ),
            (
                "ssh_exec",
                json!({"command": "id", "sessions": ["web*", "db"]}),
                "Run web*, Run db",
            ),
            (
                "ssh_exec",
                json!({"command": "id", "session": "web", "sudo": true}),
                "Sudo web",
            ),
            // Other spellings mean the same.
            (
                "ssh_exec",
                json!({"cmd": "id", "session_name": "web", "as_root": "true"}),
                "Sudo web",
            ),
            ("ssh_exec", json!({"command": "id", "nonsense": 1}), ""),
            ("ssh_exec", json!({"session": "a", "sessionName": "b"}), ""),
            ("ssh_shell", json!({"command": "id"}), "Run -"),
            (
                "ssh_shell",
                json!({"command": "id", "user": "bob"}),
                "Sudo -",
            ),
            (
                "ssh_read",
                json!({"path": "/a", "session": "web"}),
                "Read web",
            ),
            ("ssh_read", json!({"path": "/a", "sudo": true}), "Sudo -"),
            ("ssh_search", json!({"pattern": "a"}), "Read -"),
            (
                "ssh_edit",
                json!({"path": "/a", "session": "web"}),
                "Run web",
            ),
            (
                "ssh_upload",
                json!({"localPath": "a", "remotePath": "b", "session": "web"}),
                "Run web +",
            ),
            (
                "ssh_upload",
                json!({"source": "db:/a", "destination": "b", "session": "web"}),
                "Run web, Read db",
            ),
            (
                "ssh_upload",
                json!({"localPath": "a", "remotePath": "b", "sessions": ["web*", "db"]}),
                "Run web* +, Run db +",
            ),
            (
                "ssh_download",
                json!({"remotePath": "b", "localPath": "a"}),
                "Read - +",
            ),
            (
                "ssh_download",
                json!({"remotePath": "b", "localPath": "db:/a", "session": "web"}),
                "Read web, Run db",
            ),
            ("ssh_forward", json!({"session": "web"}), ""),
            (
                "ssh_forward",
                json!({"to": "socks", "session": "web"}),
                "Forward web",
            ),
            ("ssh_reconnect", json!({"session": "web"}), "Connect web"),
            (
                "ssh_connect",
                json!({"host": "bob@web", "port": 22}),
                "Connect bob@web:22",
            ),
            ("ssh_job", json!({"job": "j1", "input": "y"}), ""),
            ("ssh_sessions", json!({}), ""),
            ("ssh_disconnect", json!({"session": "web"}), ""),
            ("rm", json!({"path": "/"}), ""),
        ] {
            assert_eq!(
                short(tool, arguments.clone()),
                expected,
                "{tool} {arguments}"
            );
        }
    }
}
