//! Interactive programs, recognised in the text of a command. With an empty stdin, such a program
//! ends at once and reports success.

/// Names of shells.
const SHELLS: [&str; 9] = [
    "bash", "sh", "zsh", "fish", "dash", "ksh", "mksh", "ash", "tcsh",
];
/// Options with which a shell still waits for commands on stdin.
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
/// Interpreters, which read a program from stdin if no file is given.
const INTERPRETERS: [&str; 12] = [
    "python", "python2", "python3", "node", "ruby", "irb", "perl", "lua", "php", "ghci", "R", "bc",
];
/// Database clients, which read statements from stdin. These print nothing if there was nothing to
/// do.
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
/// Programs for running a command in a container.
const CONTAINERS: [&str; 4] = ["docker", "podman", "nerdctl", "kubectl"];

/// First words of compound commands, of which some parts may not run.
const COMPOUND: [&str; 9] = [
    "if", "for", "while", "until", "case", "select", "function", "!", "[[",
];

/// Options of sudo and doas with a value in the next word.
const SUDO_VALUES: [&str; 7] = ["-u", "-g", "-U", "-h", "-p", "--user", "--group"];

/// Kind of an interactive program without input. Decides the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InteractiveProgram {
    /// Shell of another user, mostly root.
    OtherUser,
    /// Shell with another group.
    OtherGroup,
    /// Shell of the same user, or in a container or another root directory.
    Shell,
    /// Interpreter or database client.
    Program,
}

/// Returns a note about an interactive program in a successful command with an empty stdin. Returns
/// `None` if the command contains no such program.
///
/// `silent` is true if the command printed nothing.
pub(super) fn interactive_hint(command: &str, silent: bool) -> Option<String> {
    // The last such program is named: commands after it were probably meant as its input.
    let (name, wanted) = segments(command)?
        .iter()
        .rev()
        .find_map(|words| recognise(words, silent))?;

    let how = match wanted {
        InteractiveProgram::OtherUser => {
            "you are still the same user; ssh_shell with sudo: true is a shell of root, with user of another user"
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

/// Recognises an interactive program in a simple command, and returns the text of the command with
/// the kind. `words` are the words of the command.
fn recognise(words: &[String], silent: bool) -> Option<(String, InteractiveProgram)> {
    // Assignments before the program, as in `FOO=1 bash`, do not change what runs.
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

    // Only known arguments are sure to leave a program interactive. Others may give the program
    // work, so there is no note then.
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
        // A client that printed something has done some work, so only silent ones count.
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

/// Returns the kind of a call of sudo or doas: a shell of another user (`-i`, `-s`), or an
/// interactive program run by sudo. `arguments` are the words after `sudo`.
fn of_sudo(arguments: &[String], silent: bool) -> Option<InteractiveProgram> {
    let mut words = arguments.iter();
    let mut shell = false;
    let mut rest = Vec::new();

    // Options end at the first other word. Later ones belong to the command that sudo runs.
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

    // A shell that sudo runs is a shell of another user.
    let (_, wanted) = recognise(&rest, silent)?;

    Some(if wanted == InteractiveProgram::Shell {
        InteractiveProgram::OtherUser
    } else {
        wanted
    })
}

/// Returns true for the name of an interpreter, with or without a version as in `python3.12`.
fn is_interpreter(program: &str) -> bool {
    let versioned = program
        .strip_prefix("python3.")
        .is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()));
    versioned || INTERPRETERS.contains(&program)
}

/// Returns true for an argument with which su still starts an interactive shell: `-`, `-l` or a
/// user name.
fn is_su_argument(argument: &str) -> bool {
    matches!(argument, "-" | "-l" | "--login" | "-m" | "-p") || !argument.starts_with('-')
}

/// Returns true if an option may give a database client something to do, such as a statement or a
/// file.
fn does_something(argument: &str) -> bool {
    // Single-letter options may be combined, as in `-Ne`, so each letter is looked at.
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

/// Returns true for a valid name of a shell variable.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the simple commands certain to have run in a successful list, each as a list of words.
/// Commands that read from a file or a pipe are left out.
///
/// Returns `None` for anything more complex: compound commands, alternatives, substitutions and
/// here-documents.
fn segments(command: &str) -> Option<Vec<Vec<String>>> {
    // A small part of the shell grammar is enough. In doubt there is no note, since a wrong one
    // would mislead the model.
    let (mut all, mut words, mut word) = (List::default(), Vec::new(), None::<String>);
    let mut has_input = false;
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
            // With these, other statuses or expansions decide which commands run.
            ('`' | '(' | ')' | '{' | '}', _) | ('|' | '<', Some('|' | '<')) | ('$', Some('(')) => {
                return None;
            }
            ('#', _) if word.is_none() => {
                while letters.next_if(|letter| *letter != '\n').is_some() {}
            }
            ('<', _) => has_input = true,
            ('|', _) => {
                words.extend(word.take());
                all.add(&mut words, has_input);

                // The next command reads from this pipe.
                has_input = true;
            }
            ('&', Some('&')) => {
                letters.next();
                words.extend(word.take());
                all.add(&mut words, has_input);
                all.conditional = true;
                has_input = false;
            }
            // `&` in a redirection, as in `2>&1`, is allowed. Elsewhere the command runs in the
            // background, and its status is unknown.
            ('&', next)
                if next != Some('>') && !word.as_ref().is_some_and(|word| word.ends_with('>')) =>
            {
                return None;
            }
            (';' | '\n', _) => {
                words.extend(word.take());
                all.add(&mut words, has_input);
                all.end_chain();
                has_input = false;
            }
            (letter, _) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }

    words.extend(word);
    all.add(&mut words, has_input);

    // The whole list has succeeded, and with it every command of the last `&&` chain.
    all.certain.append(&mut all.doubtful);

    (!all.is_compound).then_some(all.certain)
}

/// Simple commands of a list, sorted into certain and doubtful ones.
#[derive(Default)]
struct List {
    /// Commands certain to have run.
    certain: Vec<Vec<String>>,
    /// Commands after an `&&` in the current chain.
    doubtful: Vec<Vec<String>>,
    /// True if the next command follows an `&&`.
    conditional: bool,
    /// True if the chain has ended, unless nothing follows.
    ended: bool,
    /// True if the list contains a compound command.
    is_compound: bool,
}

impl List {
    /// Adds a simple command without the output redirections. A command that is `fed` from a file
    /// or pipe is left out.
    fn add(&mut self, words: &mut Vec<String>, has_input: bool) {
        // A redirection of the output does not give the program anything to read.
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

        // Another command follows the chain, so the status of the list says nothing about the
        // chain.
        if std::mem::take(&mut self.ended) {
            self.doubtful.clear();
        }

        if has_input {
            return;
        }

        if self.conditional {
            &mut self.doubtful
        } else {
            &mut self.certain
        }
        .push(words);
    }

    /// Ends a chain of `&&`. If another command follows, the doubtful commands of the chain remain
    /// doubtful.
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
            let hint = interactive_hint(command, silent).unwrap_or_default();
            assert!(hint.contains(part), "{command}: {hint:?}");
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
            assert_eq!(interactive_hint(command, true), None, "{command}");
        }

        assert_eq!(interactive_hint("mysql", false), None);
    }
}
