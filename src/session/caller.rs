//! The caller of a session operation.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{approvals::CallAnswers, audit_call::AuditCall};
use crate::ssh::{command::output::ReaderId, prompt::prompter::Prompter};

/// Context of a tool call: the cancellation token, the client, and the way to ask the user.
///
/// The server creates a `Caller` for each call. The default is never cancelled and can ask nobody.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Token, cancelled when the client gives up the call.
    pub cancelled: CancellationToken,
    /// Client of the call, as a reader of outputs and files.
    pub reader: ReaderId,
    /// Way to ask the user at the client for secrets and decisions.
    pub prompter: Prompter,
    /// True for work in the background, for which the user is asked nothing.
    pub is_unattended: bool,
    /// Answers of the user in this call.
    pub answers: CallAnswers,
    /// Permits for the dials of a call with many sessions; `None` if each may dial at once.
    pub dials: Option<Arc<Semaphore>>,
    /// Description of the call for the audit log.
    pub audit: AuditCall,
}
