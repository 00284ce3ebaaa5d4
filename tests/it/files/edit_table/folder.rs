//! All that is in a folder, and how it differs from what was expected.

use std::{
    collections::BTreeMap,
    fs::{self, FileType, Metadata},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::Path,
};

use rustix::fs::{lgetxattr, llistxattr};

use super::{
    row::{Content, Expected},
    server::OLD,
};

/// Everything below a folder by its path, which is relative and escaped. The folder itself is `.`.
pub(super) type Folder = BTreeMap<String, Entry>;

/// A file or directory, except for the time of its last use.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    kind: char,
    inode: u64,
    links: u64,
    mode: u32,
    owner: (u32, u32),
    /// Nanoseconds since 1970.
    modified: i128,
    /// Extended attributes, among them the access control lists.
    attributes: BTreeMap<String, Vec<u8>>,
    /// Content of a file, target of a link, number of a device.
    content: Vec<u8>,
}

/// Looks at everything below a folder.
pub(super) fn look(folder: &Path) -> Folder {
    let mut found = Folder::new();
    add(&mut found, folder, folder);
    found
}

fn add(found: &mut Folder, root: &Path, path: &Path) {
    let metadata = fs::symlink_metadata(path).expect("an entry of the folder");
    let relative = path.strip_prefix(root).expect("below the folder");
    let name = match relative.as_os_str().as_bytes() {
        b"" => ".".to_owned(),
        name => name.escape_ascii().to_string(),
    };
    found.insert(name, Entry::of(path, &metadata));

    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten() {
            add(found, root, &entry.expect("an entry").path());
        }
    }
}

impl Entry {
    fn of(path: &Path, metadata: &Metadata) -> Self {
        let kind = kind(metadata.file_type());
        let content = match kind {
            // Only root can read each of them.
            '-' => fs::read(path).unwrap_or_default(),
            'l' => fs::read_link(path)
                .expect("a link")
                .into_os_string()
                .into_encoded_bytes(),
            _ => metadata.rdev().to_string().into_bytes(),
        };

        // Directories have as many links as directories in them, and change with their entries.
        let is_directory = kind == 'd';
        let modified =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());

        Self {
            kind,
            inode: metadata.ino(),
            links: if is_directory { 0 } else { metadata.nlink() },
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            modified: if is_directory { 0 } else { modified },
            attributes: attributes(path),
            content,
        }
    }

    /// Names what differs, although it should be the same.
    fn differences(&self, after: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differs = |what: &str, before: String, after: String| {
            if before != after {
                differences.push(format!("{what} {before} became {after}"));
            }
        };

        differs("kind", self.kind.into(), after.kind.into());
        differs(
            "mode",
            format!("{:04o}", self.mode),
            format!("{:04o}", after.mode),
        );
        differs(
            "owner",
            format!("{:?}", self.owner),
            format!("{:?}", after.owner),
        );
        differs(
            "number of links",
            self.links.to_string(),
            after.links.to_string(),
        );
        differs(
            "attributes",
            shown(&self.attributes),
            shown(&after.attributes),
        );

        differences
    }
}

fn kind(file_type: FileType) -> char {
    match file_type {
        kind if kind.is_file() => '-',
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        kind if kind.is_fifo() => 'p',
        _ => 'c',
    }
}

fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names).unwrap_or_default();
    names.truncate(length);

    names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = lgetxattr(path, name, &mut value).unwrap_or_default();
            value.truncate(length);
            (name.escape_ascii().to_string(), value)
        })
        .collect()
}

fn shown(attributes: &BTreeMap<String, Vec<u8>>) -> String {
    let each = attributes
        .iter()
        .map(|(name, value)| format!("{name}={}", value.escape_ascii()));
    format!("[{}]", each.collect::<Vec<_>>().join(", "))
}

/// Names all that is otherwise than expected. New files are of `user`.
pub(super) fn differences(
    before: &Folder,
    after: &Folder,
    expected: &Expected,
    user: u32,
) -> Vec<String> {
    let mut before = before.clone();
    let mut found = Vec::new();
    for (from, to) in &expected.moved {
        let entry = before.remove(*from).expect("a file that is moved");
        before.insert((*to).to_owned(), entry);
    }

    let changed: BTreeMap<_, _> = expected
        .files
        .iter()
        .map(|(name, content)| (*name, content))
        .collect();

    let mode = |name: &str| {
        let modes = &mut expected.modes.iter();
        modes
            .find(|(with_mode, _)| *with_mode == name)
            .map(|(_, mode)| *mode)
    };

    for (name, entry) in &before {
        let mut say = |what: String| found.push(format!("{name}: {what}"));
        match (after.get(name), changed.get(name.as_str())) {
            (None, _) if expected.gone.contains(&name.as_str()) => {}
            (None, _) => say("is gone".into()),
            (Some(_), _) if expected.gone.contains(&name.as_str()) => say("is still there".into()),
            (Some(now), content) => {
                let mut entry = entry.clone();
                entry.mode = mode(name).unwrap_or(entry.mode);
                entry.differences(now).into_iter().for_each(&mut say);
                match content {
                    Some(content) => {
                        as_changed(&entry, now, &content.after(&entry.content), &mut say);
                    }
                    None => as_before(&entry, now, &mut say),
                }
            }
        }
    }

    for (name, entry) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        let mut say = |what: String| found.push(format!("{name}: {what}"));
        match changed.get(name.as_str()) {
            Some(content) => {
                as_new(entry, ('-', mode(name).unwrap_or(0o644), user), &mut say);
                compare(&content.after(b""), &entry.content, &mut say);
            }
            None if expected.directories.contains(&name.as_str()) => {
                as_new(entry, ('d', mode(name).unwrap_or(0o755), user), &mut say);
            }
            None => say("was left behind".into()),
        }
    }

    for name in changed.keys().chain(&expected.directories) {
        if !after.contains_key(*name) && !before.contains_key(*name) {
            found.push(format!("{name}: was not created"));
        }
    }

    found
}

fn as_before(before: &Entry, now: &Entry, say: &mut impl FnMut(String)) {
    compare(&before.content, &now.content, say);
    if before.inode != now.inode {
        say("is another file".into());
    }
    if before.modified != now.modified {
        say("has another time".into());
    }
}

fn as_changed(before: &Entry, now: &Entry, content: &[u8], say: &mut impl FnMut(String)) {
    compare(content, &now.content, say);
    if before.links > 1 && before.inode != now.inode {
        say("has lost its other names".into());
    }
    if now.modified < before.modified || (before.is_old() && now.is_old()) {
        say("has its old time".into());
    }
}

fn as_new(now: &Entry, (kind, mode, user): (char, u32, u32), say: &mut impl FnMut(String)) {
    let (is, should_be) = ((now.kind, now.mode, now.owner.0), (kind, mode, user));
    if is != should_be {
        say(format!(
            "is new with {is:?} instead of {should_be:?} (modes in decimal)"
        ));
    }
}

/// Says where two contents begin to differ.
fn compare(expected: &[u8], found: &[u8], say: &mut impl FnMut(String)) {
    if expected == found {
        return;
    }

    let same = expected
        .iter()
        .zip(found)
        .take_while(|(a, b)| a == b)
        .count();
    let around = |content: &[u8]| {
        let end = content.len().min(same + 40);
        content[same.saturating_sub(20).min(end)..end]
            .escape_ascii()
            .to_string()
    };
    say(format!(
        "\"{}\" where \"{}\" was expected, at byte {same} of {} (expected {})",
        around(found),
        around(expected),
        found.len(),
        expected.len()
    ));
}

impl Entry {
    /// Reports whether the file has the time that the runner gave it.
    fn is_old(&self) -> bool {
        self.modified == i128::from(OLD) * 1_000_000_000
    }
}

impl Content {
    fn after(&self, before: &[u8]) -> Vec<u8> {
        let (old, new) = match self {
            Self::Is(content) => return content.clone(),
            Self::Swapped(old, new) => (old.as_bytes(), new.as_bytes()),
        };

        let at = memchr::memmem::find(before, old).expect("the file has the text");
        [&before[..at], new, &before[at + old.len()..]].concat()
    }
}
