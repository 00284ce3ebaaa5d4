//! TOML, changed as text: the tables of MCP servers in Codex's configuration.

mod change;
mod read;
#[cfg(test)]
mod tests;

use std::ops::Range;

use ::toml::de::DeTable;

use self::read::EventReader;
use super::{ClientConfigError, launch::Launch, line_of};

/// Key of the table of all servers.
const SERVERS: &str = "mcp_servers";

/// A text, its tables and its values.
#[derive(Debug)]
pub(super) struct TomlDocument<'a> {
    text: &'a str,
    tables: Vec<TableRange>,
    leaves: Vec<TomlLeaf>,
}

/// Table with a header, such as `[mcp_servers.ssh]`.
#[derive(Debug)]
struct TableRange {
    path: Vec<String>,
    /// From the bracket of the header to the end of the last value.
    range: Range<usize>,
}

/// Value that is neither an inline table nor part of an array.
#[derive(Debug)]
struct TomlLeaf {
    /// All keys that lead to the value, those of the header first.
    path: Vec<String>,
    value: LeafValue,
    range: Range<usize>,
}

/// Value as far as it matters here.
#[derive(Debug)]
enum LeafValue {
    Text(String),
    List(Vec<String>),
}

impl<'a> TomlDocument<'a> {
    /// Parses the text.
    ///
    /// # Errors
    /// The text is not TOML, or has a key twice.
    pub(super) fn parse(text: &'a str) -> Result<Self, ClientConfigError> {
        DeTable::parse(text).map_err(|error| ClientConfigError::Syntax {
            format: "TOML",
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            reason: error.message().lines().collect::<Vec<_>>().join("; "),
        })?;

        Ok(EventReader::read(text))
    }

    /// Returns the name of each server, in order, and how it is started. `None`: it is not started
    /// by a command.
    pub(super) fn servers(&self) -> Vec<(String, Option<Launch>)> {
        let tables = self.tables.iter().map(|table| &table.path);
        let mut names: Vec<&String> = Vec::new();
        for path in tables.chain(self.leaves.iter().map(|leaf| &leaf.path)) {
            if let [servers, name, ..] = path.as_slice()
                && servers == SERVERS
                && !names.contains(&name)
            {
                names.push(name);
            }
        }

        names
            .into_iter()
            .map(|name| (name.clone(), self.launch(name)))
            .collect()
    }

    /// Returns the command of a server.
    fn launch(&self, name: &str) -> Option<Launch> {
        let Some(LeafValue::Text(command)) = self.leaf(name, "command").map(|leaf| &leaf.value)
        else {
            return None;
        };
        let args = match self.leaf(name, "args").map(|leaf| &leaf.value) {
            Some(LeafValue::List(args)) => args.clone(),
            _ => Vec::new(),
        };

        Some(Launch {
            command: command.clone(),
            args,
        })
    }

    /// Returns the commands of all hooks, in the form `[[hooks.PreToolUse.hooks]]`.
    pub(super) fn hook_commands(&self) -> Vec<&str> {
        let leaves = self.leaves.iter().filter(|leaf| {
            let keys: Vec<&str> = leaf.path.iter().map(String::as_str).collect();
            matches!(keys.as_slice(), ["hooks", _, "hooks", "command"])
        });

        leaves
            .filter_map(|leaf| match &leaf.value {
                LeafValue::Text(command) => Some(command.as_str()),
                LeafValue::List(_) => None,
            })
            .collect()
    }

    /// Returns a value of a server.
    fn leaf(&self, name: &str, key: &str) -> Option<&TomlLeaf> {
        self.leaves
            .iter()
            .find(|leaf| leaf.path.as_slice() == [SERVERS, name, key])
    }
}
