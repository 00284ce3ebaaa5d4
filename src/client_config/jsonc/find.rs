//! Parses a text and finds what a change needs: the ranges of values.

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Object, Value},
    common::Ranged,
    parse_to_ast,
};

use crate::client_config::{ClientConfigError, line_of};

/// Byte order mark. Some editors of Windows write it, and the clients ignore it.
const BOM: &str = "\u{feff}";

/// Parsed text. `None` means that the text has no value: it is empty, or has only comments.
#[derive(Debug)]
pub(in crate::client_config) struct JsonDocument<'a> {
    /// The whole text, with its byte order mark.
    pub(super) text: &'a str,
    /// Number of bytes of the byte order mark. Ranges of `root` begin after it.
    pub(super) mark: usize,
    root: Option<Value<'a>>,
}

impl<'a> JsonDocument<'a> {
    /// Parses the text.
    ///
    /// # Errors
    /// The text is not JSON with comments and trailing commas.
    pub(in crate::client_config) fn parse(text: &'a str) -> Result<Self, ClientConfigError> {
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };

        let content = text.strip_prefix(BOM).unwrap_or(text);
        let parsed =
            parse_to_ast(content, &CollectOptions::default(), &options).map_err(|error| {
                ClientConfigError::Syntax {
                    format: "JSON",
                    line: line_of(content, error.range().start),
                    reason: error.kind().to_string(),
                }
            })?;

        Ok(Self {
            text,
            mark: text.len() - content.len(),
            root: parsed.value,
        })
    }

    /// Returns the object at this path, or `None` if a key of the path is missing. A `null` counts
    /// as missing only if nothing has to be put into it.
    ///
    /// # Errors
    /// A value on the path is not an object.
    pub(in crate::client_config) fn object(
        &self,
        path: &[&str],
    ) -> Result<Option<&Object<'a>>, ClientConfigError> {
        let Some(root) = &self.root else {
            return Ok(None);
        };

        let mut value = root;
        let mut seen = Vec::new();
        for key in path {
            let Some(next) = member(as_object(value, &seen)?, key) else {
                return Ok(None);
            };
            seen.push(*key);
            value = next;
        }

        as_object(value, &seen).map(Some)
    }

    /// Returns the value at this path, or `None` if a key of the path is missing.
    ///
    /// # Errors
    /// A value above it is not an object.
    pub(in crate::client_config) fn value(
        &self,
        path: &[&str],
    ) -> Result<Option<&Value<'a>>, ClientConfigError> {
        let Some((last, above)) = path.split_last() else {
            return Ok(self.root.as_ref());
        };

        Ok(self.object(above)?.and_then(|object| member(object, last)))
    }

    /// Returns true if the text has no value.
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Returns the range of an object or a list, and those of its members or elements.
    ///
    /// # Errors
    /// The value is neither.
    pub(super) fn container(&self, path: &[&str]) -> Result<Option<Container>, ClientConfigError> {
        let Some(value) = self.value(path)? else {
            return Ok(None);
        };

        let children = match value {
            Value::Object(object) => object.properties.iter().map(|one| one.range).collect(),
            Value::Array(array) => array.elements.iter().map(Ranged::range).collect(),
            _ => {
                return Err(ClientConfigError::WrongKind {
                    key: path.join("."),
                    wanted: "an object or a list",
                });
            }
        };

        Ok(Some(Container::new(self.mark, value.range(), children)))
    }
}

/// Positions of an object or a list in the whole text.
#[derive(Debug)]
pub(super) struct Container {
    /// Position after the opening bracket.
    pub(super) inside: usize,
    /// Position of the closing bracket.
    pub(super) close: usize,
    /// Start and end of each member or element.
    pub(super) children: Vec<(usize, usize)>,
}

impl Container {
    /// Creates the positions from ranges that begin after the byte order mark.
    fn new(
        mark: usize,
        own: jsonc_parser::common::Range,
        children: Vec<jsonc_parser::common::Range>,
    ) -> Self {
        Self {
            inside: mark + own.start + 1,
            close: (mark + own.end).saturating_sub(1),
            children: children
                .into_iter()
                .map(|range| (mark + range.start, mark + range.end))
                .collect(),
        }
    }
}

/// Returns the member of this name. Of several, the last one counts, as in `JSON.parse`.
fn member<'a, 'b>(object: &'b Object<'a>, key: &str) -> Option<&'b Value<'a>> {
    let mut members = object.properties.iter().rev();
    members
        .find(|one| one.name.as_str() == key)
        .map(|one| &one.value)
}

/// Returns the value as an object.
fn as_object<'a, 'b>(
    value: &'b Value<'a>,
    path: &[&str],
) -> Result<&'b Object<'a>, ClientConfigError> {
    value
        .as_object()
        .ok_or_else(|| ClientConfigError::WrongKind {
            key: if path.is_empty() {
                "the whole file".to_owned()
            } else {
                path.join(".")
            },
            wanted: "an object",
        })
}

/// Returns the strings of a list. Other elements are left out.
pub(in crate::client_config) fn strings(value: &Value<'_>) -> Vec<String> {
    let elements = value.as_array().map(|array| array.elements.as_slice());
    elements
        .unwrap_or_default()
        .iter()
        .filter_map(|one| Some(one.as_string_lit()?.value.to_string()))
        .collect()
}
