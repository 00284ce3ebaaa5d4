//! The `key value` lines of `ssh -G`, looked up and read one value at a time.

use std::time::Duration;

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An option without a default was not printed.
    #[error("it has no `{key}`")]
    Missing {
        /// The option, lower case as `ssh -G` prints it.
        key: &'static str,
    },
    /// The value of an option is not one that `ssh_config(5)` allows.
    #[error("it says `{key} {value}`, but `{key}` takes {expected}")]
    Invalid {
        /// The option, lower case as `ssh -G` prints it.
        key: &'static str,
        /// The value as printed.
        value: String,
        /// What would have been accepted.
        expected: &'static str,
    },
}

/// The printed lines, in order: lower-case key and value.
pub(super) struct Printed<'a>(Vec<(String, &'a str)>);

impl<'a> Printed<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        let pair = |line: &'a str| {
            line.split_once(' ')
                .map(|(key, value)| (key.to_ascii_lowercase(), value.trim_end_matches('\r')))
        };
        Self(text.lines().filter_map(pair).collect())
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.whole(key)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Every value of a key with the blanks around it.
    pub(super) fn whole(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(printed, _)| printed == key)
            .map(|(_, value)| *value)
    }

    /// Every line, in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.trim()))
    }

    /// The first value printed for `key`; an empty one counts as not printed.
    pub(super) fn first(&self, key: &str) -> Option<&'a str> {
        self.all(key).next()
    }

    pub(super) fn required(&self, key: &'static str) -> Result<String, ConfigError> {
        self.first(key)
            .map(str::to_owned)
            .ok_or(ConfigError::Missing { key })
    }

    pub(super) fn text(&self, key: &str, default: &str) -> String {
        self.first(key).unwrap_or(default).to_owned()
    }

    /// The value, unless it is the word by which `ssh` says that nothing is set.
    pub(super) fn unless_none(&self, key: &str) -> Option<String> {
        self.first(key)
            .filter(|value| *value != "none")
            .map(str::to_owned)
    }

    /// Every line of a key that may be printed more than once, without `none`.
    pub(super) fn paths(&self, key: &str, default: &[&str]) -> Vec<String> {
        let printed: Vec<&str> = self.all(key).collect();
        let paths = if printed.is_empty() {
            default
        } else {
            &printed
        };

        paths
            .iter()
            .filter(|path| **path != "none")
            .map(|path| (*path).to_owned())
            .collect()
    }

    pub(super) fn list(&self, key: &str, default: &str) -> Vec<String> {
        let value = self.first(key).unwrap_or(default);
        value
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The value read by `read`, which says `None` for one that is not `expected`.
    pub(super) fn one<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        default: T,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let Some(value) = self.first(key) else {
            return Ok(default);
        };

        read(value).ok_or_else(|| ConfigError::Invalid {
            key,
            value: value.to_owned(),
            expected,
        })
    }

    /// Two numbers on one line, 0 where they are not printed.
    pub(super) fn two_numbers(&self, key: &'static str) -> Result<(u64, u64), ConfigError> {
        self.one(key, "two numbers", (0, 0), |value| {
            let (first, second) = value.split_once(' ')?;
            Some((first.parse().ok()?, second.trim().parse().ok()?))
        })
    }

    pub(super) fn number(&self, key: &'static str, default: u32) -> Result<u32, ConfigError> {
        self.one(key, "a number", default, |value| value.parse().ok())
    }

    /// A time; `none` and 0 are no limit.
    pub(super) fn seconds(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let seconds = self.one(key, "a number of seconds", 0, |value| match value {
            "none" => Some(0),
            _ => value.parse::<u32>().ok(),
        })?;
        Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
    }

    pub(super) fn yes_no(&self, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.one(key, "yes or no", default, |value| match value {
            "yes" | "true" | "unbound" | "host-bound" => Some(true),
            "no" | "false" => Some(false),
            _ => None,
        })
    }
}
