//! What a line of the log says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// SHA-256 of the line before, without its line feed, in hexadecimal; zeros in the first line.
    pub prev: String,
    /// Number of the line, from 1, counted through all files of the log.
    pub n: u64,
    /// Time of the line, in UTC (RFC 3339).
    pub time: String,
    /// Number of lines of the same process that could not be written since its line before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// SHA-256 of each broken line between the line before and this one, as a crash leaves them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub torn: Vec<String>,
    /// What is recorded.
    #[serde(flatten)]
    pub event: Event,
}

/// Beginning or end of a call. The two have the same `call`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// Written before the call does anything.
    Begin(BeginRecord),
    /// Written after the call. A call without it was interrupted: by a crash, or by the end of the
    /// program.
    End(EndRecord),
}

impl Event {
    /// Returns the id of the call.
    #[must_use]
    pub fn call(&self) -> &str {
        match self {
            Self::Begin(begin) => &begin.call,
            Self::End(end) => &end.call,
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginRecord {
    /// Random id of the call.
    pub call: String,
    /// Name and version of the client, as the client says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Process of this program, and number of the client in it, such as `4711-2`.
    pub conversation: String,
    /// Name of the tool.
    pub tool: String,
    /// Arguments of the call, under their names in the tool's schema: commands and paths as they
    /// are. Of inputs and contents only the size, and of passwords nothing.
    pub arguments: Map<String, Value>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRecord {
    /// Id of the call.
    pub call: String,
    /// Name of the tool.
    pub tool: String,
    /// Whether the call was carried out.
    pub outcome: Outcome,
    /// Kind of the error; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// True if the client gave the call up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancelled: bool,
    /// Duration of the call in milliseconds.
    pub ms: u64,
    /// What each session had to do with the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartRecord>,
    /// Files that were changed, with their paths on the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Number of files that a transfer moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<u64>,
    /// Bytes that were read or moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Whether a call was carried out. A command that failed was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was.
    Ok,
    /// It was not, or not to the end.
    Error,
}

/// Part of a call: what one session had to do with it. Most calls have one part; a command for
/// many sessions, or a copy between two hosts, has several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Name of the session; `None` if the call did not get as far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Hosts on which the part acted, in the order of its acts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostRecord>,
    /// Who allowed the acts, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Allowed>,
    /// End of the command, or its progress.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandRecord>,
    /// True if the command was not run in this session, in a call for several.
    #[serde(default, skip_serializing_if = "is_false")]
    pub failed: bool,
}

/// How a command stood at the end of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// State, such as `running`, `exited` or `connectionLost`.
    pub status: String,
    /// Exit code; `None` unless the command exited with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u32>,
    /// Signal by which the command ended, without `SIG`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Bytes of its output so far.
    pub output: u64,
    /// Job as which it is known to later calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// Host on which a call acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Alias or address that was asked for.
    pub asked: String,
    /// Name or address to which `asked` leads, as in `HostName` of `ssh_config(5)`.
    pub host_name: String,
    /// User of the log-in.
    pub user: String,
    /// TCP port.
    pub port: u16,
}

/// Who allowed an act, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allowed {
    /// The settings, without a question.
    #[serde(rename = "settings")]
    Settings,
    /// The person, for this act only.
    #[serde(rename = "person once")]
    PersonOnce,
    /// The person, now or earlier, for the rest of the conversation.
    #[serde(rename = "person for this conversation")]
    PersonForConversation,
}

impl Allowed {
    /// Returns the words in the log.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::PersonOnce => "person once",
            Self::PersonForConversation => "person for this conversation",
        }
    }
}

/// Returns a destination without the password that some write into it, as in `user:password@host`.
#[must_use]
pub fn without_password(host: &str) -> String {
    let Some((account, address)) = host.rsplit_once('@') else {
        return host.to_owned();
    };

    let (scheme, account) = match account.split_once("://") {
        Some((scheme, account)) => (format!("{scheme}://"), account),
        None => (String::new(), account),
    };

    match account.split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:…@{address}"),
        None => host.to_owned(),
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}
