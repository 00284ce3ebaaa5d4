//! What a client can read without a tool: the sessions, and the whole outputs that were too long for an answer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, SecondsFormat, Utc};
use rmcp::{
    ErrorData,
    model::{ReadResourceResult, Resource, ResourceContents},
};
use serde_json::json;

use super::tools;
use crate::{render::escape_line, session::registry::SessionRegistry};

const SESSIONS: &str = "ssh-sessions://sessions";
const OUTPUT: &str = "ssh-sessions://output/";

/// How many outputs are listed, the newest.
const MAX_OUTPUTS: usize = 100;

/// All resources: the list of sessions, then the kept outputs, the newest first.
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
            let stream = if output.is_stderr() {
                "stderr"
            } else {
                "stdout"
            };

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

/// The content of a resource. Of an output longer than a mebibyte, its first and last half mebibyte.
///
/// # Errors
/// There is no such resource, or it cannot be read.
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

        let output = registry
            .read_output(name)
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => unknown(),
                _ => failed(&format!("the output cannot be read: {error}")),
            })?;

        match output.whole().map(String::from_utf8) {
            Some(Err(binary)) => ResourceContents::blob(STANDARD.encode(binary.as_bytes()), uri)
                .with_mime_type("application/octet-stream"),
            Some(Ok(text)) => ResourceContents::text(text, uri).with_mime_type("text/plain"),
            None => ResourceContents::text(output.text(), uri).with_mime_type("text/plain"),
        }
    };

    Ok(ReadResourceResult::new(vec![contents]))
}

fn failed(message: &str) -> ErrorData {
    ErrorData::internal_error(escape_line(message.as_bytes()), None)
}
