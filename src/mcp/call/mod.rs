//! One tool call ([`Call`]): its parameters, its progress, its report, its error and hint.

pub(super) mod hints;
pub(super) mod params;
pub(super) mod progress;
pub(super) mod report;
pub(super) mod running;
pub(super) mod tool_error;

use std::{path::PathBuf, sync::Arc};

use rmcp::model::JsonObject;

use self::progress::ProgressSource;
use crate::session::{caller::Caller, registry::SessionRegistry};

/// One call of a tool.
pub(super) struct Call {
    pub(super) registry: Arc<SessionRegistry>,
    pub(super) arguments: Option<JsonObject>,
    pub(super) caller: Caller,
    /// What is told of it while it runs.
    pub(super) watched: ProgressSource,
    /// Where relative local paths begin, if not in the working directory of this process.
    pub(super) directory: Option<PathBuf>,
}

impl Call {
    /// A local path of the client's, as this process has to spell it.
    pub(super) fn local(&self, path: String) -> String {
        match &self.directory {
            // A path in `~` is as good as an absolute one; one that is not text stays with whoever wrote the path.
            Some(directory) if !path.is_empty() && !path.starts_with('~') => directory
                .join(&path)
                .into_os_string()
                .into_string()
                .unwrap_or(path),
            _ => path,
        }
    }
}
