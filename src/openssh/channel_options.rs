//! What the configuration puts on every channel that runs a command: `SetEnv`, `SendEnv` and `ForwardAgent`.

use super::{
    config_dump::Printed,
    identity_agent::{IdentityAgent, identity_agent},
    known_hosts::{Case, glob},
};

/// The options of `ssh_config(5)` that become requests on a session channel (RFC 4254 section 6.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOptions {
    /// `SetEnv`, in order: names and values.
    pub set_env: Vec<(String, String)>,
    /// `SendEnv`: patterns with `*` and `?` for the names of local variables.
    pub send_env: Vec<String>,
    /// `ForwardAgent`: the agent that remote programs may use; [`IdentityAgent::None`] forwards none.
    pub forward_agent: IdentityAgent,
}

impl ChannelOptions {
    pub(super) fn read(printed: &Printed<'_>) -> Self {
        let pair = |line: &str| {
            line.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };

        Self {
            set_env: printed.whole("setenv").filter_map(pair).collect(),
            send_env: printed.paths("sendenv", &[]),
            forward_agent: match printed.first("forwardagent") {
                None | Some("no" | "false") => IdentityAgent::None,
                Some("yes" | "true") => IdentityAgent::Environment,
                Some(place) => identity_agent(place),
            },
        }
    }

    /// The variables to send, those of `SetEnv` last, as `ssh` does: a server takes the last of one name. Variables in
    /// `withheld` are sent only if `SetEnv` has them.
    pub fn environment(
        &self,
        ours: impl Iterator<Item = (String, String)>,
        withheld: &[&str],
    ) -> Vec<(String, String)> {
        let wanted = |name: &str| {
            self.send_env
                .iter()
                .any(|pattern| glob(pattern.as_bytes(), name.as_bytes(), Case::Exact))
                && !withheld.contains(&name)
        };

        ours.filter(|(name, _)| wanted(name))
            .chain(self.set_env.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ChannelOptions {
        ChannelOptions::read(&Printed::read(text))
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
        for (printed, expected) in [
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
            assert_eq!(read(printed).forward_agent, expected, "{printed}");
        }
    }
}
