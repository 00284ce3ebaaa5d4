//! `SSH_ASKPASS`: a program that shows a prompt to the user and prints the answer (`ssh(1)`,
//! ENVIRONMENT).

use std::{env, ffi::OsString, process::Stdio};

use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::{child, password::Password};

/// Longest answer, in bytes: as much as `ssh` reads.
const MAX_ANSWER_BYTES: usize = 1024;

/// Program named by `SSH_ASKPASS`, which asks the user for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Askpass(OsString);

impl Askpass {
    /// Returns the program named by `SSH_ASKPASS`, if there is a display or `SSH_ASKPASS_REQUIRE`
    /// is `force`. These are the conditions under which `ssh` without a terminal would use the
    /// program.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        Self::chosen(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// Applies the rules of `ssh` to the variables.
    fn chosen(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let program = variable("SSH_ASKPASS")?;
        let require = variable("SSH_ASKPASS_REQUIRE")
            .unwrap_or_default()
            .to_ascii_lowercase();

        let has_display = variable("DISPLAY")
            .or_else(|| variable("WAYLAND_DISPLAY"))
            .is_some();
        (require == "force" || (require != "never" && has_display)).then_some(Self(program))
    }

    /// Uses the program at `path`, whatever the environment says.
    #[must_use]
    pub fn program(path: impl Into<OsString>) -> Self {
        Self(path.into())
    }

    /// Runs the program and returns the first line of the output. `None` if the program cannot be
    /// run, fails, or prints no text.
    pub(super) async fn answer(&self, prompt: &str) -> Option<Password> {
        // An inherited `SSH_ASKPASS_PROMPT` could have the program ask for a confirmation instead
        // of a secret.
        let mut command = child::command(&self.0);
        command
            .arg(prompt)
            .env_remove("SSH_ASKPASS_PROMPT")
            .kill_on_drop(true);

        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());

        let mut child = command.spawn().ok()?;

        // Room for the whole answer from the start: a growing buffer would leave copies of the
        // secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES + 1));
        let mut stdout = child.stdout.take()?.take(MAX_ANSWER_BYTES as u64);
        stdout.read_to_end(&mut bytes).await.ok()?;
        // Closed first: a program with more to write than is read would wait for ever, and so would
        // we.
        drop(stdout);
        if !child.wait().await.ok()?.success() {
            return None;
        }

        let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
        Some(Password::from(std::str::from_utf8(line).ok()?.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_used_where_ssh_without_a_terminal_uses_it() {
        for (variables, used) in [
            (&[("SSH_ASKPASS", "p"), ("DISPLAY", ":0")][..], true),
            (&[("SSH_ASKPASS", "p"), ("WAYLAND_DISPLAY", "w")], true),
            (&[("SSH_ASKPASS", "p")], false),
            (
                &[("SSH_ASKPASS", "p"), ("SSH_ASKPASS_REQUIRE", "force")],
                true,
            ),
            (
                &[("SSH_ASKPASS", "p"), ("SSH_ASKPASS_REQUIRE", "FORCE")],
                true,
            ),
            (
                &[("SSH_ASKPASS", "p"), ("SSH_ASKPASS_REQUIRE", "prefer")],
                false,
            ),
            (
                &[
                    ("SSH_ASKPASS", "p"),
                    ("SSH_ASKPASS_REQUIRE", "prefer"),
                    ("DISPLAY", ":0"),
                ],
                true,
            ),
            (
                &[
                    ("SSH_ASKPASS", "p"),
                    ("SSH_ASKPASS_REQUIRE", "never"),
                    ("DISPLAY", ":0"),
                ],
                false,
            ),
            (
                &[("SSH_ASKPASS_REQUIRE", "force"), ("DISPLAY", ":0")],
                false,
            ),
        ] {
            let lookup = |name: &str| {
                variables
                    .iter()
                    .find(|(variable, _)| *variable == name)
                    .map(|(_, value)| OsString::from(value))
            };

            assert_eq!(
                Askpass::chosen(lookup),
                used.then(|| Askpass::program("p")),
                "{variables:?}"
            );
        }
    }
}
