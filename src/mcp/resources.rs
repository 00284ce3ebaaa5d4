//! Resources of MCP, which a client reads without a tool: the list of sessions, and outputs that
//! were too long for an answer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use rmcp::{
    ErrorData,
    model::{ReadResourceResult, Resource, ResourceContents},
};
use serde_json::json;

use super::tools;
use crate::{foreign_text::escape_line, session::registry::SessionRegistry};

/// Address of the list of sessions.
const SESSIONS: &str = "ssh-sessions://sessions";
/// Beginning of the address of an output; the name of the output follows.
const OUTPUT: &str = "ssh-sessions://output/";

/// Limit on the number of listed outputs. The newest are listed.
const MAX_OUTPUTS: usize = 100;

/// Returns all resources: the list of sessions, then the kept outputs, the newest first.
pub(super) async fn list(registry: &SessionRegistry) -> Vec<Resource> {
    let sessions = Resource::new(SESSIONS, "sessions")
        .with_title("SSH sessions")
        .with_description("All SSH sessions: connected, disconnected and saved")
        .with_mime_type("application/json");

    let outputs = registry
        .outputs()
        .await
        .into_iter()
        .take(MAX_OUTPUTS)
        .map(|output| {
            let written = DateTime::<Utc>::from(output.written);
            let stream = output.stream().name();

            Resource::new(format!("{OUTPUT}{}", output.name), output.name)
                .with_title(format!(
                    "Whole {stream} of a command, {}",
                    written.to_rfc3339_opts(SecondsFormat::Secs, true)
                ))
                .with_mime_type("text/plain")
                .with_size(output.bytes)
        });

    std::iter::once(sessions).chain(outputs).collect()
}

/// Returns the content of a resource. Of an output longer than one mebibyte, returns the first and
/// the last half mebibyte.
///
/// # Errors
/// There is no such resource, or the content cannot be read.
pub(super) async fn read(
    registry: &SessionRegistry,
    uri: &str,
) -> Result<ReadResourceResult, ErrorData> {
    let contents = if uri == SESSIONS {
        let sessions = registry
            .list()
            .await
            .map_err(|error| failed(&error.to_string()))?;
        ResourceContents::text(tools::sessions_as_json(sessions), uri)
            .with_mime_type("application/json")
    } else {
        let unknown = || {
            ErrorData::resource_not_found(
                format!("there is no resource {uri:?}"),
                Some(json!({ "uri": uri })),
            )
        };

        let name = uri.strip_prefix(OUTPUT).ok_or_else(unknown)?;

        // Outputs are removed after a week, so a client may still know the address of a missing
        // one.
        let output = registry
            .read_output(name)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => unknown(),
                _ => failed(&format!("the output cannot be read: {error}")),
            })?;

        // A whole output goes out byte for byte, in base64 if it is not UTF-8. A shortened one
        // needs the line that counts the missing bytes.
        match output.whole().map(String::from_utf8) {
            Some(Err(binary)) => ResourceContents::blob(STANDARD.encode(binary.as_bytes()), uri)
                .with_mime_type("application/octet-stream"),
            Some(Ok(text)) => ResourceContents::text(text, uri).with_mime_type("text/plain"),
            None => ResourceContents::text(output.text(), uri).with_mime_type("text/plain"),
        }
    };

    Ok(ReadResourceResult::new(vec![contents]))
}

/// Returns an internal error with this message, escaped to a single line.
fn failed(message: &str) -> ErrorData {
    ErrorData::internal_error(escape_line(message.as_bytes()), None)
}
