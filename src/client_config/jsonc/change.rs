//! Changes to a text of JSON with comments.

use jsonc_parser::common::Ranged as _;

use super::{
    find::{Container, JsonDocument},
    place::{
        comma_after, line_indent, line_rest, line_start_if_blank, skip_trivia, spaces, spliced,
        trailing_space,
    },
    write::{Node, quoted},
};
use crate::client_config::{ClientConfigError, line_end};

/// Returns the text with a member at the end of the object at `path`. Objects of the path that are
/// missing are made.
///
/// # Errors
/// The text is not valid, or a value on the path is not an object.
pub(in crate::client_config) fn insert(
    text: &str,
    path: &[&'static str],
    key: &'static str,
    value: &Node,
) -> Result<String, ClientConfigError> {
    let document = JsonDocument::parse(text)?;
    let mut above = path;
    let mut key = key;
    let mut value = value.clone();

    // What is missing of the path becomes part of the new member.
    while document.object(above)?.is_none() {
        let Some((last, rest)) = above.split_last() else {
            break;
        };
        value = Node::Object(vec![(key, value)]);
        key = last;
        above = rest;
    }

    let member = NewChild {
        key: Some(key),
        value: &value,
    };
    with_child(&document, above, &member)
}

/// Returns the text with an element at the end of the list at `path`. The list and the objects of
/// the path are made if they are missing.
///
/// # Errors
/// The text is not valid, or a value on the path has another kind.
pub(in crate::client_config) fn append(
    text: &str,
    path: &[&'static str],
    value: &Node,
) -> Result<String, ClientConfigError> {
    let document = JsonDocument::parse(text)?;
    if let Some((last, above)) = path.split_last()
        && document.value(path)?.is_none()
    {
        return insert(text, above, last, &Node::List(vec![value.clone()]));
    }

    let element = NewChild { key: None, value };
    with_child(&document, path, &element)
}

/// Returns the text with another value at `path`, written on one line.
///
/// # Errors
/// The text is not valid, or there is no such value.
pub(in crate::client_config) fn replace(
    text: &str,
    path: &[&str],
    value: &Node,
) -> Result<String, ClientConfigError> {
    let document = JsonDocument::parse(text)?;
    let old = document
        .value(path)?
        .ok_or_else(|| ClientConfigError::Missing(path.join(".")))?;
    let range = old.range();

    Ok(spliced(
        text,
        document.mark + range.start,
        document.mark + range.end,
        &value.line(),
    ))
}

/// Returns the text without the child of this number of the object or list at `path`.
///
/// # Errors
/// The text is not valid, or there is no such child.
pub(in crate::client_config) fn remove(
    text: &str,
    path: &[&str],
    index: usize,
) -> Result<String, ClientConfigError> {
    let document = JsonDocument::parse(text)?;
    let missing = || ClientConfigError::Missing(path.join("."));
    let container = document.container(path)?.ok_or_else(missing)?;
    let (start, end) = *container.children.get(index).ok_or_else(missing)?;

    // With a comma after it: the child goes with its comma, and with its line if nothing else is on
    // that line.
    if let Some(comma) = comma_after(text, end, container.close) {
        let line = line_start_if_blank(text, start);
        let (from, to) = match (line, line_rest(text, comma + 1)) {
            (Some(line), Some(next)) => (line, next),
            (None, _) if index > 0 => (start - trailing_space(text, start), comma + 1),
            _ => (start, comma + 1 + spaces(text, comma + 1)),
        };
        let rest = spliced(text, from, to, "");
        return Ok(collapsed(rest, path));
    }

    // The last child, without a comma: the comma before it goes, too.
    let before = index
        .checked_sub(1)
        .and_then(|previous| container.children.get(previous));
    let from = start - trailing_space(text, start);
    let rest = spliced(text, from, end, "");
    let Some((_, previous_end)) = before else {
        return Ok(collapsed(rest, path));
    };

    Ok(match comma_after(&rest, *previous_end, rest.len()) {
        Some(comma) => spliced(&rest, comma, comma + 1, ""),
        None => rest,
    })
}

/// Returns the text without this member of the object at `path`.
///
/// # Errors
/// The text is not valid, or there is no such member.
pub(in crate::client_config) fn remove_member(
    text: &str,
    path: &[&str],
    key: &str,
) -> Result<String, ClientConfigError> {
    let document = JsonDocument::parse(text)?;
    let members = document
        .object(path)?
        .map(|object| object.properties.iter());
    let index = members
        .and_then(|mut members| members.rposition(|member| member.name.as_str() == key))
        .ok_or_else(|| ClientConfigError::Missing(key.to_owned()))?;

    remove(text, path, index)
}

/// Returns those of these paths that lead to nothing yet, with dots. The outer ones come first.
pub(in crate::client_config) fn missing(text: &str, paths: &[&[&str]]) -> Vec<String> {
    let document = JsonDocument::parse(text).ok();
    let is_there = |path: &[&str]| {
        let value = document.as_ref().map(|document| document.value(path));
        matches!(value, Some(Ok(Some(_))))
    };

    paths
        .iter()
        .filter(|path| !is_there(path))
        .map(|path| path.join("."))
        .collect()
}

/// Returns the text without those objects and lists of [`missing`] that are empty.
///
/// # Errors
/// The text is not valid.
pub(in crate::client_config) fn prune(
    text: &str,
    made: &[String],
) -> Result<String, ClientConfigError> {
    let mut text = text.to_owned();
    for path in made.iter().rev() {
        let keys: Vec<&str> = path.split('.').collect();
        let is_empty = JsonDocument::parse(&text)?
            .container(&keys)?
            .is_some_and(|container| container.children.is_empty());
        if let Some((last, above)) = keys.split_last()
            && is_empty
        {
            text = remove_member(&text, above, last)?;
        }
    }

    Ok(text)
}

/// New child of an object (with a key) or of a list (without one).
struct NewChild<'a> {
    key: Option<&'a str>,
    value: &'a Node,
}

impl NewChild<'_> {
    /// Puts the key before the value.
    fn named(&self, value: &str) -> String {
        match self.key {
            Some(key) => format!("{}: {value}", quoted(key)),
            None => value.to_owned(),
        }
    }
}

/// Adds a child to the object or list at `path`, in the style of what is there.
fn with_child(
    document: &JsonDocument<'_>,
    path: &[&str],
    child: &NewChild<'_>,
) -> Result<String, ClientConfigError> {
    let text = document.text;
    let end = line_end(text);

    // A file without a value gets one at its end, after the comments that it may have.
    if document.is_empty() {
        let unit = "  ";
        let separator = if text.is_empty() || text.ends_with(['\n', '\u{feff}']) {
            ""
        } else {
            end
        };
        let child = child.named(&child.value.lines(unit, unit, end));
        return Ok(format!("{text}{separator}{{{end}{unit}{child}{end}}}{end}"));
    }

    let container = document
        .container(path)?
        .ok_or_else(|| ClientConfigError::Missing(path.join(".")))?;
    let unit = indent_unit(document, text);

    Ok(match container.children.as_slice() {
        [] => into_empty(text, &container, child, &unit, end),
        [(first, _), .., (_, last)] | [(first, last)] => {
            let is_on_lines = text
                .get(container.inside..*first)
                .is_some_and(|between| between.contains('\n'));
            if is_on_lines {
                let indent = line_indent(text, *first);
                let child = child.named(&child.value.lines(&unit, indent, end));
                after_last_line(text, &container, *last, &child, end)
            } else {
                after_last(text, &container, *last, &child.named(&child.value.line()))
            }
        }
    })
}

/// Adds the first child, after the comments that the brackets may hold.
fn into_empty(
    text: &str,
    container: &Container,
    child: &NewChild<'_>,
    unit: &str,
    end: &str,
) -> String {
    let base = line_indent(text, container.inside);
    let indent = format!("{base}{unit}");
    let inner = text
        .get(container.inside..container.close)
        .unwrap_or_default();
    let kept = inner.trim_end();
    let child = child.named(&child.value.lines(unit, &indent, end));

    spliced(
        text,
        container.inside + kept.len(),
        container.close,
        &format!("{end}{indent}{child}{end}{base}"),
    )
}

/// Adds a child on a line of its own after the line of the last one.
fn after_last_line(
    text: &str,
    container: &Container,
    last: usize,
    child: &str,
    end: &str,
) -> String {
    let comma = comma_after(text, last, container.close);
    let behind = comma.map_or(last, |comma| comma + 1);

    // A comment on that line belongs to the last child and stays with it.
    let rest = text.get(behind..container.close).unwrap_or_default();
    let line = rest.split('\n').next().unwrap_or_default();
    let is_comment_or_blank = rest.contains('\n') && skip_trivia(line, 0) >= line.trim_end().len();
    let place = if is_comment_or_blank {
        behind + line.trim_end().len()
    } else {
        behind
    };

    let indent = line_indent(
        text,
        container.children.first().map_or(last, |child| child.0),
    );
    let trailing = if comma.is_some() { "," } else { "" };
    let added = spliced(
        text,
        place,
        place,
        &format!("{end}{indent}{child}{trailing}"),
    );
    if comma.is_some() {
        return added;
    }

    spliced(&added, last, last, ",")
}

/// Adds a child on the line of the last one.
fn after_last(text: &str, container: &Container, last: usize, child: &str) -> String {
    match comma_after(text, last, container.close) {
        Some(comma) => spliced(text, comma + 1, comma + 1, &format!(" {child},")),
        None => spliced(text, last, last, &format!(", {child}")),
    }
}

/// Returns the text with an object or list at `path` that has become empty written as `{}` or `[]`.
fn collapsed(text: String, path: &[&str]) -> String {
    let container = JsonDocument::parse(&text)
        .ok()
        .and_then(|document| document.container(path).ok().flatten());
    let Some(Container { inside, close, .. }) = container else {
        return text;
    };

    let is_blank = text
        .get(inside..close)
        .is_some_and(|inner| inner.trim().is_empty());
    if is_blank {
        spliced(&text, inside, close, "")
    } else {
        text
    }
}

/// Returns the indentation that one level adds in this text: that of the first member of the root,
/// else two spaces.
fn indent_unit(document: &JsonDocument<'_>, text: &str) -> String {
    let root = document.container(&[]).ok().flatten();
    let first = root.and_then(|root| root.children.first().copied());
    let indent = first.and_then(|(start, _)| Some(line_start_if_blank(text, start)?..start));
    let indent = indent.and_then(|range| text.get(range)).unwrap_or_default();
    if indent.is_empty() { "  " } else { indent }.to_owned()
}
