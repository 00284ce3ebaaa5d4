//! Programs that want to be talked to, and that end at once, successfully, where their stdin is empty.

/// Shells.
const SHELLS: [&str; 9] = [
    "bash", "sh", "zsh", "fish", "dash", "ksh", "mksh", "ash", "tcsh",
];
/// What a shell may be given and still wait for commands.
const SHELL_OPTIONS: [&str; 9] = [
    "-",
    "-l",
    "-i",
    "-s",
    "-il",
    "-li",
    "--login",
    "--norc",
    "--noprofile",
];
/// Interpreters that read their program from stdin where they are given none.
const INTERPRETERS: [&str; 12] = [
    "python", "python2", "python3", "node", "ruby", "irb", "perl", "lua", "php", "ghci", "R", "bc",
];
/// Clients of databases: silent where they had nothing to do.
const CLIENTS: [&str; 8] = [
    "mysql",
    "mariadb",
    "psql",
    "sqlite3",
    "mongosh",
    "mongo",
    "redis-cli",
    "cqlsh",
];
/// What runs a command in a container.
const CONTAINERS: [&str; 4] = ["docker", "podman", "nerdctl", "kubectl"];

/// What begins a command of which parts may not run.
const COMPOUND: [&str; 9] = [
    "if", "for", "while", "until", "case", "select", "function", "!", "[[",
];

/// Options of sudo and doas that come with a value.
const SUDO_VALUES: [&str; 7] = ["-u", "-g", "-U", "-h", "-p", "--user", "--group"];

/// What a program was that had nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InteractiveProgram {
    /// A shell of another user, mostly root.
    OtherUser,
    /// A shell with another group.
    OtherGroup,
    /// A shell of the same user, or in another place.
    Shell,
    /// An interpreter or client.
    Program,
}

/// What is said of a command that has succeeded with an empty stdin, if a program in it wanted to be talked to. `silent`:
/// it printed nothing.
pub(super) fn note(command: &str, silent: bool) -> Option<String> {
    let (name, wanted) = segments(command)?
        .iter()
        .rev()
        .find_map(|words| recognise(words, silent))?;

    let how = match wanted {
        InteractiveProgram::OtherUser => {
            "you are still the same user; ssh_exec with sudo: true runs a command as root"
        }
        InteractiveProgram::OtherGroup => {
            "the group has not changed; ssh_reconnect with fresh: true logs in with new groups"
        }
        InteractiveProgram::Shell => "give it the commands, as in `-c 'COMMAND'`",
        InteractiveProgram::Program => {
            "give it its input with stdin, or use ssh_exec with pty: true, then ssh_job"
        }
    };

    Some(format!(
        "{name} had an empty stdin and ended at once: {how}"
    ))
}

/// What a simple command is, by its words.
fn recognise(words: &[String], silent: bool) -> Option<(String, InteractiveProgram)> {
    let is_assignment =
        |word: &&String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let skipped = words.iter().take_while(is_assignment).count();
    let words = words.get(skipped..).unwrap_or_default();
    let (program, arguments) = words.split_first()?;
    let program = program.rsplit('/').next().unwrap_or_default();
    let all = |known: &[&str]| {
        arguments
            .iter()
            .all(|argument| known.contains(&argument.as_str()))
    };

    let said = || words.join(" ");
    let found = |wanted| Some((said(), wanted));

    match program {
        "command" | "exec" | "env" | "nohup" => recognise(arguments, silent),
        "sudo" | "doas" => of_sudo(arguments, silent).map(|wanted| (said(), wanted)),
        "su" if arguments.iter().all(|argument| is_su_argument(argument)) => {
            found(InteractiveProgram::OtherUser)
        }
        "newgrp" => found(InteractiveProgram::OtherGroup),
        "chroot" if arguments.len() == 1 => found(InteractiveProgram::Shell),
        _ if SHELLS.contains(&program) && all(&SHELL_OPTIONS) => found(InteractiveProgram::Shell),
        _ if is_interpreter(program) && all(&["-i", "-q", "-u", "-a"]) => {
            found(InteractiveProgram::Program)
        }
        _ if CLIENTS.contains(&program)
            && silent
            && !arguments.iter().any(|argument| does_something(argument)) =>
        {
            found(InteractiveProgram::Program)
        }
        _ if CONTAINERS.contains(&program)
            && silent
            && arguments.iter().any(|argument| argument == "exec") =>
        {
            let last = arguments.last()?;
            let inside = last.rsplit('/').next().unwrap_or_default();
            (SHELLS.contains(&inside) || is_interpreter(inside))
                .then(|| (said(), InteractiveProgram::Shell))
        }
        _ => None,
    }
}

/// sudo with a shell of its own (`-i`, `-s`), or with a command that wants to be talked to.
fn of_sudo(arguments: &[String], silent: bool) -> Option<InteractiveProgram> {
    let mut words = arguments.iter();
    let mut shell = false;
    let mut rest = Vec::new();

    while let Some(word) = words.next() {
        if SUDO_VALUES.contains(&word.as_str()) {
            words.next();
        } else if word.starts_with('-') && rest.is_empty() {
            shell |= matches!(word.as_str(), "--login" | "--shell")
                || (!word.starts_with("--")
                    && word.contains(['i', 's'])
                    && !word.contains(['u', 'g', 'l']));
        } else {
            rest.push(word.clone());
            rest.extend(words.by_ref().cloned());
        }
    }

    if rest.is_empty() {
        return shell.then_some(InteractiveProgram::OtherUser);
    }

    let (_, wanted) = recognise(&rest, silent)?;

    Some(if wanted == InteractiveProgram::Shell {
        InteractiveProgram::OtherUser
    } else {
        wanted
    })
}

fn is_interpreter(program: &str) -> bool {
    let versioned = program
        .strip_prefix("python3.")
        .is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()));
    versioned || INTERPRETERS.contains(&program)
}

/// `-`, `-l`, or the name of a user; no command.
fn is_su_argument(argument: &str) -> bool {
    matches!(argument, "-" | "-l" | "--login" | "-m" | "-p") || !argument.starts_with('-')
}

/// Whether an option of a client may be one that gives it something to do: a statement, a file, a question.
fn does_something(argument: &str) -> bool {
    let short = argument.starts_with('-') && !argument.starts_with("--");

    let long = [
        "--exec",
        "--command",
        "--eval",
        "--file",
        "--list",
        "--version",
        "--help",
    ];

    short && argument.contains(['e', 'c', 'f', 'l', 'V', '?'])
        || long.iter().any(|option| argument.starts_with(option))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The simple commands of a list that certainly ran if it has succeeded, each as its words. `None` for what is not so
/// simple: compound commands, alternatives, substitutions, here-documents. Those that read from a file or a pipe are left
/// out.
fn segments(command: &str) -> Option<Vec<Vec<String>>> {
    let (mut all, mut words, mut word) = (List::default(), Vec::new(), None::<String>);
    let mut fed = false;
    let mut letters = command.chars().peekable();

    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        match (letter, next) {
            ('\'', _) => {
                let quoted = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        letter => quoted.push(letter),
                    }
                }
            }
            ('"', _) => {
                let quoted = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => quoted.extend(letters.next()),
                        '`' => return None,
                        '$' if letters.peek() == Some(&'(') => return None,
                        letter => quoted.push(letter),
                    }
                }
            }
            ('\\', _) => word.get_or_insert_default().push(letters.next()?),
            ('`' | '(' | ')' | '{' | '}', _) | ('|' | '<', Some('|' | '<')) | ('$', Some('(')) => {
                return None;
            }
            ('#', _) if word.is_none() => {
                while letters.next_if(|letter| *letter != '\n').is_some() {}
            }
            ('<', _) => fed = true,
            ('|', _) => {
                words.extend(word.take());
                all.add(&mut words, fed);

                // The next one reads from this one.
                fed = true;
            }
            ('&', Some('&')) => {
                letters.next();
                words.extend(word.take());
                all.add(&mut words, fed);
                all.conditional = true;
                fed = false;
            }
            ('&', next)
                if next != Some('>') && !word.as_ref().is_some_and(|word| word.ends_with('>')) =>
            {
                return None;
            }
            (';' | '\n', _) => {
                words.extend(word.take());
                all.add(&mut words, fed);
                all.end_chain();
                fed = false;
            }
            (letter, _) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }

    words.extend(word);
    all.add(&mut words, fed);

    // Of the last chain of `&&`, all have succeeded.
    all.certain.append(&mut all.doubtful);

    (!all.is_compound).then_some(all.certain)
}

/// The simple commands of a list.
#[derive(Default)]
struct List {
    certain: Vec<Vec<String>>,
    /// Those behind an `&&` in the chain that is being read.
    doubtful: Vec<Vec<String>>,
    /// The next one comes behind an `&&`.
    conditional: bool,
    /// The chain is over, unless nothing follows.
    ended: bool,
    is_compound: bool,
}

impl List {
    /// Takes a simple command over, without redirections of its output, unless it is `fed` from somewhere.
    fn add(&mut self, words: &mut Vec<String>, fed: bool) {
        let mut words = std::mem::take(words);
        let descriptor = |letter: char| letter.is_ascii_digit() || letter == '&';

        while let Some(at) = words
            .iter()
            .position(|word| word.trim_start_matches(descriptor).starts_with('>'))
        {
            let redirection = words.remove(at);
            // `> FILE` is two words.
            if redirection.ends_with('>') && at < words.len() {
                words.remove(at);
            }
        }

        self.is_compound |= words
            .first()
            .is_some_and(|word| COMPOUND.contains(&word.as_str()));

        if words.is_empty() {
            return;
        }

        if std::mem::take(&mut self.ended) {
            self.doubtful.clear();
        }

        if fed {
            return;
        }

        if self.conditional {
            &mut self.doubtful
        } else {
            &mut self.certain
        }
        .push(words);
    }

    /// Ends a chain of `&&`. If another command follows, those in it that are doubtful remain so.
    fn end_chain(&mut self) {
        (self.conditional, self.ended) = (false, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_had_nothing_to_read_are_named() {
        for (command, silent, part) in [
            (
                "sudo su -",
                true,
                "sudo su - had an empty stdin and ended at once: you are still the same user",
            ),
            ("sudo su -\nwhoami", false, "same user"),
            ("sudo -i", true, "sudo: true"),
            ("sudo -u deploy -i", true, "same user"),
            ("sudo -ni", true, "same user"),
            ("sudo bash", true, "same user"),
            ("sudo -E -H /bin/bash -l", true, "same user"),
            ("su - postgres", true, "same user"),
            ("su", true, "same user"),
            ("newgrp docker", true, "fresh: true"),
            ("bash", true, "bash had an empty stdin"),
            ("cd /srv && bash -i", true, "-c 'COMMAND'"),
            ("true; cd /srv && bash\n", true, "bash had"),
            ("bash; false && true; true", true, "bash had"),
            ("exec zsh -l", true, "-c 'COMMAND'"),
            ("FOO=1 bash", true, "bash had"),
            ("chroot /mnt", true, "-c 'COMMAND'"),
            (
                "python3",
                true,
                "python3 had an empty stdin and ended at once: give it its input with stdin",
            ),
            ("python3.12 -q", true, "pty: true"),
            ("node 2>&1", true, "node had"),
            ("node > log", true, "node had"),
            ("mysql -u root shop", true, "mysql -u root shop had"),
            ("psql -h db app", true, "stdin"),
            ("docker exec -i web bash", true, "COMMAND"),
            ("kubectl exec pod -- /bin/sh", true, "COMMAND"),
            ("sudo -u postgres psql", true, "stdin"),
        ] {
            let note = note(command, silent).unwrap_or_default();
            assert!(note.contains(part), "{command}: {note:?}");
        }
    }

    #[test]
    fn programs_that_had_something_to_do_are_not() {
        for command in [
            "bash -c 'echo hi'",
            "bash script.sh",
            "bash --version",
            "bash < script",
            "bash << EOF\necho\nEOF",
            "bash <<< 'echo'",
            "echo ls | bash",
            "cat x | python3",
            "curl -fsSL https://example.org | sudo bash",
            "sudo whoami",
            "sudo -i whoami",
            "sudo -u deploy bash -c id",
            "sudo -l",
            "sudo -n true",
            "su - postgres -c 'psql -l'",
            "python3 script.py",
            "python3 -c 'pass'",
            "python3 -m venv x",
            "python3 --version",
            "mysql -e 'update x set y = 1'",
            "mysql -uroot -Ne 'select 1'",
            "psql -c 'vacuum'",
            "psql --file=x.sql",
            "true || bash",
            "if false; then bash; fi",
            "false && bash; (bash)",
            "false && bash; true",
            "test -e x && bash\n\necho done\n",
            "bash &",
            "echo bash",
            "echo 'a; bash'",
            "echo \"$(bash)\"",
            "which python3",
            "# bash",
            "docker exec web ls",
            "command -v bash",
            "env",
            "",
        ] {
            assert_eq!(note(command, true), None, "{command}");
        }

        assert_eq!(note("mysql", false), None);
    }
}
