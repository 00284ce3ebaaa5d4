//! A row of the table: files, a call, and what must be there afterwards.

use serde_json::{Value, json};

use super::server::Server;

/// A case. Its folder has the files `f` (`alpha`, `beta` and `gamma`, a line each) and `other` before `given` runs.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Commands for `sh`, run on this machine in the folder by whoever runs the tests. Exit status 75 skips the row.
    pub(super) given: &'static str,
    /// Steps before the call that is judged.
    pub(super) before: Vec<Step>,
    /// Arguments of `ssh_edit`, in which `$D` stands for the folder.
    pub(super) call: Value,
    pub(super) expected: Expected,
    /// Servers at which the row makes sense.
    pub(super) only: fn(&Server) -> bool,
    /// Commands that undo what keeps the folder from being deleted.
    pub(super) finally: &'static str,
}

/// What happens before the call that is judged.
pub(super) enum Step {
    /// `ssh_read` of a path, in which `$D` stands for the folder.
    Read(&'static str),
    /// `ssh_edit` with these arguments.
    Edit(Value),
    /// Commands for `sh` on this machine, in the folder.
    Here(&'static str),
    /// A command for `ssh_shell`, in which `$D` stands for the folder.
    Shell(&'static str),
}

/// What a call does to the folder. All that is not named stays as it was, in every respect.
///
/// Names are relative to the folder, and escaped as by `escape_ascii`.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) refused: bool,
    /// Files that have another content, and files that are new.
    pub(super) files: Vec<(&'static str, Content)>,
    /// Modes that are new. Other files keep theirs, and other new files have 0644.
    pub(super) modes: Vec<(&'static str, u32)>,
    /// New directories.
    pub(super) directories: Vec<&'static str>,
    pub(super) gone: Vec<&'static str>,
    /// Files that get another name, and keep everything else.
    pub(super) moved: Vec<(&'static str, &'static str)>,
    /// Parts of the answer.
    pub(super) says: Vec<&'static str>,
    /// Parts of an error that is as good as the expected change.
    pub(super) or_refused: Option<Vec<&'static str>>,
}

/// The content of a file afterwards.
pub(super) enum Content {
    Is(Vec<u8>),
    /// The former one, with one text in the place of another.
    Swapped(&'static str, &'static str),
}

/// A row for all servers.
pub(super) fn row(name: &'static str, given: &'static str, call: Value, expected: Expected) -> Row {
    Row {
        name,
        given,
        before: Vec::new(),
        call,
        expected,
        only: |_| true,
        finally: "",
    }
}

impl Row {
    pub(super) fn after(mut self, before: impl IntoIterator<Item = Step>) -> Self {
        self.before.extend(before);
        self
    }

    pub(super) fn only(mut self, only: fn(&Server) -> bool) -> Self {
        self.only = only;
        self
    }

    pub(super) fn finally(mut self, finally: &'static str) -> Self {
        self.finally = finally;
        self
    }
}

/// Arguments that replace a text in the file `f`.
pub(super) fn replace(old: &str, new: &str) -> Value {
    replace_in("$D/f", old, new)
}

pub(super) fn replace_in(path: &str, old: &str, new: &str) -> Value {
    json!({"path": path, "oldText": old, "newText": new})
}

/// Arguments that replace `beta` by `BETA` in this file.
pub(super) fn beta_in(path: &str) -> Value {
    replace_in(path, "beta", "BETA")
}

pub(super) fn beta() -> Value {
    beta_in("$D/f")
}

pub(super) fn content(path: &str, content: &str) -> Value {
    json!({"path": path, "content": content})
}

/// Arguments with a patch of these lines, which begin with spaces for a reader.
pub(super) fn patch(lines: &str) -> Value {
    json!({"patch": format!("*** Begin Patch\n{lines}\n*** End Patch\n")})
}

/// The same arguments with another one.
pub(super) fn with(mut call: Value, name: &str, value: impl Into<Value>) -> Value {
    call[name] = value.into();
    call
}

/// The file gets this content.
pub(super) fn becomes(name: &'static str, content: impl AsRef<[u8]>) -> Expected {
    Expected::default().and(name, content)
}

/// In this file `beta` becomes `BETA`.
pub(super) fn beta_becomes(name: &'static str) -> Expected {
    Expected::default().and_swapped(name, "beta", "BETA")
}

/// In the file `f` `beta` becomes `BETA`.
pub(super) fn edited() -> Expected {
    beta_becomes("f")
}

/// Nothing changes, and the answer is no error.
pub(super) fn unchanged() -> Expected {
    Expected::default()
}

/// Nothing changes, and the answer is an error with a hint and these words.
pub(super) fn refused(words: &[&'static str]) -> Expected {
    Expected {
        refused: true,
        says: words.to_vec(),
        ..Expected::default()
    }
}

impl Expected {
    pub(super) fn and(mut self, name: &'static str, content: impl AsRef<[u8]>) -> Self {
        let content = Content::Is(content.as_ref().to_vec());
        self.files.push((name, content));
        self
    }

    pub(super) fn and_swapped(
        mut self,
        name: &'static str,
        old: &'static str,
        new: &'static str,
    ) -> Self {
        self.files.push((name, Content::Swapped(old, new)));
        self
    }

    pub(super) fn mode(mut self, name: &'static str, mode: u32) -> Self {
        self.modes.push((name, mode));
        self
    }

    pub(super) fn directory(mut self, name: &'static str) -> Self {
        self.directories.push(name);
        self
    }

    pub(super) fn without(mut self, name: &'static str) -> Self {
        self.gone.push(name);
        self
    }

    pub(super) fn moved(mut self, from: &'static str, to: &'static str) -> Self {
        self.moved.push((from, to));
        self
    }

    pub(super) fn says(mut self, words: &[&'static str]) -> Self {
        self.says.extend(words);
        self
    }

    pub(super) fn or_refused(mut self, words: &[&'static str]) -> Self {
        self.or_refused = Some(words.to_vec());
        self
    }
}
