//! Who makes a call.

use tokio_util::sync::CancellationToken;

use crate::ssh::prompt::prompter::Prompter;

/// How a call is given up, and who can be asked on its way.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Cancelled when the client gives the call up.
    pub cancelled: CancellationToken,
    /// The person at the client.
    pub prompter: Prompter,
}
