//! Options applied to every channel which runs a command: `SetEnv`, `SendEnv` and `ForwardAgent`.

use super::{
    config_dump::ConfigDump,
    identity_agent::{IdentityAgent, identity_agent},
    known_hosts::{Case, glob},
};

/// Options of `ssh_config(5)` which become requests on every session channel for a command (RFC
/// 4254, section 6.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOptions {
    /// `SetEnv`: names and values, in order.
    pub set_env: Vec<(String, String)>,
    /// `SendEnv`: patterns with `*` and `?` for the names of local variables.
    pub send_env: Vec<String>,
    /// `ForwardAgent`: the agent which remote programs may use. [`IdentityAgent::None`] forwards no
    /// agent.
    pub forward_agent: IdentityAgent,
}

impl ChannelOptions {
    /// Reads the options from the output of `ssh -G`.
    pub(super) fn read(dump: &ConfigDump<'_>) -> Self {
        let pair = |line: &str| {
            line.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };

        // `SetEnv` is read with its blanks, which belong to the value.
        Self {
            set_env: dump.whole("setenv").filter_map(pair).collect(),
            send_env: dump.paths("sendenv", &[]),
            forward_agent: match dump.first("forwardagent") {
                None | Some("no" | "false") => IdentityAgent::None,
                Some("yes" | "true") => IdentityAgent::Environment,
                Some(agent) => identity_agent(agent),
            },
        }
    }

    /// Returns the variables to send, in order. Those of `SetEnv` come last, as in `ssh`, because a
    /// server keeps the last value of a name. Local variables in `withheld` are never sent, but
    /// `SetEnv` may still set them.
    pub fn environment(
        &self,
        ours: impl Iterator<Item = (String, String)>,
        withheld: &[&str],
    ) -> Vec<(String, String)> {
        // Names of variables are compared with their case, as in `ssh`.
        let wanted = |name: &str| {
            self.send_env
                .iter()
                .any(|pattern| glob(pattern.as_bytes(), name.as_bytes(), Case::Exact))
                && !withheld.contains(&name)
        };

        // `SendEnv` must not override `SetEnv`, so its variables come first.
        ours.filter(|(name, _)| wanted(name))
            .chain(self.set_env.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ChannelOptions {
        ChannelOptions::read(&ConfigDump::read(text))
    }

    #[test]
    fn set_variables_keep_their_blanks_and_their_equal_signs() {
        let options =
            read("setenv A=1\nsetenv B= x  y \r\nsetenv C=a=b\nsetenv D=\nsetenv broken\n");
        let expected = [("A", "1"), ("B", " x  y "), ("C", "a=b"), ("D", "")];
        assert_eq!(
            options.set_env,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn variables_are_sent_by_pattern_and_the_set_ones_come_last() {
        let options = read(
            "sendenv LANG\nsendenv LC_*\nsendenv X?\nsendenv SECRET*\nsetenv LANG=C\nsetenv SECRET_2=s",
        );

        let ours = [
            "LANG", "LC_ALL", "LC_", "lc_time", "X1", "X", "X22", "SECRET_1", "SECRET_2", "HOME",
        ];

        let ours = ours
            .into_iter()
            .map(|name| (name.to_owned(), "ours".to_owned()));
        let sent = options.environment(ours, &["SECRET_1", "SECRET_2"]);
        let names: Vec<String> = sent
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();

        assert_eq!(
            names,
            [
                "LANG=ours",
                "LC_ALL=ours",
                "LC_=ours",
                "X1=ours",
                "LANG=C",
                "SECRET_2=s"
            ]
        );
    }

    #[test]
    fn an_agent_is_forwarded_only_where_one_is_configured() {
        for (dump, expected) in [
            ("", IdentityAgent::None),
            ("forwardagent no", IdentityAgent::None),
            ("forwardagent yes", IdentityAgent::Environment),
            (
                "forwardagent $OTHER",
                IdentityAgent::Variable("OTHER".into()),
            ),
            (
                "forwardagent /run/my agent",
                IdentityAgent::Path("/run/my agent".into()),
            ),
        ] {
            assert_eq!(read(dump).forward_agent, expected, "{dump}");
        }
    }
}
