//! Runs the scripts that read and change files.

use std::{sync::Arc, time::Duration};

use crate::{
    edit::page::MAX_TAIL_BYTES,
    framing::{
        exec::{ExecScriptError, UnixOnly},
        read_file::SHELL,
    },
    ssh::{
        command::{
            remote_host::RemoteHost, script::RemoteScript, script_as_root::RootScript,
            sudo::SudoSources,
        },
        error::SshError,
        pool::Priority,
        prompt::prompter::AsRoot,
    },
};

/// Bytes of an answer besides the content of a file.
const MAX_FACTS_BYTES: usize = 64 * 1024;

/// Programs of a host that read and change files, as the account or as root.
#[derive(Debug, Clone)]
pub struct ScriptFiles {
    pub(super) host: Arc<RemoteHost>,
    /// Sources of sudo's password; `None` if the programs run as the account.
    pub(super) root: Option<SudoSources>,
}

impl ScriptFiles {
    /// Returns the programs of a host. With `root` they run as root, through sudo. An account that
    /// is root needs no sudo, and the host may lack it.
    #[must_use]
    pub fn new(host: &Arc<RemoteHost>, root: Option<SudoSources>) -> Self {
        Self {
            host: Arc::clone(host),
            root: root.filter(|_| host.peer().user != "root"),
        }
    }

    /// Runs a script and returns what it prints. `action` and `path` are for the person who is asked
    /// for sudo's password.
    pub(super) async fn run(
        &self,
        (action, path): (&'static str, &[u8]),
        script: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        let max_answer_bytes = MAX_TAIL_BYTES + MAX_FACTS_BYTES;
        if self.root.is_some() && self.host.is_windows() {
            return Err(ExecScriptError::NotOnWindows(UnixOnly::Sudo).into());
        }

        if let Some(sources) = &self.root {
            let script = RootScript {
                stdin: script,
                shown: AsRoot::of_file(action, path),
                max_answer_bytes,
                limit,
            };
            return self.host.run_as_root(script, sources.clone()).await;
        }

        let script = RemoteScript {
            command: SHELL.to_owned(),
            stdin: script,
            priority: Priority::Work,
            answer_end: Vec::new(),
            max_answer_bytes,
            limit,
            progress: None,
        };
        self.host.run_script(script).await
    }
}
