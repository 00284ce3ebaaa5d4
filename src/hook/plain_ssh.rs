//! Finds `ssh`, `scp`, `sftp` and `rsync` in a command of the client's own shell, and the hosts to
//! which they connect (pure).

use super::shell_words::{UNKNOWN, commands, program_name};
use crate::openssh::destination::host_part;

/// Options of ssh(1) that take a value.
const SSH_VALUES: &str = "bceilmopBDEFIJLOPQRSwW";
/// Options of scp(1) that take a value.
const SCP_VALUES: &str = "cDFiJloPSX";
/// Options of sftp(1) that take a value.
const SFTP_VALUES: &str = "BbcDFiJloPRSsX";

/// Programs that start another one, which stands among their arguments.
const WRAPPERS: [&str; 18] = [
    "sudo", "doas", "env", "command", "builtin", "exec", "nohup", "nice", "ionice", "timeout",
    "setsid", "stdbuf", "xargs", "sshpass", "watch", "time", "parallel", "autossh",
];

/// One program that speaks SSH, as a command starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlainSsh {
    /// Name of the program.
    pub(super) program: &'static str,
    /// Hosts to which it connects, without user and port. Jump hosts are included.
    pub(super) hosts: Vec<String>,
    /// True if it forwards ports.
    pub(super) forwards: bool,
    /// False if it may connect to another host than these, for instance because a variable names
    /// it.
    pub(super) is_certain: bool,
}

/// Returns the programs that speak SSH in a command line, in no certain order.
pub(super) fn plain_ssh(line: &str) -> Vec<PlainSsh> {
    let all = commands(line);
    all.iter().filter_map(|words| started(words)).collect()
}

/// Returns the program that speaks SSH, if the command starts one.
fn started(words: &[String]) -> Option<PlainSsh> {
    let name = |word: &String| match program_name(word) {
        "ssh" | "autossh" => Some("ssh"),
        "scp" => Some("scp"),
        "sftp" => Some("sftp"),
        "rsync" => Some("rsync"),
        _ => None,
    };

    let first = words.first()?;
    let (position, program) = match name(first) {
        Some(program) => (0, program),
        None if WRAPPERS.contains(&program_name(first)) => words
            .iter()
            .enumerate()
            .find_map(|(position, word)| Some((position, name(word)?)))?,
        None => return None,
    };

    let arguments = words.get(position + 1..).unwrap_or_default();
    let mut reader = Arguments {
        found: PlainSsh {
            program,
            hosts: Vec::new(),
            forwards: false,
            is_certain: true,
        },
        contacts_nobody: false,
    };

    match program {
        "ssh" => reader.ssh(arguments),
        "scp" => reader.copies(arguments, SCP_VALUES),
        "sftp" => reader.sftp(arguments),
        _ => reader.rsync(arguments),
    }

    let found = reader.found;
    let is_local = found.hosts.is_empty() && found.is_certain;
    (!reader.contacts_nobody && !is_local).then_some(found)
}

/// What was read of the arguments so far.
struct Arguments {
    found: PlainSsh,
    /// True if the program only prints something, as `ssh -V` does.
    contacts_nobody: bool,
}

impl Arguments {
    /// Reads `ssh [OPTION …] DESTINATION [OPTION …] [COMMAND …]`.
    fn ssh(&mut self, words: &[String]) {
        let Some(rest) = self.options(words, SSH_VALUES) else {
            // Without a destination it prints its usage, unless a variable holds one.
            return;
        };

        if let Some((destination, rest)) = rest.split_first() {
            self.destination(destination);
            // `ssh` takes options after the destination as well.
            self.options(rest, SSH_VALUES);
        }
    }

    /// Reads the operands of `scp`. Those of hosts are `HOST:PATH` or `scp://HOST`.
    fn copies(&mut self, words: &[String], values: &str) {
        let mut rest = words;
        while let Some(operands) = self.options(rest, values) {
            let Some((operand, after)) = operands.split_first() else {
                break;
            };

            self.operand(operand);
            rest = after;
        }
    }

    /// Reads `sftp [OPTION …] DESTINATION`.
    fn sftp(&mut self, words: &[String]) {
        let Some([destination, ..]) = self.options(words, SFTP_VALUES) else {
            return;
        };

        if destination.starts_with("sftp://") || !destination.contains(':') {
            self.destination(destination);
        } else {
            self.operand(destination);
        }
    }

    /// Reads the operands of `rsync`, and the remote shell of `-e`.
    fn rsync(&mut self, words: &[String]) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let text = word.as_str();

            // Letters without a value may stand before `e`, as in `-ave ssh`.
            let is_short = text.starts_with('-') && !text.starts_with("--");
            let shell = if let Some(shell) = text.strip_prefix("--rsh=") {
                Some(shell.to_owned())
            } else if text == "--rsh" || (is_short && text.ends_with('e')) {
                words.next().cloned()
            } else {
                None
            };

            if let Some(shell) = shell {
                self.remote_shell(&shell);
            } else if !text.starts_with('-') && !text.contains("::") {
                self.operand(word);
            }
        }
    }

    /// Reads the command with which `rsync` connects.
    fn remote_shell(&mut self, line: &str) {
        let all = commands(line);
        let Some((program, options)) = all.first().and_then(|words| words.split_first()) else {
            return;
        };

        if program_name(program) == "ssh" {
            self.options(options, SSH_VALUES);
        } else {
            self.found.is_certain = false;
        }
    }

    /// Reads options up to the first word that is none. Returns the words from there on, or `None`
    /// at the end.
    fn options<'a>(&mut self, words: &'a [String], values: &str) -> Option<&'a [String]> {
        let mut position = 0;
        while let Some(word) = words.get(position) {
            if word == "--" {
                return words.get(position + 1..).filter(|rest| !rest.is_empty());
            }

            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                return words.get(position..);
            };

            position += 1;
            let Some(at) = letters.find(|letter| values.contains(letter)) else {
                self.contacts_nobody |= letters.contains(['V', 'G']) && self.found.program == "ssh";
                self.found.is_certain &= !letters.contains(UNKNOWN);
                continue;
            };

            let mut value = letters.get(at..).unwrap_or_default().chars();
            let letter = value.next().unwrap_or_default();
            let attached = value.as_str();
            if attached.is_empty() {
                self.option(letter, words.get(position).map_or("", String::as_str));
                position += 1;
            } else {
                self.option(letter, attached);
            }
        }

        None
    }

    /// Reads an option with a value. Letters that mean something else to `scp` and `sftp` do no
    /// harm here.
    fn option(&mut self, letter: char, value: &str) {
        let is_ssh = self.found.program == "ssh" || self.found.program == "rsync";
        match letter {
            'J' => self.jump_hosts(value),
            'o' => self.setting(value),
            // Another configuration, or the connection of another process.
            'F' | 'S' => self.found.is_certain = false,
            'L' | 'R' | 'D' | 'w' | 'W' if is_ssh => self.found.forwards = true,
            // Asks about algorithms, or speaks to another process of this machine.
            'Q' | 'O' if is_ssh => self.contacts_nobody = true,
            _ => {}
        }
    }

    /// Reads a value of `-o`: `HostName=web` or `HostName web`.
    fn setting(&mut self, text: &str) {
        let text = text.trim();
        let split = text.split_once(['=', ' ', '\t']);
        let (key, value) = split.unwrap_or((text, ""));
        let value = value.trim_start_matches([' ', '\t', '=']).trim_matches('"');

        match key.to_ascii_lowercase().as_str() {
            "hostname" => self.host(value),
            "proxyjump" => self.jump_hosts(value),
            "localforward" | "remoteforward" | "dynamicforward" | "tunnel" => {
                self.found.forwards = true;
            }
            "proxycommand" | "proxyusefdpass" | "controlpath" | "include" | "localcommand"
            | "knownhostscommand" => self.found.is_certain = false,
            _ => {}
        }
    }

    fn jump_hosts(&mut self, list: &str) {
        for hop in list.split(',').filter(|hop| *hop != "none") {
            // A hop may have a port without the form of an address.
            let without_port = match hop.rsplit_once(':') {
                Some((host, port)) if !port.is_empty() && port.parse::<u16>().is_ok() => host,
                _ => hop,
            };

            let hop = if hop.starts_with("ssh://") {
                hop
            } else {
                without_port
            };
            self.host(host_part(hop));
        }
    }

    /// Reads `[USER@]HOST` or `ssh://[USER@]HOST[:PORT][/PATH]`. `sftp://` and `scp://` have the
    /// same form.
    fn destination(&mut self, word: &str) {
        let Some((_, rest)) = word.split_once("://") else {
            self.host(host_part(word));
            return;
        };

        let authority = rest.split('/').next().unwrap_or_default();
        self.host(host_part(&format!("ssh://{authority}")));
    }

    /// Reads `[USER@]HOST:PATH`. Other words are local paths, unless a variable holds the host.
    fn operand(&mut self, word: &str) {
        if word.contains("://") {
            self.destination(word);
            return;
        }

        let bracketed = word
            .split_once('[')
            .filter(|(user, _)| !user.contains([':', '/']))
            .and_then(|(_, rest)| rest.split_once("]:"));

        // A slash before the colon makes it a path, as in `./a:b`.
        match (bracketed, word.split_once(':')) {
            (Some((address, _)), _) => self.host(address),
            (None, Some((host, _))) if !host.contains('/') => self.host(host_part(host)),
            (None, _) => self.found.is_certain &= !word.starts_with(UNKNOWN),
        }
    }

    /// Adds a host, unless only the shell knows it.
    fn host(&mut self, host: &str) {
        let host = host.trim_matches(['[', ']']);
        if host.contains(UNKNOWN) {
            self.found.is_certain = false;
        } else if !host.is_empty() {
            self.found.hosts.push(host.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was found, in short: program, hosts, `+` for forwards and `?` for what is uncertain.
    fn short(line: &str) -> String {
        let all = plain_ssh(line);
        let texts = all.iter().map(|found| {
            let forwards = if found.forwards { " +" } else { "" };
            let doubt = if found.is_certain { "" } else { " ?" };
            format!(
                "{} {}{forwards}{doubt}",
                found.program,
                found.hosts.join(",")
            )
        });

        texts.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_hosts_of_a_command_are_read_from_it() {
        for (line, expected) in [
            ("ls -l; git status", ""),
            ("ssh web", "ssh web"),
            ("ssh bob@web uptime", "ssh web"),
            ("ssh ssh://bob@web:22", "ssh web"),
            ("ssh ::1", "ssh ::1"),
            ("/usr/bin/ssh -p 22 -i key web", "ssh web"),
            ("\\ssh -p22 -vv web", "ssh web"),
            ("'ssh' \"web\"", "ssh web"),
            ("cd /x && ssh web ls | grep a", "ssh web"),
            ("ssh -J a,b@c:22,ssh://d:1 web", "ssh a,c,d,web"),
            (
                "ssh web -o HostName=db -o ProxyJump=j uptime",
                "ssh web,db,j",
            ),
            ("ssh web uptime -o HostName=db", "ssh web"),
            ("ssh -oHostName=db web", "ssh db,web"),
            ("ssh -L 1:a:2 -N web", "ssh web +"),
            ("ssh -o 'LocalForward 1 a:2' web", "ssh web +"),
            ("ssh $HOST uptime", "ssh  ?"),
            ("ssh -p $PORT web", "ssh web"),
            ("ssh $OPTS web", "ssh  ?"),
            ("ssh -F f web", "ssh web ?"),
            ("ssh -o ProxyCommand='nc x 1' web", "ssh web ?"),
            ("ssh -S /s web", "ssh web ?"),
            ("ssh -V; ssh -G web; ssh -Q cipher; ssh -O check web", ""),
            ("ssh", ""),
            ("ssh-keygen -t ed25519; ssh-add", ""),
            ("sudo -u bob ssh web", "ssh web"),
            ("env X=1 timeout 5 ssh web", "ssh web"),
            ("echo host | xargs -I{} ssh {} uptime", "ssh  ?"),
            ("bash -c 'ssh web'", "ssh web"),
            ("echo $(ssh web hostname)", "ssh web"),
            ("for h in a b; do ssh $h; done", "ssh  ?"),
            ("echo ssh web", ""),
            ("cat > notes <<E\nssh web\nE", ""),
            ("scp a b", ""),
            ("scp ./a:b c", ""),
            ("scp -r -P 22 a bob@web:/x@y", "scp web"),
            ("scp web:/a db:b .", "scp web,db"),
            ("scp -3 [::1]:a scp://bob@db:22/b", "scp ::1,db"),
            ("scp a bob@[::1]:b", "scp ::1"),
            ("scp $F web:", "scp web ?"),
            ("scp a $HOST:b", "scp  ?"),
            ("scp -J j a web:", "scp j,web"),
            ("scp web:/logs/*.log .", "scp web"),
            ("sftp web", "sftp web"),
            ("sftp -b f bob@web:/dir", "sftp web"),
            ("sftp sftp://web:22/dir", "sftp web"),
            ("rsync -a a/ b/", ""),
            ("rsync -a $SRC/ b/", "rsync  ?"),
            ("rsync -az --delete a/ bob@web:b/", "rsync web"),
            ("rsync -ave 'ssh -p 22 -J j' a web:b", "rsync j,web"),
            ("rsync --rsh=rsh a web:b", "rsync web ?"),
            ("rsync a web::module", ""),
        ] {
            assert_eq!(short(line), expected, "{line:?}");
        }
    }
}
