//! Typed access to the `key value` lines of `ssh -G`.

use std::time::Duration;

/// Reason for which the output of `ssh -G` cannot be used. Each variant names the option at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An option without a default is missing.
    #[error("it has no `{key}`")]
    Missing {
        /// Name of the option in lower case, as printed by `ssh -G`.
        key: &'static str,
    },
    /// An option has a value which `ssh_config(5)` does not allow.
    #[error("it says `{key} {value}`, but `{key}` takes {expected}")]
    Invalid {
        /// Name of the option in lower case, as printed by `ssh -G`.
        key: &'static str,
        /// Value as printed.
        value: String,
        /// Values which are accepted.
        expected: &'static str,
    },
}

/// Lines of `ssh -G` in order, each with a lower-case key and the value.
pub(super) struct ConfigDump<'a>(Vec<(String, &'a str)>);

impl<'a> ConfigDump<'a> {
    /// Parses the output of `ssh -G`. Lines without a value are dropped.
    pub(super) fn read(text: &'a str) -> Self {
        let pair = |line: &'a str| {
            line.split_once(' ')
                .map(|(key, value)| (key.to_ascii_lowercase(), value.trim_end_matches('\r')))
        };
        Self(text.lines().filter_map(pair).collect())
    }

    /// Returns every non-empty value of a key without the surrounding blanks.
    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.whole(key)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Returns every value of a key, including surrounding blanks.
    pub(super) fn whole(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| *value)
    }

    /// Returns all lines in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.trim()))
    }

    /// Returns the first non-empty value of a key. `None` if the key was not printed.
    pub(super) fn first(&self, key: &str) -> Option<&'a str> {
        self.all(key).next()
    }

    /// Returns the value of an option which has no default.
    pub(super) fn required(&self, key: &'static str) -> Result<String, ConfigError> {
        self.first(key)
            .map(str::to_owned)
            .ok_or(ConfigError::Missing { key })
    }

    /// Returns the value of an option, or the default.
    pub(super) fn text(&self, key: &str, default: &str) -> String {
        self.first(key).unwrap_or(default).to_owned()
    }

    /// Returns the value of an option. `None` if the option is absent or has the value `none`, with
    /// which `ssh` prints an unset option.
    pub(super) fn unless_none(&self, key: &str) -> Option<String> {
        self.first(key)
            .filter(|value| *value != "none")
            .map(str::to_owned)
    }

    /// Returns all values of a repeatable option, without `none`. The default replaces an option
    /// which was not printed.
    pub(super) fn paths(&self, key: &str, default: &[&str]) -> Vec<String> {
        // The default applies only if nothing was printed: an explicit `none` has to leave the list
        // empty.
        let values: Vec<&str> = self.all(key).collect();
        let paths = if values.is_empty() { default } else { &values };

        paths
            .iter()
            .filter(|path| **path != "none")
            .map(|path| (*path).to_owned())
            .collect()
    }

    /// Returns the names of a comma-separated list.
    pub(super) fn list(&self, key: &str, default: &str) -> Vec<String> {
        let value = self.first(key).unwrap_or(default);
        value
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Returns a value converted by `read`, or the default if the option was not printed. `read`
    /// returns `None` for an invalid value, and the error then quotes `expected`.
    pub(super) fn one<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        default: T,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        // Older releases do not print newer options, so a missing option means the default.
        let Some(value) = self.first(key) else {
            return Ok(default);
        };

        read(value).ok_or_else(|| ConfigError::Invalid {
            key,
            value: value.to_owned(),
            expected,
        })
    }

    /// Returns the two numbers of a line, or zeros if the option was not printed.
    pub(super) fn two_numbers(&self, key: &'static str) -> Result<(u64, u64), ConfigError> {
        self.one(key, "two numbers", (0, 0), |value| {
            let (first, second) = value.split_once(' ')?;
            Some((first.parse().ok()?, second.trim().parse().ok()?))
        })
    }

    /// Returns the value of a numeric option, or the default.
    pub(super) fn number(&self, key: &'static str, default: u32) -> Result<u32, ConfigError> {
        self.one(key, "a number", default, |value| value.parse().ok())
    }

    /// Returns the value of a time option. `None` stands for no limit, printed as `none` or 0.
    pub(super) fn seconds(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let seconds = self.one(key, "a number of seconds", 0, |value| match value {
            "none" => Some(0),
            _ => value.parse::<u32>().ok(),
        })?;
        Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
    }

    /// Returns the value of a yes/no option, or the default. The variants of `PubkeyAuthentication`
    /// count as yes.
    pub(super) fn yes_no(&self, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.one(key, "yes or no", default, |value| match value {
            "yes" | "true" | "unbound" | "host-bound" => Some(true),
            "no" | "false" => Some(false),
            _ => None,
        })
    }
}
