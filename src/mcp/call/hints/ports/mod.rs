//! Ports at which a program says that it listens, found in the output of the program.

#[cfg(test)]
mod tests;

use core::num::NonZeroU16;
use std::collections::BTreeSet;

/// Limit of the ports in an answer. Output with more of them is a list or a manual.
const MAX_PORTS: usize = 3;
/// Limit of a searched line, in bytes. Longer lines are data.
const MAX_LINE_BYTES: usize = 500;

/// Schemes of addresses at which servers announce themselves. Others, such as `postgres`, are those
/// of addresses to connect to.
const SCHEMES: [&str; 5] = ["http", "https", "tcp", "ws", "wss"];
/// Words that speak of a server wherever they are in front of "on" or "at".
const SERVING: [&str; 13] = [
    "listening",
    "listen",
    "serving",
    "served",
    "available",
    "accessible",
    "accept",
    "accepting",
    "launched",
    "bound",
    "hosting",
    "hosted",
    "live",
];
/// Words that speak of a server next to "on" or "at", or together with one of [`SERVERS`]: "running
/// tests at" does not.
const STARTED: [&str; 4] = ["running", "started", "starting", "ready"];
/// Words for what is started.
const SERVERS: [&str; 8] = [
    "server",
    "service",
    "interface",
    "app",
    "application",
    "daemon",
    "api",
    "endpoint",
];
/// Words after which the address of a server follows.
const PREPOSITIONS: [&str; 5] = ["on", "at", "address", "addr", "url"];
/// Words in front of an address to which something connects, at which nothing listens, or of which
/// a manual speaks.
const NOT_SERVING: [&str; 48] = [
    "already",
    "another",
    "attempt",
    "attempting",
    "cannot",
    "checking",
    "closed",
    "closing",
    "connect",
    "connected",
    "connecting",
    "connection",
    "could",
    "denied",
    "eaddrinuse",
    "ensure",
    "err",
    "error",
    "expected",
    "fail",
    "failed",
    "failure",
    "fatal",
    "g",
    "if",
    "kill",
    "killed",
    "killing",
    "must",
    "never",
    "no",
    "not",
    "nothing",
    "refused",
    "scanning",
    "should",
    "stopped",
    "stopping",
    "sure",
    "t",
    "testing",
    "tests",
    "that",
    "timeout",
    "trying",
    "unable",
    "until",
    "whether",
];
/// Words after an address at which nothing listens.
const NOT_SERVED: [&str; 7] = [
    "closed",
    "denied",
    "failed",
    "refused",
    "stopped",
    "timeout",
    "unreachable",
];

/// Returns the ports at which a program says in `texts` that it listens, on loopback or on all
/// addresses. Returns none if there are too many to be those of one command.
///
/// In doubt a port is left out: output may be a log, a manual or the words of a client.
pub(in crate::mcp) fn listening_ports<'a>(
    texts: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<NonZeroU16> {
    let mut ports = BTreeSet::new();

    for line in texts.into_iter().flat_map(str::lines) {
        if line.len() <= MAX_LINE_BYTES && line.bytes().any(|byte| byte.is_ascii_digit()) {
            let line = line.to_ascii_lowercase();
            ports.extend(mentions(&line).filter_map(Mention::listening_port));
        }

        if ports.len() > MAX_PORTS {
            return BTreeSet::new();
        }
    }

    ports
}

/// Returns true if a shell command starts something with `&` that may go on after its end.
pub(in crate::mcp) fn starts_background(command: &str) -> bool {
    command.match_indices('&').any(|(at, _)| {
        let (before, after) = (
            &command.get(..at),
            command.get(at + 1..).unwrap_or_default(),
        );
        let is_pair = before.is_some_and(|before| before.ends_with(['&', '>', '<', '|', '\\']));
        let ends_command = after.is_empty() || after.starts_with([' ', '\t', '\n', '\r', ';', ')']);

        !is_pair && ends_command
    })
}

/// Port in a line, in lower case, with what stands around it.
struct Mention<'a> {
    port: NonZeroU16,
    /// Text in front of the address, or in front of the word "port".
    before: &'a str,
    /// Text after the port.
    after: &'a str,
    is_url: bool,
}

/// Returns the ports of a line: those of local addresses, those after the word "port", and a number
/// after "listening on".
fn mentions(line: &str) -> impl Iterator<Item = Mention<'_>> {
    let of_address = line
        .match_indices(':')
        .filter_map(|(colon, _)| Mention::of_address(line, colon));
    let of_word = line
        .match_indices("port")
        .filter_map(|(at, _)| Mention::of_word(line, at));
    let of_number = line
        .match_indices("listening on ")
        .filter_map(|(at, phrase)| Mention::of_number(line, at + phrase.len()));

    of_address.chain(of_word).chain(of_number)
}

impl<'a> Mention<'a> {
    /// Reads the local address around a colon, as in `http://localhost:5173/` or `[::]:80`.
    fn of_address(line: &'a str, colon: usize) -> Option<Self> {
        let (before, after) = line.split_at_checked(colon)?;
        let (port, after) = split_port(after.strip_prefix(':')?)?;

        let (before, host) = match before.strip_suffix(']') {
            Some(before) => before.rsplit_once('[')?,
            None => before.split_at_checked(before.trim_end_matches(is_in_host).len())?,
        };

        let (before, is_url) = match before.strip_suffix("//") {
            None => (before, false),
            Some(before) => match before.strip_suffix(':') {
                None => (before, true),
                Some(before) => {
                    let rest = before.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
                    let scheme = before.get(rest.len()..)?;
                    SCHEMES.contains(&scheme).then_some((rest, true))?
                }
            },
        };

        let is_whole = !before.ends_with(['/', '@', '\\']);
        (is_whole && (host.is_empty() || is_local(host))).then_some(Self {
            port,
            before,
            after,
            is_url,
        })
    }

    /// Reads the number after a word "port", as in `port 3000`, `port(s): 80` or `"port":27017`.
    fn of_word(line: &'a str, at: usize) -> Option<Self> {
        let (before, word) = line.split_at_checked(at)?;
        let after = word.strip_prefix("port")?;
        let after = after.strip_prefix("(s)").unwrap_or(after);
        let number = after.trim_start_matches([' ', ':', '=', '#', '"', '\'']);
        let (port, rest) = split_port(number)?;

        let is_word = !before.ends_with(|letter: char| letter.is_alphanumeric())
            && number.len() < after.len();

        // An address in front of the word is the one at which the port is.
        let before = before.trim_end_matches([' ', ',']);
        let (earlier, last) = before.rsplit_once(' ').unwrap_or(("", before));
        let host = last.trim_matches(['"', '\'', '(', ')', '[', ']']);
        let is_host = host.contains(['.', ':']) && host.chars().all(is_in_host);
        let before = if is_host && !last.ends_with(['.', ':']) {
            is_local(host).then_some(earlier)?
        } else {
            before
        };

        is_word.then_some(Self {
            port,
            before,
            after: rest,
            is_url: false,
        })
    }

    /// Reads the number after "listening on", perhaps with an address in between, as netcat and
    /// iperf print them.
    fn of_number(line: &'a str, at: usize) -> Option<Self> {
        let (before, rest) = line.split_at_checked(at)?;
        let number = match rest.split_once(' ') {
            Some((host, number)) if host == "[any]" || is_local(host) => number,
            _ => rest,
        };
        let (port, after) = split_port(number)?;

        let ends = after.trim_matches([' ', '.', '!']);
        (ends.is_empty() || ends.starts_with('(')).then_some(Self {
            port,
            before,
            after,
            is_url: false,
        })
    }

    /// Returns the port if the text around it says that the program listens there.
    fn listening_port(self) -> Option<NonZeroU16> {
        let before = words(self.before);
        let has = |of: &[&str]| before.iter().any(|word| of.contains(word));
        let is_denied = has(&NOT_SERVING)
            || words(self.after)
                .iter()
                .any(|word| NOT_SERVED.contains(word))
            || self.before.contains("for example")
            || self.after.trim_end().ends_with('?');

        let are_accepted = ["ready for connections", "waiting for connections"]
            .iter()
            .any(|phrase| self.before.contains(phrase));

        let has_client = has(&["to", "for", "with", "from", "of"]);
        let is_server = match before.as_slice() {
            // A line of its own, as in a list of addresses.
            [] | ["or"] | [.., "local" | "loopback"] | [.., "local", "url"] => self.is_url,
            [.., "listening" | "serving"]
            | [.., "bound" | "binding" | "listening", "to"]
            | [.., "launched" | "forwarding" | "served", "from"] => true,
            [.., "server"] => self.is_url && (has(&STARTED) || self.after.contains("started")),
            [.., "server", "at" | "address"] if self.is_url && !has_client => true,
            [.., last, preposition] if PREPOSITIONS.contains(preposition) => {
                has(&SERVING) || STARTED.contains(last) || has(&STARTED) && has(&SERVERS)
            }
            _ => false,
        };

        // The line says how to end the server.
        let can_be_ended = self.is_url
            && words(self.after)
                .iter()
                .any(|word| ["ctrl", "control"].contains(word));

        (!is_denied && (is_server || are_accepted || can_be_ended)).then_some(self.port)
    }
}

/// Splits a port from the beginning of a text. The number must end there.
fn split_port(text: &str) -> Option<(NonZeroU16, &str)> {
    let after = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let digits = text.get(..text.len() - after.len())?;
    let port = digits.parse().ok().filter(|_| !digits.starts_with('0'))?;

    let mut rest = after.chars();
    let ends = match rest.next() {
        // Part of a version, of a mapping of ports, or of a place in a file.
        Some('.') => !rest.next().is_some_and(char::is_alphanumeric),
        Some(':' | '-' | '_' | '%' | '@') => false,
        Some(letter) => !letter.is_alphanumeric(),
        None => true,
    };

    ends.then_some((port, after))
}

/// Returns true for a character of a host name or an IP address, or for `*`.
fn is_in_host(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.:*%".contains(letter)
}

/// Returns true for the names of loopback and of all addresses.
fn is_local(host: &str) -> bool {
    let is_v4 = |host: &str| {
        host.parse::<core::net::Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback() || address.is_unspecified())
    };

    matches!(host, "localhost" | "*" | "::" | "::1" | "0:0:0:0:0:0:0:0") || is_v4(host)
}

/// Returns the words of a text, without anything between them.
fn words(text: &str) -> Vec<&str> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}
