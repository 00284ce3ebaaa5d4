//! Names of persistent shells.

use std::fmt;

use crate::framing::sudo::SudoUser;

/// Name of the shell that is used when a call names none.
pub const DEFAULT_SHELL: &str = "main";

/// Name of a persistent shell in a session. Shells of two users are two shells, also with the same
/// name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShellName {
    /// Name as given by the caller.
    pub name: String,
    /// User to whom the shell belongs; `None` is the user of the log-in.
    pub user: Option<SudoUser>,
}

impl ShellName {
    /// Returns the name of the default shell.
    #[must_use]
    pub fn main() -> Self {
        Self {
            name: DEFAULT_SHELL.to_owned(),
            user: None,
        }
    }

    /// Returns the name with the user whom the caller asked for; with `sudo` that is root, unless
    /// another user is named. `None` if there can be no user of that name.
    #[must_use]
    pub fn of_user(self, sudo: bool, user: Option<&str>) -> Option<Self> {
        let user = match user {
            Some(user) => Some(SudoUser::parse(user)?),
            None => sudo.then(SudoUser::root),
        };

        Some(Self { user, ..self })
    }
}

impl fmt::Display for ShellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{} as {user}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_user_comes_before_root() {
        for (sudo, user, shown) in [
            (false, None, Some("main")),
            (true, None, Some("main as root")),
            (true, Some("postgres"), Some("main as postgres")),
            (false, Some("postgres"), Some("main as postgres")),
            (true, Some("-x"), None),
        ] {
            let name = ShellName::main().of_user(sudo, user);
            assert_eq!(name.map(|name| name.to_string()).as_deref(), shown);
        }
    }
}
