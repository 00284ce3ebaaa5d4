//! A page of the entries of a directory, one entry a line.

use std::ops::Range;

use chrono::DateTime;

use super::{
    display::escaped,
    page::{MAX_CHARACTERS, MAX_LINES, Start},
};

/// Number of characters of a name or target at most. No file system has longer names, but a hostile
/// server may.
const MAX_NAME_CHARACTERS: usize = 1_100;

/// Entry of a directory, as far as the host describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Name, in any bytes.
    pub name: Vec<u8>,
    /// Type and permission bits (`st_mode` of stat(2)).
    pub mode: Option<u32>,
    /// User and group, such as `root:root`.
    pub owner: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Time of the last modification, in seconds since 1970.
    pub modified: Option<u32>,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
}

/// Page of a directory, made by [`Listing::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Entries, one a line, each with LF. Control characters and bytes that are not UTF-8 are
    /// escaped.
    pub text: String,
    /// Number of the first entry of the page, from 1.
    pub first: usize,
    /// Number of entries on the page.
    pub shown: usize,
    /// Number of entries of the directory.
    pub total: usize,
    /// True if the directory has further entries, which the host has not named.
    pub is_cut: bool,
    /// True if the page has names only, because the whole lines have no room.
    pub has_names_only: bool,
}

/// Returns the positions of the entries for a page of at most `limit` entries, and never more than
/// 2,000.
#[must_use]
pub fn window(total: usize, start: Start, limit: usize) -> Range<usize> {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let first = match start {
        Start::Line(line) => number(line.max(1)) - 1,
        Start::FromEnd(wanted) => total.saturating_sub(number(wanted)),
    };
    let first = first.min(total);

    first..first.saturating_add(limit.clamp(1, MAX_LINES)).min(total)
}

impl Listing {
    /// Formats the entries of a page, the first of which is at position `at` of the directory.
    ///
    /// If the whole lines are too long for a page, it has names only, as many as have room.
    #[must_use]
    pub fn new(entries: &[Entry], at: usize, total: usize) -> Self {
        let lines: String = entries.iter().map(whole_line).collect();
        let has_names_only = lines.chars().count() > MAX_CHARACTERS;

        let (text, shown) = if has_names_only {
            names(entries)
        } else {
            (lines, entries.len())
        };

        Self {
            text,
            first: at.saturating_add(1),
            shown,
            total,
            is_cut: false,
            has_names_only,
        }
    }

    /// Returns the `offset` of the next page, unless the directory ends with this one.
    #[must_use]
    pub fn next_offset(&self) -> Option<usize> {
        let next = self.first.saturating_add(self.shown);
        (self.shown > 0 && next <= self.total).then_some(next)
    }

    /// Describes which entries are shown, as in `3 entries` and `entries 1–2000 of 2500`.
    #[must_use]
    pub fn range(&self) -> String {
        let last = self.first.saturating_add(self.shown).saturating_sub(1);
        let more_than = if self.is_cut { "more than " } else { "" };

        match (self.shown, self.total) {
            (_, 0) if !self.is_cut => "empty directory".to_owned(),
            (0, total) => format!(
                "no entry {}, the directory has {more_than}{total}",
                self.first
            ),
            (1, 1) if !self.is_cut => "1 entry".to_owned(),
            (shown, total) if shown == total && !self.is_cut => format!("{total} entries"),
            (1, total) => format!("entry {} of {more_than}{total}", self.first),
            (_, total) => format!("entries {}–{last} of {more_than}{total}", self.first),
        }
    }
}

/// Returns the names that have room on a page, and the number of them. A name ends in `/` for a
/// directory and in `@` for a link.
fn names(entries: &[Entry]) -> (String, usize) {
    let (mut text, mut characters, mut shown) = (String::new(), 0, 0);
    for entry in entries {
        let mark = match kind(entry.mode) {
            'd' => "/",
            'l' => "@",
            _ => "",
        };
        let line = format!("{}{mark}\n", on_one_line(&entry.name));

        characters += line.chars().count();
        if characters > MAX_CHARACTERS {
            break;
        }

        text.push_str(&line);
        shown += 1;
    }

    (text, shown)
}

/// Formats an entry as in `l 0777 root:root 7 2026-11-28 09:00 bin -> usr/bin`. A `?` stands for what
/// is not known.
fn whole_line(entry: &Entry) -> String {
    let unknown = || "?".to_owned();
    let mode = entry.mode.map(|mode| format!("{:04o}", mode & 0o7777));
    let time = entry
        .modified
        .and_then(|seconds| DateTime::from_timestamp(i64::from(seconds), 0))
        .map(|time| time.format("%Y-%m-%d %H:%M").to_string());
    let target = entry
        .target
        .as_ref()
        .map(|target| format!(" -> {}", on_one_line(target)))
        .unwrap_or_default();

    format!(
        "{} {} {} {} {} {}{target}\n",
        kind(entry.mode),
        mode.unwrap_or_else(unknown),
        entry.owner.clone().unwrap_or_else(unknown),
        entry.size.map_or_else(unknown, |size| size.to_string()),
        time.unwrap_or_else(unknown),
        on_one_line(&entry.name),
    )
}

/// Returns the letter of `ls -l` for the type of a file.
fn kind(mode: Option<u32>) -> char {
    match mode.unwrap_or(0) & 0o170_000 {
        0o100_000 => '-',
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '?',
    }
}

/// Returns a name on one line, also with a tab in it. One that is too long is cut.
fn on_one_line(name: &[u8]) -> String {
    let mut line = escaped(name).replace('\t', "\\t");
    if let Some((end, _)) = line.char_indices().nth(MAX_NAME_CHARACTERS) {
        line.truncate(end);
        line.push('…');
    }

    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u32) -> Entry {
        Entry {
            name: name.into(),
            mode: Some(mode),
            owner: Some("root:adm".to_owned()),
            size: Some(7),
            modified: Some(1_795_000_000),
            target: None,
        }
    }

    #[test]
    fn each_entry_is_a_line() {
        let link = Entry {
            target: Some(b"a\nb".to_vec()),
            ..entry("link", 0o120_777)
        };
        let unknown = Entry {
            name: b"\xff\t\x1b".to_vec(),
            ..Entry::default()
        };
        let entries = [
            entry("bin", 0o040_755),
            entry("su", 0o104_755),
            link,
            unknown,
        ];
        let listing = Listing::new(&entries, 0, 4);
        assert_eq!(
            listing.text,
            "d 0755 root:adm 7 2026-11-18 11:06 bin\n\
             - 4755 root:adm 7 2026-11-18 11:06 su\n\
             l 0777 root:adm 7 2026-11-18 11:06 link -> a\\nb\n\
             ? ? ? ? ? \\xff\\t\\u{1b}\n"
        );
        assert_eq!(
            (listing.range().as_str(), listing.next_offset()),
            ("4 entries", None)
        );
    }

    #[test]
    fn a_full_page_has_names_only() {
        let entries: Vec<Entry> = (0..2_000)
            .map(|number| entry(&format!("{number:08}"), 0o040_755))
            .collect();
        let listing = Listing::new(&entries, 2_000, 5_000);
        assert!(listing.has_names_only && listing.text.starts_with("00000000/\n"));
        assert_eq!(listing.shown, 2_000);
        assert_eq!(listing.range(), "entries 2001–4000 of 5000");
        assert_eq!(listing.next_offset(), Some(4_001));

        let long: Vec<Entry> = (0..400)
            .map(|_| entry(&"é".repeat(199), 0o100_644))
            .collect();
        let listing = Listing::new(&long, 0, 400);
        assert_eq!((listing.shown, listing.next_offset()), (180, Some(181)));

        let endless = [entry(&"x".repeat(99_999), 0o100_644)];
        let listing = Listing::new(&endless, 0, 1);
        assert_eq!(listing.shown, 1);
        assert!(listing.text.ends_with("xx…\n") && listing.text.len() < 1_200);
    }

    #[test]
    fn pages_begin_where_they_are_asked_to() {
        for (total, start, limit, wanted) in [
            (5, Start::Line(1), 2, 0..2),
            (5, Start::Line(4), 9, 3..5),
            (5, Start::Line(9), 9, 5..5),
            (5, Start::FromEnd(2), 9, 3..5),
            (5, Start::FromEnd(9), 2, 0..2),
            (9_000, Start::Line(1), usize::MAX, 0..2_000),
            (0, Start::Line(1), 1, 0..0),
        ] {
            assert_eq!(window(total, start, limit), wanted, "{start:?}");
        }

        assert_eq!(Listing::new(&[], 0, 0).range(), "empty directory");
        assert_eq!(
            Listing::new(&[], 5, 5).range(),
            "no entry 6, the directory has 5"
        );
        assert_eq!(Listing::new(&[], 5, 5).next_offset(), None);
        assert_eq!(Listing::new(&[entry("x", 0)], 4, 9).range(), "entry 5 of 9");

        let mut cut = Listing::new(&[entry("x", 0), entry("y", 0)], 0, 2);
        cut.is_cut = true;
        assert_eq!(cut.range(), "entries 1–2 of more than 2");
    }
}
