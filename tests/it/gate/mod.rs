//! What the settings file allows: refusals, questions to the person, and what stays undone.

mod bypasses;
mod changes;
mod connecting;
mod hook;
mod questions;
mod roots;
mod table;

use std::{fs, path::Path, sync::Arc};

use mcp_ssh_sessions::session::{
    registry::{RegistryOptions, SessionRegistry},
    settings_file::SettingsFile,
};
use serde_json::{Value, json};

use crate::support::{
    fixture::TestHost,
    mcp_client::{McpClient, ToolResult},
    open_sshd::OpenSshd,
};

/// A server with the aliases `host`, `free` and `third`, and a settings file.
struct World {
    host: TestHost<OpenSshd>,
}

/// What a client that declares forms says.
fn forms() -> Value {
    json!({"elicitation": {"form": {}}})
}

/// The answer to a question.
fn answer(word: &str) -> Value {
    json!({"action": "accept", "content": {"answer": word}})
}

impl World {
    fn new(settings: &str) -> Self {
        Self::with_config(settings, "")
    }

    /// The world with these lines at the beginning of the `ssh_config`.
    fn with_config(settings: &str, extra: &str) -> Self {
        let host = TestHost::openssh();
        let world = Self { host };
        let config = fs::read_to_string(&world.host.config).unwrap();
        let more = config.replacen("Host host", "Host host free third", 1);
        let extra = extra.replace("PORT", &world.host.port.to_string());
        fs::write(&world.host.config, format!("{extra}\n{more}")).unwrap();

        world.settings(settings);
        world
    }

    /// Writes the settings file anew.
    fn settings(&self, text: &str) {
        let new = self.host.local("settings.new");
        fs::write(&new, format!("# settings\n{text}\n")).unwrap();
        fs::rename(new, self.host.local("settings.toml")).unwrap();
    }

    fn registry(&self) -> Arc<SessionRegistry> {
        SessionRegistry::new(RegistryOptions {
            ssh_config: Some(self.host.config.clone()),
            store: Some(self.host.local("sessions.json")),
            output: Some(self.host.local("output")),
            settings: Arc::new(SettingsFile::named(self.host.local("settings.toml"))),
            own: Vec::new(),
            askpass: None,
        })
    }

    /// A client of a process of its own that declares these capabilities.
    async fn client(&self, capabilities: Value) -> McpClient {
        of_registry(self.registry(), capabilities).await
    }

    /// The number of commands, shells and subsystems that the server has started.
    fn started(&self) -> usize {
        self.host.sshd.log().matches("Starting session").count()
    }

    /// The number of log-ins at the server.
    fn log_ins(&self) -> usize {
        self.host.sshd.log().matches("Accepted publickey").count()
    }

    /// A command that leaves a file with this name in the home of the log-in.
    fn leaving(&self, name: &str) -> String {
        format!("touch {}", self.host.remote(name).display())
    }
}

/// A client of this registry that declares these capabilities.
async fn of_registry(registry: Arc<SessionRegistry>, capabilities: Value) -> McpClient {
    let mut client = McpClient::with_registry(registry);
    let params = json!({
        "protocolVersion": "2025-11-25", "capabilities": capabilities,
        "clientInfo": {"name": "test", "version": "0"},
    });

    client.request("initialize", params).await;
    client
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    client
}

/// Calls a tool and gives each question this answer. Returns the questions, and the result.
async fn call(
    client: &mut McpClient,
    tool: &str,
    arguments: Value,
    reply: &Value,
) -> (Vec<String>, ToolResult) {
    let call = client.begin_call(tool, arguments).await;
    let mut questions = Vec::new();

    loop {
        let message = client.message().await.expect("the server answers");
        if message["method"] == "elicitation/create" {
            let text = message["params"]["message"].as_str().unwrap();
            questions.push(text.to_owned());
            client
                .send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": reply}))
                .await;
        } else if message["id"] == call {
            return (questions, ToolResult(message["result"].clone()));
        }
    }
}

/// Reports whether the settings or the person have refused a call.
fn is_refused(result: &ToolResult) -> bool {
    let text = result.text();
    [
        "the settings do not allow",
        "the settings file",
        "the person has to agree",
        "was answered with no",
        "the person was asked",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// Writes a file, with the directories on the way.
fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
