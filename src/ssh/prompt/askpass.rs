//! `SSH_ASKPASS`: a program that shows a prompt to a person and prints the answer (`ssh(1)`, ENVIRONMENT).

use std::{env, ffi::OsString, process::Stdio};

use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::{child, password::Password};

/// What `ssh` reads of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 1024;

/// The program that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Askpass(OsString);

impl Askpass {
    /// The program that the environment names, where `ssh` without a terminal would use it: `SSH_ASKPASS`, if there is
    /// a display or `SSH_ASKPASS_REQUIRE` is `force`.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        Self::chosen(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

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

    /// This very program, whatever the environment says.
    #[must_use]
    pub fn program(path: impl Into<OsString>) -> Self {
        Self(path.into())
    }

    /// The first line that the program prints; `None` if it cannot be run, fails, or prints no text.
    pub(super) async fn answer(&self, prompt: &str) -> Option<Password> {
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

        // Room for all of it from the start: a buffer that grows would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_BYTES + 1));
        let mut stdout = child.stdout.take()?.take(MAX_ANSWER_BYTES as u64);
        stdout.read_to_end(&mut bytes).await.ok()?;
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
    fn the_program_is_used_where_ssh_without_a_terminal_would_use_it() {
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
