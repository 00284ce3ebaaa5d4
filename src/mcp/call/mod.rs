//! One tool call ([`Call`]): parameters, progress, report, errors, hints and the limit of an answer.

pub(super) mod hints;
pub(super) mod limit;
pub(super) mod params;
pub(super) mod progress;
pub(super) mod report;
pub(super) mod running;
pub(super) mod tool_error;

use std::{path::PathBuf, sync::Arc};

use rmcp::model::JsonObject;

use self::progress::ProgressSource;
use crate::{
    foreign_text::ForeignText,
    session::{caller::Caller, registry::SessionRegistry},
    ssh::{command::output::UnseenRequest, prompt::prompter::Prompter},
};

/// Call of a tool, from the arguments of the client to the answer. The server makes a value for
/// each call, and the tool consumes it.
pub(super) struct Call {
    /// Registry of all sessions, shared by all calls.
    pub(super) registry: Arc<SessionRegistry>,
    /// Arguments of the client; `None` if the client sent none, or after the tool has read the
    /// arguments.
    pub(super) arguments: Option<JsonObject>,
    /// Cancellation of the call, its client, and the way to ask the user.
    pub(super) caller: Caller,
    /// Name and version of the client; `None` if the client does not say.
    pub(super) client: Option<ForeignText>,
    /// Outputs and transfers whose progress the client is shown while the call runs.
    pub(super) watched: ProgressSource,
    /// Directory in which relative local paths begin; `None` for the working directory of this
    /// process.
    pub(super) directory: Option<PathBuf>,
}

impl Call {
    /// Returns the way to ask the user for secrets: the client, or else the askpass program.
    pub(super) fn secret_prompter(&self) -> Prompter {
        let prompter = self.caller.prompter.clone();
        prompter.or_askpass(self.registry.askpass())
    }

    /// Describes this client's request for output of a job. The answer to a cancelled call does not
    /// arrive, so that the client is shown the same output by the next one.
    pub(super) fn unseen_request(&self, is_running: bool) -> UnseenRequest {
        UnseenRequest {
            reader: self.caller.reader,
            arrives: !self.caller.cancelled.is_cancelled(),
            is_running,
        }
    }

    /// Returns a local path of the client, joined to the directory of the client if the path is
    /// relative.
    pub(super) fn local(&self, path: String) -> String {
        match &self.directory {
            // `~` is expanded later, like an absolute path. A path that would not stay UTF-8 is
            // left as the client wrote it.
            Some(directory) if !path.is_empty() && !path.starts_with('~') => directory
                .join(&path)
                .into_os_string()
                .into_string()
                .unwrap_or(path),
            _ => path,
        }
    }
}
