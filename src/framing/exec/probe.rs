//! Finds out which shell runs the commands of an account, by testing it. `SHELL` may name another.

use serde::{Deserialize, Serialize};

use super::{
    LoginShell,
    windows::{WindowsFacts, may_be_windows},
};

/// Beginning of the answer to [`POSIX_PROBE`].
pub(super) const POSIX_MARK: &str = "mcp-ssh-sessions:42:";

/// Probe answered by every POSIX shell, and by no other shell. It uses the same features as our
/// scripts. The facts about the host follow the answer, at the price of one process (`uname`).
///
/// Nothing is redirected to a file, because a restricted shell refuses that. sudo is not run: it
/// would log the attempt.
pub const POSIX_PROBE: &str = "IFS= read -r __mcp </dev/null || printf 'mcp-ssh-sessions:%s:%s:%s:%s;\\nuname:' \"$((40+2))\" \
     \"${SHELL-}\" \"$(readlink -f \"${SHELL-}\")\" \"$(readlink /proc/$$/exe)\"; uname -srm || echo; \
     if [ -f /etc/os-release ]; then while IFS= read -r __mcp; do case $__mcp in NAME=*|VERSION_ID=*) \
     printf '%s\\n' \"$__mcp\";; esac; done </etc/os-release; fi; [ -O / ] || command -v sudo; \
     for __mcp in rg git python3 docker podman kubectl systemctl jq; do command -v \"$__mcp\"; done";

/// Probe to tell fish from csh, which read a backslash in quotes differently. The indices rule out
/// any other shell. csh has no index for an environment variable, and a name of its own for the
/// home directory. The first line shows [Windows](super::windows::may_be_windows).
pub const OTHER_PROBE: &str = "echo 'mcp-ssh-sessions:%OS%:a''b;'; printf 'mcp-ssh-sessions:%s:%s:%s:%s;' 'a\\\\b' \"$HOME\" \"$HOME[1]$home[1]\" \"$SHELL\"";

/// Result of the probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShellProbe {
    /// Family of the login shell.
    pub shell: LoginShell,
    /// Path or name of the shell program, for running a command where the login shell does not;
    /// `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// True if the shell is part of `BusyBox`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_busybox: bool,
    /// Output of both probes if the same for both, although these are different commands and
    /// neither failed. Such a host does not seem to run commands. Not saved.
    #[serde(skip)]
    pub deaf: Option<Vec<u8>>,
    /// True if the account runs no commands, or only certain ones: the server refused the probes, or
    /// both failed with the same words. Not saved.
    #[serde(skip)]
    pub refuses: bool,
    /// True if a shell of Windows may have answered, which shows after one more probe. Not saved.
    #[serde(skip)]
    pub may_be_windows: bool,
    /// Code page of the output, on a Windows host that told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_page: Option<u16>,
}

impl ShellProbe {
    /// Reads the answer to [`POSIX_PROBE`], which startup files may have surrounded with other
    /// output. `None` if the shell did not answer as a POSIX shell.
    #[must_use]
    pub fn posix(answer: &[u8]) -> Option<Self> {
        let answer = String::from_utf8_lossy(answer);
        // `SHELL` may be left over from another shell, so the running program decides if the two
        // differ. The program `busybox` is a shell only under another name.
        let [named, real, runs] = fields(&answer, POSIX_MARK)?;
        let is_busybox = runs.ends_with("/busybox");
        let is_known = LoginShell::by_name(runs) == LoginShell::Posix && !is_busybox;
        let named_so = named
            .rsplit('/')
            .next()
            .is_some_and(|name| name == "sh" || runs.ends_with(&format!("/{name}")));

        let is_same = runs.is_empty() || real == runs || named_so;
        let program = if is_known && !is_same { runs } else { named };

        Some(Self {
            shell: LoginShell::Posix,
            program: absolute(program),
            is_busybox,
            deaf: None,
            refuses: false,
            may_be_windows: false,
            code_page: None,
        })
    }

    /// Reads the answer to [`OTHER_PROBE`]. `first` is the answer to [`POSIX_PROBE`], and `failed`
    /// says that a probe failed.
    #[must_use]
    pub fn other(failed: bool, first: &[u8], answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer);

        for (shell, means, program) in [
            (LoginShell::Fish, "mcp-ssh-sessions:a\\b:", "fish"),
            (LoginShell::Csh, "mcp-ssh-sessions:a\\\\b:", "csh"),
        ] {
            // The backslash is not enough: the index on `HOME` shows if the shell is of this family
            // at all.
            if let Some([home, first_of_home, named]) = fields(&text, means)
                && (first_of_home == home || first_of_home == format!("{home}[1]{home}"))
            {
                let named = absolute(named).filter(|path| LoginShell::by_name(path) == shell);
                return Self {
                    shell,
                    program: named.or_else(|| Some(program.to_owned())),
                    is_busybox: false,
                    deaf: None,
                    refuses: false,
                    may_be_windows: false,
                    code_page: None,
                };
            }
        }

        // Two commands that differ cannot have the same output, unless nobody runs them. Only nologin
        // and the like say so; a shell of another family is silent.
        let is_same = first == answer;
        let deaf = (!failed && is_same).then(|| answer.to_vec());
        let refuses = failed && is_same && !answer.trim_ascii().is_empty();

        Self {
            shell: LoginShell::Other,
            program: None,
            is_busybox: false,
            deaf,
            refuses,
            may_be_windows: may_be_windows(answer),
            code_page: None,
        }
    }

    /// Creates the result for a shell of Windows.
    #[must_use]
    pub fn windows(facts: &WindowsFacts) -> Self {
        Self {
            shell: LoginShell::Windows(facts.shell),
            program: Some(facts.program.clone()),
            code_page: facts.code_page,
            ..Self::unknown()
        }
    }

    /// Creates the result for a server that refuses every command of the account.
    #[must_use]
    pub fn refusing() -> Self {
        Self {
            refuses: true,
            ..Self::unknown()
        }
    }

    /// Creates a result in which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            shell: LoginShell::Other,
            program: None,
            is_busybox: false,
            deaf: None,
            refuses: false,
            may_be_windows: false,
            code_page: None,
        }
    }
}

/// Returns the three fields after this beginning of an answer.
fn fields<'a>(answer: &'a str, beginning: &str) -> Option<[&'a str; 3]> {
    let (_, rest) = answer.split_once(beginning)?;
    rest.split_once(';')?
        .0
        .split(':')
        .collect::<Vec<_>>()
        .try_into()
        .ok()
}

/// Returns an absolute path, and `None` for any other.
fn absolute(path: &str) -> Option<String> {
    path.starts_with('/').then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe_of(shell: LoginShell, program: Option<&str>) -> ShellProbe {
        ShellProbe {
            shell,
            program: program.map(str::to_owned),
            is_busybox: false,
            deaf: None,
            refuses: false,
            may_be_windows: false,
            code_page: None,
        }
    }

    #[test]
    fn a_posix_shell_is_the_one_that_answers() {
        for (answer, program) in [
            (
                "mcp-ssh-sessions:42:/bin/bash:/usr/bin/bash:/usr/bin/bash;\n",
                Some("/bin/bash"),
            ),
            (
                "Welcome!\nmcp-ssh-sessions:42:/bin/bash:/usr/bin/bash:/usr/bin/zsh;bye",
                Some("/usr/bin/zsh"),
            ),
            (
                "mcp-ssh-sessions:42:/bin/rbash:/usr/bin/bash:/usr/bin/bash;",
                Some("/bin/rbash"),
            ),
            (
                "mcp-ssh-sessions:42:/opt/wrapper/bash:/opt/wrapper/bash:/usr/bin/bash;",
                Some("/opt/wrapper/bash"),
            ),
            ("mcp-ssh-sessions:42:/bin/yash::;", Some("/bin/yash")),
            ("mcp-ssh-sessions:42:::;", None),
        ] {
            assert_eq!(
                ShellProbe::posix(answer.as_bytes()),
                Some(probe_of(LoginShell::Posix, program)),
                "{answer}"
            );
        }

        let busybox =
            ShellProbe::posix(b"mcp-ssh-sessions:42:/bin/ash:/bin/busybox:/bin/busybox;").unwrap();
        assert_eq!(busybox.program.as_deref(), Some("/bin/ash"));
        assert!(busybox.is_busybox);

        for answer in [
            "",
            "noise",
            POSIX_PROBE,
            "mcp-ssh-sessions:42:/bin/bash",
            "mcp-ssh-sessions:/bin/bash;",
        ] {
            assert_eq!(ShellProbe::posix(answer.as_bytes()), None, "{answer}");
        }
    }

    #[test]
    fn fish_and_csh_are_told_by_what_a_backslash_is() {
        for (answer, expected) in [
            (
                "mcp-ssh-sessions:a\\b:/root:/root:/usr/bin/fish;",
                probe_of(LoginShell::Fish, Some("/usr/bin/fish")),
            ),
            (
                "mcp-ssh-sessions:a\\b:/root:/root:/bin/bash;",
                probe_of(LoginShell::Fish, Some("fish")),
            ),
            (
                "mcp-ssh-sessions:a\\\\b:/root:/root[1]/root:/bin/tcsh;",
                probe_of(LoginShell::Csh, Some("/bin/tcsh")),
            ),
            (
                "mcp-ssh-sessions:a\\\\b:/root:/root[1]/root:/bin/bash;",
                probe_of(LoginShell::Csh, Some("csh")),
            ),
            (
                "mcp-ssh-sessions:a\\\\b:/root:/root[1]/root[1]:/bin/pwsh;",
                probe_of(LoginShell::Other, None),
            ),
            (OTHER_PROBE, probe_of(LoginShell::Other, None)),
            ("unknown command", probe_of(LoginShell::Other, None)),
        ] {
            assert_eq!(
                ShellProbe::other(false, b"unknown command: IFS", answer.as_bytes()),
                expected,
                "{answer}"
            );
        }

        for said in ["", "Welcome!\n"] {
            let probe = ShellProbe::other(false, said.as_bytes(), said.as_bytes());
            assert_eq!(probe.deaf.as_deref(), Some(said.as_bytes()));
            assert_eq!(
                ShellProbe::other(true, said.as_bytes(), said.as_bytes()).deaf,
                None
            );
        }
    }
}
