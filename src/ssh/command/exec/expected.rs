//! A command for the login shell of the last connection, which is sent before the login shell of this
//! connection has answered.
//!
//! The announcement of the process proves that the script was read. If it does not come, the command
//! is judged by the answer of the login shell, which was asked at the same time.

use std::sync::Arc;

use crate::{
    framing::exec::{LoginShell, ShellProbe},
    ssh::command::remote_host::RemoteHost,
};

/// Login shell for which a command was written on trust.
pub(super) struct ExpectedShell {
    pub(super) host: Arc<RemoteHost>,
    pub(super) family: LoginShell,
}

/// Judgement about a command that ended without an announcement.
pub(super) enum Judgement {
    /// The login shell is as expected, so the command is judged as any other.
    AsExpected,
    /// Another login shell surely ended before it reached the command.
    NotRun,
    /// Something else answers there, such as a forced command, and may have acted on the command.
    TakenAsItIs(ShellProbe),
}

impl ExpectedShell {
    /// Waits for the answer of the login shell, and judges a command that ended without an
    /// announcement.
    pub(super) async fn judge(self) -> Judgement {
        let found = self.host.login_shell().await;

        if found.shell == self.family {
            Judgement::AsExpected
        } else if self.family.ends_before_command(found.shell) {
            Judgement::NotRun
        } else {
            Judgement::TakenAsItIs(found)
        }
    }
}
