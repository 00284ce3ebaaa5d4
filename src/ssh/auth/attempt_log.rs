//! Record of the methods tried during a log-in.

use russh::{MethodKind, MethodSet};

use crate::ssh::error::Remedy;

/// Record of the methods tried during a log-in, and of the server's answers. Created empty for each
/// log-in; the error and the trace of the log-in are made from it.
pub(super) struct AttemptLog {
    /// Methods which the server accepted, in order.
    pub(super) succeeded: Vec<&'static str>,
    /// Descriptions of the attempts which did not log the user in.
    pub(super) failed: Vec<String>,
    /// Methods which the server would accept next; `None` before the server's first answer.
    pub(super) allowed: Option<MethodSet>,
    /// Measure to suggest if the log-in fails.
    pub(super) remedy: Remedy,
}

impl AttemptLog {
    /// Creates the log of a log-in which has not begun.
    pub(super) fn new() -> Self {
        Self {
            succeeded: Vec::new(),
            failed: Vec::new(),
            allowed: None,
            remedy: Remedy::Credentials,
        }
    }

    /// Returns true if the server accepts the method, or has not answered yet.
    pub(super) fn may_try(&self, method: MethodKind) -> bool {
        self.allowed.is_none() || self.is_allowed(method)
    }

    /// Returns true if the server has said that the method is accepted.
    pub(super) fn is_allowed(&self, method: MethodKind) -> bool {
        self.allowed
            .as_ref()
            .is_some_and(|allowed| allowed.contains(&method))
    }

    /// Returns the names of the methods which the server would accept next.
    pub(super) fn allowed_names(&self) -> Vec<&'static str> {
        self.allowed
            .iter()
            .flat_map(|allowed| allowed.iter().map(Into::into))
            .collect()
    }

    /// Describes the failed attempts in a sentence.
    pub(super) fn summary(&self) -> String {
        if self.failed.is_empty() {
            "no key and no password to try".to_owned()
        } else {
            self.failed.join("; ")
        }
    }
}
