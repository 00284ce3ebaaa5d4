//! `known_hosts`: a revoked key is never accepted, a hashed name is as good as a plain one, what is said of a line is true of
//! that line alone, and no order of lines changes the verdict.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::openssh::{
    known_hosts::{
        HostCertificate, HostKey, HostName, KnownHostsFile, Verdict, order_algorithms, plan_update,
        render_line, verdict,
    },
    revoked_keys::RevokedKeys,
};

/// What no fuzzer would guess.
const KEYS: [&str; 3] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZPZKRQGjSb/lctRnhvGr7EG5AZwbscCJQr3cH6WQw6",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEWnAdgUI5xeVstDYKxRrye+cckk1i73w1e8xLDyNUSDUPd8ny44mLSUePI49xwZUJgen8i0N17XnQ/zzvZw2jY=",
];

/// Tries one input: a few choices, and a text of which some bytes stand for what is found in such files.
pub fn run(data: &[u8]) {
    let _ = HostKey::parse(data);
    let _ = HostCertificate::parse(data);
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let keys = KEYS.map(key);
    let host = host(choice);
    let text = text(data, &host);
    let (first, second) = text.split_at(text.len() * usize::from(choice >> 4) / 15);
    for key in &keys {
        judged(first, second, &host, key);
        revoked(first, second, &host, key);
        rendered(&text, &host, key, choice);
    }
    updated(&text, &host, &keys[..usize::from(choice) % 3]);
    ordered(&text, &host);
    matched(data, &host, &keys[0]);
    if let Ok(revoked) = RevokedKeys::parse(&text) {
        let more = [&text[..], b"\n", KEYS[0].as_bytes()].concat();
        let more =
            RevokedKeys::parse(&more).map(|revoked| revoked.reason(&keys[0], None).is_some());
        assert!(more.unwrap_or(true), "a further line revokes its key");
        let _ = revoked.reason(&keys[1], None);
    }
}

fn host(choice: u8) -> HostName {
    match choice % 4 {
        0 => HostName::new("h.ex", 22),
        1 => HostName::new("H.ex", 2222),
        2 => HostName::new("fe80::1%eth0", 22),
        _ => HostName::alias("Alias"),
    }
}

fn key(line: &str) -> HostKey {
    let encoded = line.split(' ').nth(1).expect("a type and a key");
    HostKey::parse(&STANDARD.decode(encoded).expect("base64")).expect("a key")
}

fn text(data: &[u8], host: &HostName) -> Vec<u8> {
    let hashed = render_line(host, Some([7; 20]), &key(KEYS[0])).unwrap_or_default();
    let hashed = hashed.split(' ').next().unwrap_or_default().as_bytes();
    let mut text = Vec::new();
    for &byte in data {
        match byte {
            1 => text.extend(KEYS[0].as_bytes()),
            2 => text.extend(KEYS[1].as_bytes()),
            3 => text.extend(KEYS[2].as_bytes()),
            4 => text.extend(b"@revoked "),
            5 => text.extend(b"@cert-authority "),
            6 => text.extend(host.as_str().as_bytes()),
            7 => text.extend(hashed),
            8 => text.extend(b"h.ex"),
            11 => text.extend([b'h'; 1023]),
            _ => text.push(byte),
        }
    }
    text
}

fn files<'a>(first: &'a [u8], second: &'a [u8]) -> [KnownHostsFile<'a>; 2] {
    [
        KnownHostsFile {
            path: "first",
            text: first,
        },
        KnownHostsFile {
            path: "second",
            text: second,
        },
    ]
}

/// A verdict without the place that it is about.
fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Trusted {
            without_port: false,
            ..
        } => "trusted",
        Verdict::Trusted {
            without_port: true, ..
        } => "trusted without port",
        Verdict::Unknown => "unknown",
        Verdict::Changed { .. } => "changed",
        Verdict::Revoked { .. } => "revoked",
    }
}

fn judged(first: &[u8], second: &[u8], host: &HostName, key: &HostKey) {
    let said = verdict(&files(first, second), host, key);
    let (Verdict::Trusted { file, line, .. }
    | Verdict::Changed { file, line, .. }
    | Verdict::Revoked { file, line }) = &said
    else {
        return same_in_any_order(first, second, host, key, &said);
    };
    let text = if file == "first" { first } else { second };
    let alone = text
        .split(|byte| *byte == b'\n')
        .nth(line - 1)
        .expect("it has this line");
    let of_line = verdict(&files(alone, b""), host, key);
    assert_eq!(class(&of_line), class(&said), "line {line} of the {file}");
    if let (
        Verdict::Changed { fingerprint, .. },
        Verdict::Changed {
            fingerprint: of_line,
            ..
        },
    ) = (&said, &of_line)
    {
        assert_eq!(fingerprint, of_line);
    }
    same_in_any_order(first, second, host, key, &said);
}

fn same_in_any_order(first: &[u8], second: &[u8], host: &HostName, key: &HostKey, said: &Verdict) {
    let backwards = first
        .split(|byte| *byte == b'\n')
        .rev()
        .collect::<Vec<_>>()
        .join(&b'\n');
    let joined = [second, b"\n", &backwards].concat();
    for other in [
        verdict(&files(second, first), host, key),
        verdict(&files(&joined, b""), host, key),
    ] {
        assert_eq!(class(&other), class(said));
    }
}

fn revoked(first: &[u8], second: &[u8], host: &HostName, key: &HostKey) {
    let encoded = STANDARD.encode(key.blob());
    for hosts in ["*", host.as_str()] {
        let line = format!("@revoked {hosts} {} {encoded}\n", key.key_type());
        let before = [line.as_bytes(), first].concat();
        let after = [second, b"\n", line.as_bytes()].concat();
        for files in [files(&before, second), files(first, &after)] {
            assert!(matches!(
                verdict(&files, host, key),
                Verdict::Revoked { .. }
            ));
        }
    }
}

/// A line of ours trusts its host, hashed and plain alike, and nobody else.
fn rendered(text: &[u8], host: &HostName, key: &HostKey, choice: u8) {
    let other = HostName::new("other.ex", 22);
    let with = |salt| {
        let line = render_line(host, salt, key).expect("the name stands for itself");
        [text, b"\n", line.as_bytes(), b"\n"].concat()
    };
    let (plain, hashed) = (with(None), with(Some([choice; 20])));
    for judged in KEYS.map(self::key) {
        let before = verdict(&files(text, b""), host, &judged);
        let [plain_said, hashed_said] =
            [&plain, &hashed].map(|text| verdict(&files(text, b""), host, &judged));
        assert_eq!(plain_said, hashed_said);
        if judged == *key && class(&before) != "revoked" {
            assert_eq!(class(&plain_said), "trusted");
        }
    }
    for text_with in [&plain, &hashed] {
        assert_eq!(
            verdict(&files(text_with, b""), &other, key),
            verdict(&files(text, b""), &other, key)
        );
    }
}

/// Once a server's keys were taken over, there is nothing more to do, they are trusted, and for no other host.
fn updated(text: &[u8], host: &HostName, announced: &[HostKey]) {
    let Some(update) = plan_update(&files(text, b""), host, announced) else {
        return;
    };
    let mut now = update
        .without_obsolete(text, host)
        .unwrap_or_else(|| text.to_vec());
    for key in update.missing_from(&now, host) {
        let line = render_line(host, Some([9; 20]), key).expect("a hashed name");
        now = [&now[..], b"\n", line.as_bytes(), b"\n"].concat();
    }
    assert_eq!(plan_update(&files(&now, b""), host, announced), None);
    assert!(update.missing_from(&now, host).is_empty());
    for key in &update.new {
        assert_eq!(class(&verdict(&files(&now, b""), host, key)), "trusted");
    }
    let other = HostName::new("other.ex", 22);
    for key in KEYS.map(key) {
        let [before, after] =
            [text, &now].map(|text| class(&verdict(&files(text, b""), &other, &key)));
        assert!(after != "trusted" || before == "trusted");
        assert!((after == "revoked") == (before == "revoked"));
    }
}

fn ordered(text: &[u8], host: &HostName) {
    let mut asked = order_algorithms(&[], &files(text, b""), host);
    let mut plain = order_algorithms(&[], &files(b"", b""), host);
    asked.sort();
    plain.sort();
    assert_eq!(asked, plain, "in another order, but the same");
}

/// What `*` and `?` stand for, against the plainest way to say it.
fn matched(data: &[u8], host: &HostName, key: &HostKey) {
    let hosts = data
        .split(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0))
        .next()
        .unwrap_or_default();
    // It takes as long as the number of ways to match.
    let stars = memchr::memchr_iter(b'*', hosts).count();
    if hosts.is_empty()
        || hosts.starts_with(b"#")
        || hosts.starts_with(b"@")
        || hosts.starts_with(b"|")
        || stars > 4
    {
        return;
    }
    let line = [hosts, b" ", KEYS[0].as_bytes()].concat();
    let expected = |name: &str| {
        let matching = |pattern: &&[u8]| stands_for(&pattern.to_ascii_lowercase(), name.as_bytes());
        let patterns = || hosts.split(|byte| *byte == b',');
        let negated = patterns().filter_map(|pattern| pattern.strip_prefix(b"!"));
        patterns()
            .filter(|pattern| !pattern.starts_with(b"!"))
            .any(|pattern| matching(&pattern))
            && !negated.into_iter().any(|pattern| matching(&pattern))
    };
    let host = if host.as_str().starts_with('[') {
        HostName::new("h.ex", 22)
    } else {
        host.clone()
    };
    if hosts.len() < 1000 {
        let trusted = class(&verdict(&files(&line, b""), &host, key)) == "trusted";
        assert_eq!(
            trusted,
            expected(host.as_str()),
            "{}",
            String::from_utf8_lossy(hosts)
        );
    }
}

fn stands_for(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|taken| stands_for(rest, &name[taken..])),
        (Some((wanted, pattern)), Some((byte, name))) => {
            (*wanted == b'?' || wanted == byte) && stands_for(pattern, name)
        }
        _ => false,
    }
}
