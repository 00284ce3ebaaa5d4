//! The tool `ssh_sessions`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Effect,
    forward::ForwardResult,
    session::{self, SessionResult},
};
use crate::{
    foreign_text::escape_line,
    mcp::call::{Call, tool_error::ToolError},
    openssh::{config_file::host_matches, host_names::NamedHost},
    session::registry::SessionListing,
};

pub(super) const NAME: &str = "ssh_sessions";

/// Limit of the text of an answer without a filter, in bytes.
const MAX_BYTES: usize = 3_900;
/// Limit of the part about hosts in an answer with a filter, in bytes.
const MAX_FILTERED_BYTES: usize = 16_000;
/// Limit of the hosts in an answer without a filter.
const MAX_HOSTS: usize = 50;
/// Heading of the hosts.
const HEADING: &str = "hosts of ssh_config, connected by the first call that names one as session:";

#[derive(Debug, Deserialize, JsonSchema)]
struct SessionsParams {
    hosts: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionsResult {
    sessions: Vec<SessionResult>,
    /// Forwards of all sessions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forwards: Vec<ForwardResult>,
    /// Hosts of the SSH configuration that the text shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<HostResult>,
    /// Number of hosts that the text does not show.
    #[serde(skip_serializing_if = "is_zero")]
    more_hosts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
}

/// Host of the SSH configuration without a session.
#[derive(Debug, Serialize)]
struct HostResult {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
}

impl From<SessionListing> for SessionsResult {
    /// Converts a listing. The forwards and the hosts are left out.
    fn from(listing: SessionListing) -> Self {
        Self {
            sessions: listing
                .sessions
                .into_iter()
                .map(SessionResult::from)
                .collect(),
            forwards: Vec::new(),
            hosts: Vec::new(),
            more_hosts: 0,
            default: listing.default.map(|name| name.to_string()),
            notice: listing.notice,
        }
    }
}

impl HostResult {
    /// Returns a line with the name and the purpose.
    fn line(&self) -> String {
        let purpose = self.purpose.iter().map(|purpose| format!(": {purpose}"));
        escape_line((self.name.clone() + &purpose.collect::<String>()).as_bytes())
    }
}

/// Hosts that an answer shows, chosen by the filter of the call and the room that is left.
struct ShownHosts {
    hosts: Vec<HostResult>,
    lines: Vec<String>,
    /// Number of hosts that are not shown.
    more: usize,
}

impl ShownHosts {
    /// Chooses the hosts. `used` is the length of the rest of the answer, in bytes.
    fn choose(hosts: Vec<NamedHost>, filter: Option<&str>, used: usize) -> Self {
        let (most, mut room) = match filter {
            Some(_) => (usize::MAX, MAX_FILTERED_BYTES),
            None => (MAX_HOSTS, MAX_BYTES.saturating_sub(used)),
        };

        let chosen: Vec<HostResult> = hosts
            .into_iter()
            .filter(|host| filter.is_none_or(|filter| matches(host, filter)))
            .map(|host| HostResult {
                name: host.name,
                purpose: host.purpose,
            })
            .collect();

        // Room for the heading, and for the line about the hosts that are not shown.
        room = room.saturating_sub(HEADING.len() + 80);
        let count = chosen.len();
        let (mut hosts, mut lines) = (Vec::new(), Vec::new());

        for host in chosen.into_iter().take(most) {
            let line = host.line();
            let Some(left) = room.checked_sub(line.len() + 1) else {
                break;
            };

            room = left;
            lines.push(line);
            hosts.push(host);
        }

        let more = count - hosts.len();
        if count > 0 {
            lines.insert(0, HEADING.to_owned());
        } else if let Some(filter) = filter {
            lines.push(escape_line(
                format!("no host of ssh_config matches {filter:?}").as_bytes(),
            ));
        }

        if more > 0 {
            let how = if filter.is_some() {
                "give a narrower filter"
            } else {
                "filter with hosts"
            };

            lines.push(format!("… and {} more: {how}", with_separators(more)));
        }

        Self { hosts, lines, more }
    }
}

/// Returns true if a host matches a filter: a glob for the name if it holds `*` or `?`, and
/// otherwise a part of the name or of the purpose, in any case.
fn matches(host: &NamedHost, filter: &str) -> bool {
    let (name, filter) = (host.name.to_lowercase(), filter.to_lowercase());
    if filter.contains(['*', '?']) {
        return host_matches(&[filter], &name);
    }

    let purpose = host.purpose.as_deref().unwrap_or_default();
    name.contains(&filter) || purpose.to_lowercase().contains(&filter)
}

/// Formats a number with a comma between thousands.
fn with_separators(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Returns the sessions and their default as JSON text, for the resource of the sessions.
pub(in crate::mcp) fn as_json(listing: SessionListing) -> String {
    serde_json::to_string(&SessionsResult::from(listing)).unwrap_or_default()
}

pub(super) fn tool() -> Tool {
    super::describe::<SessionsParams>(
        NAME,
        "List SSH sessions, their state, the default, and the hosts of ssh_config.",
        Effect::ReadsOnly,
    )
}

/// Lists all sessions of this process and of the store, and the hosts of the SSH configuration.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: SessionsParams = super::arguments(NAME, &mut call)?;
    let mut result = SessionsResult::from(call.registry.list().await?);
    let sessions = result.sessions.iter().map(SessionResult::name);
    let hosts = call.registry.hosts_without_session(sessions).await;

    let forwards = call.registry.forwards.list();
    let mut lines = Vec::new();
    for session in &result.sessions {
        lines.push(session.line());
        let own = forwards
            .iter()
            .filter(|forward| forward.session.raw() == session.name());
        lines.extend(own.map(|forward| format!("  {forward}")));
    }
    result.forwards = forwards.into_iter().map(ForwardResult::from).collect();

    if lines.is_empty() && hosts.is_empty() {
        lines.push("no sessions; make one with ssh_connect".to_owned());
    }

    // The notice tells of a store that was set aside, which would look like lost sessions
    // otherwise.
    let notice = result
        .notice
        .as_ref()
        .map(|notice| format!("notice: {}", escape_line(notice.as_bytes())));

    let used = lines.iter().chain(&notice).map(|line| line.len() + 1).sum();
    let shown = ShownHosts::choose(hosts, params.hosts.as_deref(), used);
    lines.extend(shown.lines);
    lines.extend(notice);
    (result.hosts, result.more_hosts) = (shown.hosts, shown.more);

    session::text_and_facts(lines.join("\n"), &result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: impl IntoIterator<Item = String>) -> Vec<NamedHost> {
        let host = |name| NamedHost {
            name,
            purpose: None,
        };
        names.into_iter().map(host).collect()
    }

    #[test]
    fn a_filter_chooses_hosts_by_name_or_purpose() {
        let mut all = hosts(["web1", "WEB2", "db", "old-web"].map(str::to_owned));
        all[2].purpose = Some("Staging data".to_owned());

        for (filter, expected) in [
            ("web", "web1 WEB2 old-web"),
            ("web*", "web1 WEB2"),
            ("w?b?", "web1 WEB2"),
            ("*", "web1 WEB2 db old-web"),
            ("staging", "db"),
            ("stag*", ""),
            ("x", ""),
        ] {
            let shown = ShownHosts::choose(all.clone(), Some(filter), 0);
            let names: Vec<&str> = shown.hosts.iter().map(|host| host.name.as_str()).collect();
            assert_eq!(names.join(" "), expected, "{filter}");
            assert!(!shown.lines.is_empty(), "{filter}");
        }
    }

    #[test]
    fn many_or_long_names_leave_the_answer_short() {
        for (length, filter, shown, limit) in [
            (4, None, 50, 4_000),
            (250, None, 14, 4_000),
            (250, Some("h"), 62, 16_100),
        ] {
            let names = (1_000..3_000).map(|number| format!("h{number:0>length$}"));
            let shown_hosts = ShownHosts::choose(hosts(names), filter, 0);
            let text = shown_hosts.lines.join("\n");
            assert_eq!(shown_hosts.hosts.len(), shown, "{length} {filter:?}");
            assert_eq!(shown_hosts.more, 2_000 - shown);
            assert!(text.len() < limit, "{}", text.len());
        }

        let names = (0..2_000).map(|number| format!("h{number}"));
        let crowded = ShownHosts::choose(hosts(names), None, 50_000);
        assert_eq!(crowded.lines[1..], ["… and 2,000 more: filter with hosts"]);
    }

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_950, "1,950"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(with_separators(number), text);
        }
    }
}
