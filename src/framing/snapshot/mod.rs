//! The state of a shell, for giving it to another shell: taking it ([`extractor`]), what it holds,
//! and giving it back ([`restore`]).

pub mod extractor;
mod options;
mod request;
pub mod restore;
mod statements;

use std::{collections::BTreeSet, fmt};

use zeroize::Zeroizing;

pub(super) use self::request::function;
use self::statements::{name, statements};
use super::{sentinel::Sentinel, shell_kind::ShellKind};

/// Longest state to keep, in bytes.
pub const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024;

/// State of a shell: statements in the shell's own words, each with the name of the thing restored.
/// A snapshot is made from the output of the shell and given to the next shell of the same kind.
///
/// It is wiped when dropped and shown nowhere, because variables hold tokens and passwords.
pub struct Snapshot {
    /// Kind of the shell.
    kind: ShellKind,
    /// Lines of `set +o` and `shopt -p`, after the values of `$SHELLOPTS` and `$BASHOPTS`. For
    /// other shells `$-`.
    options: Text,
    /// Mask in octal digits, as printed by `umask`.
    umask: Text,
    /// Assignments of the variables.
    variables: Vec<Statement>,
    /// Exported names, for shells which print names and values separately.
    exported: Vec<Statement>,
    /// Read-only names, for the same shells.
    read_only: Vec<Statement>,
    /// Definitions of the aliases.
    aliases: Vec<Statement>,
    /// Commands of the traps.
    traps: Vec<Statement>,
    /// True if the shell could report traps.
    tells_traps: bool,
    /// Definitions of the functions.
    functions: Vec<Statement>,
    /// Attributes of functions, such as being exported.
    attributes: Vec<Statement>,
    /// Directories of the stack without the first, in reverse order.
    directories: Vec<Text>,
    /// Positional parameters as a `set` command; `None` if there are none.
    positional: Option<Text>,
}

/// Text of a snapshot, wiped when dropped.
type Text = Zeroizing<Vec<u8>>;

/// Statement for restoring a single thing.
struct Statement {
    /// Name of the thing.
    name: String,
    /// Text of the statement.
    text: Text,
}

/// Variables not given to another shell. bash sets them itself, or they belong to the connection.
const NOT_KEPT: [&str; 62] = [
    "BASH",
    "BASHOPTS",
    "BASHPID",
    "BASH_ALIASES",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_ARGV0",
    "BASH_CMDS",
    "BASH_COMMAND",
    "BASH_EXECUTION_STRING",
    "BASH_LINENO",
    "BASH_MONOSECONDS",
    "BASH_REMATCH",
    "BASH_SOURCE",
    "BASH_SUBSHELL",
    "BASH_TRAPSIG",
    "BASH_VERSINFO",
    "BASH_VERSION",
    "BASH_XTRACEFD",
    "COMP_CWORD",
    "COMP_KEY",
    "COMP_LINE",
    "COMP_POINT",
    "COMP_TYPE",
    "COMP_WORDBREAKS",
    "COMP_WORDS",
    "COPROC",
    "COPROC_PID",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "HOSTNAME",
    "HOSTTYPE",
    "LINENO",
    "MACHTYPE",
    "OSTYPE",
    "PIPESTATUS",
    "PPID",
    "PWD",
    "RANDOM",
    "READLINE_LINE",
    "READLINE_POINT",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_ORIGINAL_COMMAND",
    "SSH_TTY",
    "SSH_USER_AUTH",
    "UID",
    "XDG_SEAT",
    "XDG_SESSION_CLASS",
    "XDG_SESSION_ID",
    "XDG_SESSION_TYPE",
    "XDG_VTNR",
    "_",
];

/// Variables of the connection or of the log-in. They are restored only if the new connection
/// brings none.
const KEPT_IF_ABSENT: [&str; 3] = ["DBUS_SESSION_BUS_ADDRESS", "KRB5CCNAME", "XDG_RUNTIME_DIR"];

impl Snapshot {
    /// Reads the output of a shell. `None` if it does not have the form that was asked for, so that
    /// nothing else is ever run.
    fn parse(kind: ShellKind, id: &Sentinel, text: &[u8]) -> Option<Self> {
        let mut snapshot = Self {
            kind,
            options: Text::default(),
            umask: Text::default(),
            variables: Vec::new(),
            exported: Vec::new(),
            read_only: Vec::new(),
            aliases: Vec::new(),
            traps: Vec::new(),
            tells_traps: false,
            functions: Vec::new(),
            attributes: Vec::new(),
            directories: Vec::new(),
            positional: None,
        };

        let bash = kind == ShellKind::Bash;

        // Each section is checked for its form, because its text is run later in another shell.
        for (letter, section) in sections(id, text)? {
            match letter {
                b'o' => snapshot.options = wiped_text(section),
                b'u' => snapshot.umask = wiped_text(section),
                b'v' if bash => {
                    snapshot.variables = named(section, |line| words(line, b"declare -"))?;
                }
                b'v' => snapshot.variables = named(section, |line| line.strip_prefix(b""))?,
                b'x' => snapshot.exported = named(section, |line| line.strip_prefix(b"export "))?,
                b'r' => {
                    snapshot.read_only = named(section, |line| line.strip_prefix(b"readonly "))?;
                }
                b'a' => snapshot.aliases = aliases(section)?,
                b't' => {
                    snapshot.traps = traps(section)?;
                    snapshot.tells_traps = true;
                }
                b'F' => snapshot.attributes = attributes(section)?,
                b'f' => snapshot.functions.push(function_statement(section)?),
                b'd' => snapshot.directories.push(wiped_text(section)),
                b'p' => snapshot.positional = Some(positional(section)?),
                _ => return None,
            }
        }

        // Both scripts print the umask, so a text without one is not whole.
        snapshot.choose();
        let complete = snapshot.umask.len() > 2 && snapshot.umask.iter().all(u8::is_ascii_digit);
        complete.then_some(snapshot)
    }

    /// Removes the statements which do not belong to the shell's own state.
    fn choose(&mut self) {
        let agent = self
            .variables
            .iter()
            .any(|variable| variable.name == "SSH_AGENT_PID");

        let keeps = |variable: &Statement| {
            // An agent started in the shell is kept. A forwarded agent belongs to the connection.
            let agent = agent || variable.name != "SSH_AUTH_SOCK";
            agent
                && !NOT_KEPT.contains(&variable.name.as_str())
                && !variable.name.starts_with("__mcp_")
        };

        self.variables.retain(keeps);
        self.exported.retain(keeps);
        self.read_only.retain(keeps);

        // `exit` is the driver's function too, unless a command has defined it anew.
        let ours = |text: &[u8]| text.windows(7).any(|some| some == b"__mcp_x");
        self.functions
            .retain(|function| !function.name.starts_with("__mcp_") && !ours(&function.text));

        // Without its function, such a statement would set the attribute of a variable.
        let functions: BTreeSet<&str> = self
            .functions
            .iter()
            .map(|function| function.name.as_str())
            .collect();

        self.attributes
            .retain(|attribute| functions.contains(attribute.name.as_str()));

        // The trap that gives up a command is the driver's, and so is one that calls its functions.
        self.traps.retain(|trap| {
            !trap.name.ends_with("URG") && !trap.text.windows(6).any(|some| some == b"__mcp_")
        });
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot(..)")
    }
}

/// Splits the text into sections, each with a letter. `None` if the text has another form.
fn sections<'a>(id: &Sentinel, text: &'a [u8]) -> Option<Vec<(u8, &'a [u8])>> {
    let opening = format!("\u{1e}{} ", id.as_str()).into_bytes();
    let mut found = Vec::new();
    let mut rest = text.strip_prefix(opening.as_slice())?;

    // A value cannot imitate the beginning of a section, because the id is random.
    loop {
        let end = rest.windows(opening.len()).position(|some| some == opening);
        let section = rest.get(..end.unwrap_or(rest.len()))?;
        let (letter, section) = section.split_first()?;
        let section = section.strip_prefix(b"\n")?;
        found.push((*letter, section.strip_suffix(b"\n").unwrap_or(section)));

        match end {
            Some(end) => rest = rest.get(end + opening.len()..)?,
            None => return Some(found),
        }
    }
}

/// Reads statements, each with a name after the part removed by `after`.
fn named(section: &[u8], after: impl Fn(&[u8]) -> Option<&[u8]>) -> Option<Vec<Statement>> {
    let statement = |text| {
        Some(Statement {
            name: name(after(text)?)?.to_owned(),
            text: wiped_text(text),
        })
    };
    statements(section)?.into_iter().map(statement).collect()
}

/// Returns the text after the first word and a blank, if the word begins with `beginning`.
fn words<'a>(line: &'a [u8], beginning: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(beginning)?;
    rest.get(rest.iter().position(|byte| *byte == b' ')? + 1..)
}

/// Reads `alias NAME='…'`, or the same without the first word. The name is whatever stands before
/// the `=`.
fn aliases(section: &[u8]) -> Option<Vec<Statement>> {
    let statement = |text: &[u8]| {
        let rest = text.strip_prefix(b"alias ").unwrap_or(text);
        let rest = rest.strip_prefix(b"-- ").unwrap_or(rest);
        let name = rest
            .split(|byte| *byte == b'=')
            .next()
            .filter(|name| name.len() < rest.len())?;

        // The name is written into a script without quotes.
        let plain = name
            .iter()
            .all(|byte| !b" \t\n'\"\\$`;&|<>()".contains(byte));

        plain.then(|| Statement {
            name: String::from_utf8_lossy(name).into_owned(),
            text: wiped_text(rest),
        })
    };

    statements(section)?.into_iter().map(statement).collect()
}

/// Reads `trap -- '…' NAME`.
fn traps(section: &[u8]) -> Option<Vec<Statement>> {
    let statement = |text: &[u8]| {
        // The name is the last word, because the quoted command before it may hold blanks.
        let name = text
            .strip_prefix(b"trap -- ")?
            .rsplit(|byte| *byte == b' ')
            .next()?;

        Some(Statement {
            name: String::from_utf8_lossy(name).into_owned(),
            text: wiped_text(text),
        })
    };

    statements(section)?.into_iter().map(statement).collect()
}

/// Reads `declare -fx NAME`. Functions without any attribute are left out.
fn attributes(section: &[u8]) -> Option<Vec<Statement>> {
    let mut found = Vec::new();
    for line in section
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let name = words(line, b"declare -f")?;
        if !line.starts_with(b"declare -f ") {
            found.push(Statement {
                name: String::from_utf8_lossy(name).into_owned(),
                text: wiped_text(line),
            });
        }
    }

    Some(found)
}

/// Reads `set -- …`, which must be a single statement.
fn positional(section: &[u8]) -> Option<Text> {
    let one = statements(section)?.len() == 1 && section.starts_with(b"set --");
    one.then(|| wiped_text(section))
}

/// Reads `NAME () …`, with the word `function` in front if needed.
fn function_statement(section: &[u8]) -> Option<Statement> {
    let line = section.split(|byte| *byte == b'\n').next()?;
    let line = line.strip_prefix(b"function ").unwrap_or(line);
    let name = line.get(..line.windows(2).position(|some| some == b"()")?)?;
    Some(Statement {
        name: String::from_utf8_lossy(name).trim().to_owned(),
        text: wiped_text(section),
    })
}

/// Copies the text into memory which is wiped when dropped.
fn wiped_text(text: &[u8]) -> Text {
    Zeroizing::new(text.to_vec())
}
