//! Reads the tables and values of a text of TOML, with their places.

use std::ops::Range;

use toml_parser::{
    Source,
    parser::{Event, EventKind, parse_document},
};

use super::{LeafValue, TableRange, TomlDocument, TomlLeaf};

/// Makes tables and values of the parser's events.
pub(super) struct EventReader<'a> {
    document: TomlDocument<'a>,
    source: Source<'a>,
    /// Keys of the current header.
    header: Vec<String>,
    /// Keys of the current value.
    keys: Vec<String>,
    /// Number of keys before each open inline table.
    inline: Vec<usize>,
    /// The open array: its start, its depth, and its strings.
    list: Option<(usize, usize, Vec<String>)>,
    is_header: bool,
}

impl<'a> EventReader<'a> {
    /// Reads a text that is valid.
    pub(super) fn read(text: &'a str) -> TomlDocument<'a> {
        let source = Source::new(text);
        let tokens = source.lex().into_vec();
        let mut events: Vec<Event> = Vec::new();
        parse_document(&tokens, &mut events, &mut ());

        let mut reader = Self {
            document: TomlDocument {
                text,
                tables: Vec::new(),
                leaves: Vec::new(),
            },
            source,
            header: Vec::new(),
            keys: Vec::new(),
            inline: Vec::new(),
            list: None,
            is_header: false,
        };
        for event in &events {
            reader.take(event);
        }

        reader.document
    }

    /// Takes the next event.
    fn take(&mut self, event: &Event) {
        let span = event.span().start()..event.span().end();

        match event.kind() {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.is_header = true;
                self.header.clear();
                self.keys.clear();
                self.document.tables.push(TableRange {
                    path: Vec::new(),
                    range: span,
                });
            }
            EventKind::StdTableClose | EventKind::ArrayTableClose => {
                self.is_header = false;
                self.extend(&span);
                if let Some(table) = self.document.tables.last_mut() {
                    table.path.clone_from(&self.header);
                }
            }
            EventKind::SimpleKey => {
                let key = self.decoded(event, true);
                if self.is_header {
                    self.header.push(key);
                } else if self.list.is_none() {
                    self.keys.push(key);
                }
            }
            EventKind::InlineTableOpen if self.list.is_none() => self.inline.push(self.keys.len()),
            EventKind::InlineTableClose if self.list.is_none() => {
                self.inline.pop();
                self.ended(&span);
            }
            EventKind::ArrayOpen => match &mut self.list {
                Some((_, depth, _)) => *depth += 1,
                None => self.list = Some((span.start, 1, Vec::new())),
            },
            EventKind::ArrayClose => self.close_array(&span),
            EventKind::Scalar => {
                let text = self.decoded(event, false);
                match &mut self.list {
                    Some((_, 1, strings)) => strings.push(text),
                    Some(_) => {}
                    None => self.leaf(LeafValue::Text(text), span),
                }
            }
            _ => {}
        }
    }

    /// Ends an array; the outermost one is a value.
    fn close_array(&mut self, span: &Range<usize>) {
        if let Some((start, depth, strings)) = self.list.take() {
            if depth > 1 {
                self.list = Some((start, depth - 1, strings));
            } else {
                self.leaf(LeafValue::List(strings), start..span.end);
            }
        }
    }

    /// Keeps a value.
    fn leaf(&mut self, value: LeafValue, range: Range<usize>) {
        let path = self.header.iter().chain(&self.keys).cloned().collect();
        self.ended(&range);
        self.document.leaves.push(TomlLeaf { path, value, range });
    }

    /// Forgets the keys of a value that has ended.
    fn ended(&mut self, range: &Range<usize>) {
        self.keys.truncate(self.inline.last().copied().unwrap_or(0));
        self.extend(range);
    }

    /// Extends the current table to the end of this range.
    fn extend(&mut self, range: &Range<usize>) {
        if let Some(table) = self.document.tables.last_mut() {
            table.range.end = range.end;
        }
    }

    /// Returns a key or a value without its quotes and escapes.
    fn decoded(&self, event: &Event, is_key: bool) -> String {
        let mut text = std::borrow::Cow::Borrowed("");
        if let Some(raw) = self.source.get(event) {
            if is_key {
                raw.decode_key(&mut text, &mut ());
            } else {
                let _ = raw.decode_scalar(&mut text, &mut ());
            }
        }
        text.into_owned()
    }
}
