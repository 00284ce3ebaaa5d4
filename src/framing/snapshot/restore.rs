//! The script that gives a new shell the state of another, and what came of it.

use std::fmt::Write as _;

use super::{KEPT_IF_ABSENT, NOT_KEPT, Snapshot, Statement};
use crate::framing::script::{ShellKind, quote};

/// How many names of things that could not be restored are told.
const NAMES_TOLD: usize = 8;

/// A snapshot on its way into a new shell.
#[derive(Debug)]
pub struct Restore {
    /// The command for the new shell. It prints what [`report`](Self::report) reads.
    pub command: Vec<u8>,
    steps: Vec<Step>,
    /// What makes sure of a builtin.
    word: &'static str,
    functions_lost: bool,
    traps_lost: bool,
}

/// One thing that is restored by itself, so that its failure costs nothing else.
#[derive(Debug)]
struct Step {
    what: What,
    name: String,
}

/// What it is, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Directory,
    Variable,
    Function,
    Alias,
    Options,
    Umask,
    Trap,
    Positional,
    DirectoryStack,
    /// Done on the way, and not worth a word.
    Silent,
}

/// Options that would end the shell or disturb the restoring: they come last, in this order.
const LAST_OPTIONS: [&str; 5] = ["verbose", "xtrace", "nounset", "posix", "errexit"];
/// Options that are the driver's business, cannot be set, or make the shell read no further.
const NO_OPTIONS: [&str; 8] =
    ["emacs", "login_shell", "noexec", "onecmd", "privileged", "restricted_shell", "vi", "interactive"];
/// Traps that would run during what follows.
const LAST_TRAPS: [&str; 3] = ["RETURN", "ERR", "DEBUG"];
/// Letters of `$-` that `set` takes in every shell.
const OPTION_LETTERS: &str = "abCfuvxe";

impl Snapshot {
    /// The script for a shell of the same kind; `directory` is where the other was at last.
    #[must_use]
    pub fn restore(&self, directory: &[u8]) -> Restore {
        let bash = self.kind == ShellKind::Bash;
        let mut restore = Restore {
            command: Vec::new(),
            steps: Vec::new(),
            word: if bash { "\\builtin" } else { "\\command" },
            functions_lost: !bash,
            traps_lost: !self.tells_traps,
        };
        if !directory.is_empty() {
            let mut change = b"cd -- ".to_vec();
            quote(&mut change, directory);
            restore.step(What::Directory, &String::from_utf8_lossy(directory), &change);
        }
        if bash {
            restore.step(What::Silent, "", &self.unset_others());
        }
        let (late, early): (Vec<_>, Vec<_>) =
            self.variables.iter().partition(|variable| variable.name == "POSIXLY_CORRECT");
        restore.statements(What::Variable, early.into_iter());
        restore.statements(What::Silent, self.exported.iter());
        restore.statements(What::Silent, self.read_only.iter());
        if let Some(positional) = &self.positional {
            restore.step(What::Positional, "", positional);
        }
        if bash {
            // Patterns of functions may need it; what it was before comes with the options.
            restore.step(What::Silent, "", b"shopt -s extglob");
        }
        restore.statements(What::Function, self.functions.iter());
        restore.statements(What::Silent, self.attributes.iter());
        restore.step(What::Umask, "", &[b"umask ", self.umask.as_slice()].concat());
        for directory in &self.directories {
            let mut push = b"pushd -n -- ".to_vec();
            quote(&mut push, directory);
            restore.step(What::DirectoryStack, "", &push);
        }
        for alias in &self.aliases {
            restore.step(What::Alias, &alias.name, &[b"alias ", alias.text.as_slice()].concat());
        }
        restore.step(What::Options, "", &self.options(bash));
        restore.statements(What::Silent, late.into_iter());
        let word = restore.word;
        restore.command.extend_from_slice(format!("{word} printf 'end '\n").as_bytes());
        let rank = |trap: &&Statement| LAST_TRAPS.iter().position(|name| *name == trap.name).map_or(0, |at| at + 1);
        let mut traps: Vec<&Statement> = self.traps.iter().collect();
        traps.sort_by_key(rank);
        restore.statements(What::Trap, traps.into_iter());
        restore
    }

    /// Takes out of the environment what the other shell did not have.
    fn unset_others(&self) -> Vec<u8> {
        let mut names = String::from(" SSH_AUTH_SOCK ");
        let kept = self.variables.iter().map(|variable| variable.name.as_str());
        for name in kept.chain(NOT_KEPT).chain(KEPT_IF_ABSENT) {
            let _ = write!(names, "{name} ");
        }
        format!(
            "eval 'for __mcp_v in $(builtin compgen -e); do case \"{names}\" in *\" $__mcp_v \"*) ;; \
             *) builtin unset \"$__mcp_v\";; esac; done; builtin unset __mcp_v'"
        )
        .into_bytes()
    }

    /// All options in one step: one that fails does not keep the next from being set.
    fn options(&self, bash: bool) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.options);
        let mut lines = text.lines();
        if !bash {
            let on = lines.next().unwrap_or_default();
            let set = |letter: char| format!("\\set {}{letter}\n", if on.contains(letter) { '-' } else { '+' });
            return OPTION_LETTERS.chars().map(set).collect::<String>().into_bytes();
        }
        let (set_on, shopt_on) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let mut settings: Vec<(usize, String)> = Vec::new();
        for line in lines {
            let mut words = line.split(' ');
            let (Some(command), Some(sign), Some(name), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let is_on = |list: &str| list.split(':').any(|on| on == name);
            let setting = match command {
                // What `set +o` says in a subshell is not always so in the shell.
                "set" => format!("\\builtin set {}o {name}\n", if is_on(set_on) { '-' } else { '+' }),
                "shopt" => {
                    let on = if shopt_on.is_empty() { sign == "-s" } else { is_on(shopt_on) };
                    // Switching one of these off switches off the others too.
                    if name.starts_with("compat") && !on {
                        continue;
                    }
                    format!("\\builtin shopt -{} {name}\n", if on { 's' } else { 'u' })
                }
                _ => continue,
            };
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if plain && !NO_OPTIONS.contains(&name) {
                let rank = LAST_OPTIONS.iter().position(|last| *last == name).map_or(0, |at| at + 1);
                settings.push((rank, setting));
            }
        }
        settings.sort_by_key(|(rank, _)| *rank);
        let settings: String = settings.into_iter().map(|(_, setting)| setting).collect();
        // The status of the last of them says nothing.
        let mut step = b"eval ".to_vec();
        quote(&mut step, format!("{settings}((1))").as_bytes());
        step
    }
}

impl Restore {
    /// What is to be told, given what the command printed: first what was restored, then what was not.
    #[must_use]
    pub fn report(&self, printed: &[u8]) -> (String, Option<String>) {
        let printed = String::from_utf8_lossy(printed);
        let mut failed: Vec<usize> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if !printed.split_whitespace().any(|word| word == "end") {
            // It was given up on the way; what came before that is not told from what came after.
            failed = (0..self.steps.len()).collect();
        }
        let count =
            |what| self.steps.iter().enumerate().filter(|(at, step)| step.what == what && !failed.contains(at)).count();
        let counted = |what, name: &str| match count(what) {
            0 => None,
            count => Some(format!("{name} ({count})")),
        };
        let named = |what, name: &str| (count(what) > 0).then(|| name.to_owned());
        let restored: Vec<String> = [
            named(What::Directory, "directory"),
            counted(What::Variable, "variables"),
            counted(What::Function, "functions"),
            counted(What::Alias, "aliases"),
            named(What::Options, "options"),
            named(What::Umask, "umask"),
            counted(What::Trap, "traps"),
            named(What::Positional, "positional parameters"),
            named(What::DirectoryStack, "directory stack"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let missing = failed.iter().filter_map(|at| self.steps.get(*at)).filter_map(Step::told);
        let mut missing: Vec<String> = missing.collect();
        if missing.len() > NAMES_TOLD {
            let more = missing.len() - NAMES_TOLD;
            missing.truncate(NAMES_TOLD);
            missing.push(format!("{more} more"));
        }
        missing.extend(self.functions_lost.then(|| "functions".to_owned()));
        missing.extend(self.traps_lost.then(|| "traps".to_owned()));
        (restored.join(", "), (!missing.is_empty()).then(|| missing.join(", ")))
    }

    fn statements<'a>(&mut self, what: What, statements: impl Iterator<Item = &'a Statement>) {
        for statement in statements {
            if KEPT_IF_ABSENT.contains(&statement.name.as_str()) {
                self.command.extend_from_slice(format!("[ \"${{{}+y}}\" ] || ", statement.name).as_bytes());
            }
            self.step(what, &statement.name, &statement.text);
        }
    }

    /// Adds a statement: run by itself, it prints its number if it fails. The shell's own words, not what may have been
    /// restored before under their names, and no aliases; but `declare` takes a list only as the first word, and comes
    /// first.
    fn step(&mut self, what: What, name: &str, statement: &[u8]) {
        let number = self.steps.len();
        self.steps.push(Step { what, name: name.to_owned() });
        let direct = matches!(what, What::Variable | What::Function);
        let word = self.word;
        self.command.extend_from_slice(format!("{word} eval ").as_bytes());
        let prefix = if direct { String::new() } else { format!("{word} ") };
        quote(&mut self.command, &[prefix.as_bytes(), statement].concat());
        self.command.extend_from_slice(format!(" >/dev/null 2>&1 || {word} printf '{number} '\n").as_bytes());
    }
}

impl Step {
    /// How a person says it.
    fn told(&self) -> Option<String> {
        let name = self.name.escape_debug();
        Some(match self.what {
            What::Directory => format!("the directory {name}"),
            What::Variable => format!("variable {name}"),
            What::Function => format!("function {name}"),
            What::Alias => format!("alias {name}"),
            What::Trap => format!("trap {name}"),
            What::Options => "options".to_owned(),
            What::Umask => "umask".to_owned(),
            What::Positional => "positional parameters".to_owned(),
            What::DirectoryStack => "directory stack".to_owned(),
            What::Silent => return None,
        })
    }
}
