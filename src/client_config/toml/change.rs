//! Changes to a text of TOML.

use std::{fmt::Write as _, ops::Range};

use ::toml::de::DeTable;

use super::{SERVERS, TableRange, TomlDocument, TomlLeaf};
use crate::client_config::{ClientConfigError, launch::Launch, line_end};

impl TomlDocument<'_> {
    /// Returns the text with another server at its end.
    ///
    /// # Errors
    /// `mcp_servers` is an inline table, to which nothing can be added from outside.
    pub(in crate::client_config) fn with_server(
        &self,
        name: &str,
        launch: &Launch,
    ) -> Result<String, ClientConfigError> {
        let has_inline = self.leaves.iter().any(|leaf| {
            leaf.path.first().is_some_and(|key| key == SERVERS) && !self.is_in_table(leaf)
        });
        if has_inline {
            return Err(ClientConfigError::Inline(SERVERS.to_owned()));
        }

        let text = self.text;
        let end = line_end(text);
        let separator = match text {
            "" => "",
            _ if text.ends_with('\n') => end,
            _ => &format!("{end}{end}"),
        };
        let command = quoted(&launch.command);
        let args = list(&launch.args);

        let with = format!(
            "{text}{separator}[{SERVERS}.{name}]{end}command = {command}{end}args = {args}{end}"
        );
        // An empty inline table has no values that would have shown it.
        match DeTable::parse(&with) {
            Ok(_) => Ok(with),
            Err(_) => Err(ClientConfigError::Inline(SERVERS.to_owned())),
        }
    }

    /// Returns the text with another command for this server.
    ///
    /// # Errors
    /// The server has no command.
    pub(in crate::client_config) fn with_launch(
        &self,
        name: &str,
        launch: &Launch,
    ) -> Result<String, ClientConfigError> {
        let missing = || ClientConfigError::Missing(format!("{SERVERS}.{name}.command"));
        let command = self.leaf(name, "command").ok_or_else(missing)?;
        let mut changes = vec![(command.range.clone(), quoted(&launch.command))];
        match self.leaf(name, "args") {
            Some(args) => changes.push((args.range.clone(), list(&launch.args))),
            None if launch.args.is_empty() => {}
            None => return Err(ClientConfigError::Missing(format!("{SERVERS}.{name}.args"))),
        }

        // From the end, so that the ranges before stay right.
        changes.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        let mut text = self.text.to_owned();
        for (range, value) in changes {
            text.replace_range(range, &value);
        }

        Ok(text)
    }

    /// Returns the text without this server's tables, and without the empty line before each.
    ///
    /// # Errors
    /// The server has no table of its own.
    pub(in crate::client_config) fn without_server(
        &self,
        name: &str,
    ) -> Result<String, ClientConfigError> {
        let is_own = |path: &[String]| matches!(path, [servers, own, ..] if servers == SERVERS && own == name);
        let tables: Vec<&TableRange> = self
            .tables
            .iter()
            .filter(|table| is_own(&table.path))
            .collect();
        if tables.is_empty() {
            return Err(ClientConfigError::Inline(format!("{SERVERS}.{name}")));
        }

        let mut text = self.text.to_owned();
        for table in tables.into_iter().rev() {
            text.replace_range(self.lines_of(&table.range), "");
        }

        Ok(text)
    }

    /// Returns the lines of a table, with an empty line before it.
    fn lines_of(&self, table: &Range<usize>) -> Range<usize> {
        let before = self.text.get(..table.start).unwrap_or_default();
        let before = before.trim_end_matches([' ', '\t']);
        let above = before.strip_suffix('\n').unwrap_or(before);
        let above = above.strip_suffix('\r').unwrap_or(above);
        let start = if above.ends_with('\n') {
            above.len()
        } else {
            before.len()
        };

        let rest = self.text.get(table.end..).unwrap_or_default();
        let line = rest.split_inclusive('\n').next().unwrap_or_default();
        start..table.end + line.len()
    }

    /// Returns true if a header leads to this value at least as far as to its server.
    fn is_in_table(&self, leaf: &TomlLeaf) -> bool {
        self.tables
            .iter()
            .any(|table| table.range.contains(&leaf.range.start))
    }
}

/// Returns the basic string of a text (TOML 1.0, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// Returns the array of these strings, on one line.
fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}
