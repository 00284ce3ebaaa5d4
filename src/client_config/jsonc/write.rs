//! Writes new values, in the order of their members.

use serde_json::Value as Json;

/// Value to be written.
#[derive(Debug, Clone)]
pub(in crate::client_config) enum Node {
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// An object. The order of its members is kept.
    Object(Vec<(&'static str, Node)>),
}

impl Node {
    /// Creates a string.
    pub(in crate::client_config) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Creates a list of strings.
    pub(in crate::client_config) fn texts(texts: &[String]) -> Self {
        Self::List(texts.iter().cloned().map(Self::Text).collect())
    }

    /// Writes the value on one line.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::List(elements) => {
                let elements: Vec<String> = elements.iter().map(Self::line).collect();
                format!("[{}]", elements.join(", "))
            }
            Self::Object(members) if members.is_empty() => "{}".to_owned(),
            Self::Object(members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{}: {}", quoted(key), value.line()))
                    .collect();
                format!("{{ {} }}", members.join(", "))
            }
        }
    }

    /// Writes an object, or a list of objects, over several lines. Lists of strings stay on one
    /// line, as people write them.
    ///
    /// Each line after the first begins with `indent`. A level adds `unit`, and `end` ends a line.
    pub(super) fn lines(&self, unit: &str, indent: &str, end: &str) -> String {
        let deeper = format!("{indent}{unit}");
        let (brackets, children): (_, Vec<String>) = match self {
            Self::Object(members) if !members.is_empty() => (
                ('{', '}'),
                members
                    .iter()
                    .map(|(key, value)| {
                        format!("{}: {}", quoted(key), value.lines(unit, &deeper, end))
                    })
                    .collect(),
            ),
            Self::List(elements) if elements.iter().any(|one| matches!(one, Self::Object(_))) => (
                ('[', ']'),
                elements
                    .iter()
                    .map(|one| one.lines(unit, &deeper, end))
                    .collect(),
            ),
            _ => return self.line(),
        };

        let children = children.join(&format!(",{end}{deeper}"));
        format!(
            "{}{end}{deeper}{children}{end}{indent}{}",
            brackets.0, brackets.1
        )
    }
}

/// Returns the JSON string of a text.
pub(super) fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}
