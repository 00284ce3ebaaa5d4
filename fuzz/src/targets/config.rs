//! The configuration of `ssh`: what `ssh -G` prints, and what we make of its files ourselves. The first value of an option
//! wins, no value becomes another option, and what a person asked for outweighs any file.

use crate::openssh::{
    config_file::{ConfigLine, Settings, host_matches},
    destination::{Destination, parse_user},
    effective_config::EffectiveConfig,
};

/// What a byte stands for, so that a fuzzer comes by names of options.
const OPTIONS: [&str; 31] = [
    "hostname ",
    "port ",
    "user ",
    "identityfile ",
    "identityagent ",
    "stricthostkeychecking ",
    "connecttimeout ",
    "serveraliveinterval ",
    "rekeylimit ",
    "sendenv ",
    "setenv ",
    "forwardagent ",
    "proxyjump ",
    "proxycommand ",
    "ipqos ",
    "userknownhostsfile ",
    "hostkeyalgorithms ",
    "ciphers ",
    "macs ",
    "localforward ",
    "refuseconnection ",
    "addressfamily ",
    "numberofpasswordprompts ",
    "Host ",
    "Match ",
    "Include ",
    "yes\n",
    "none\n",
    "%h.ex\n",
    "\\\"",
    "h.ex",
];

/// Tries one input, as what was printed, as a file, and as what a person typed.
pub fn run(data: &[u8]) {
    let mut text = Vec::new();
    for &byte in data {
        match OPTIONS.get(usize::from(byte).wrapping_sub(0x80)) {
            Some(option) => text.extend(option.as_bytes()),
            None => text.push(byte),
        }
    }
    let text = String::from_utf8_lossy(&text);
    printed(&text);
    file(&text);
    quoted(text.lines().next().unwrap_or_default());
    typed(text.lines().next().unwrap_or_default());
}

fn printed(text: &str) {
    let Ok(config) = EffectiveConfig::parse(text) else {
        return;
    };
    assert!(config.port != 0 && !config.host_name.is_empty() && !config.user.is_empty());
    assert!(config.notices.iter().all(|notice| !notice.contains('\n')));
    // Nothing that comes later outweighs what was printed, and what is not known changes nothing.
    let later =
        "hostname evil.ex\nuser evil\nstricthostkeychecking no\nproxycommand evil\nnotknown x\n";
    let before = "hostname h\nuser u\nstricthostkeychecking yes\nproxycommand none\nport 22\n";
    let first = EffectiveConfig::parse(&format!("{before}{text}\n{later}"));
    let Ok(first) = first else {
        panic!("it was read without these lines")
    };
    assert_eq!(
        (first.host_name.as_str(), first.user.as_str(), first.port),
        ("h", "u", 22)
    );
    assert_eq!(first.proxy_command, None);
    assert_eq!(first.identity_files, config.identity_files);
    let unknown = EffectiveConfig::parse(&format!("notknown x\n{text}\nnotknown y"));
    assert_eq!(unknown.as_ref(), Ok(&config));
}

fn file(text: &str) {
    let (mut settings, mut active) = (Settings::default(), true);
    for line in text.lines() {
        match ConfigLine::read(line) {
            Ok(Some(ConfigLine::Host(patterns))) => {
                active = host_matches(&patterns, "h.ex");
                if patterns.iter().any(|pattern| pattern == "!h.ex") {
                    assert!(!active, "a negated pattern wins");
                }
            }
            Ok(Some(ConfigLine::Match(_) | ConfigLine::Include(_)) | None) | Err(_) => {}
            Ok(Some(ConfigLine::Option(keyword, arguments))) => {
                let port = settings.first("port").map(str::to_owned);
                if active {
                    let _ = settings.add(&keyword, &arguments);
                }
                assert!(
                    port.is_none() || settings.first("port") == port.as_deref(),
                    "the first value wins"
                );
            }
        }
    }
    let host_name = settings.first("hostname").map(str::to_owned);
    let asked = settings.to_config_dump("h.ex", Some("asked"), Some(2222), "local");
    // A line for each value: none can end its own and begin another option's.
    for keyword in ["hostname", "user", "port"] {
        let lines = asked
            .lines()
            .filter(|line| line.split(' ').next() == Some(keyword));
        assert_eq!(lines.count(), 1, "{keyword} in {asked}");
    }
    if let Ok(config) = EffectiveConfig::parse(&asked) {
        assert_eq!((config.user.as_str(), config.port), ("asked", 2222));
        if host_name.is_none() {
            assert_eq!(config.host_name, "h.ex");
        }
    }
}

/// A value between quotation marks is that value, whatever it holds.
fn quoted(value: &str) {
    if value.is_empty() {
        return;
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    let read = ConfigLine::read(&format!("IdentityFile \"{escaped}\" # \"no"));
    let expected = ConfigLine::Option("identityfile".to_owned(), vec![value.to_owned()]);
    assert_eq!(read, Ok(Some(expected)));
}

/// What may be handed to `ssh` is no option of its, has no room for a second word, and nothing that a shell would act upon.
fn typed(typed: &str) {
    if let Ok(destination) = Destination::parse(typed) {
        assert_eq!(destination.as_str(), typed);
        let rest = typed.strip_prefix("ssh://").unwrap_or(typed);
        let (user, host) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(user, host)| (Some(user), host));
        assert!(!rest.starts_with('-') && !host.starts_with('-') && !host.is_empty());
        assert!(!rest.contains(|letter: char| letter.is_whitespace() || letter.is_control()));
        assert!(!host.contains(['$', '`', ';', '|', '&', '\'', '"', '\\']));
        assert!(user.is_none_or(|user| parse_user(user) == Ok(user)));
    }
    if let Ok(user) = parse_user(typed) {
        assert!(user == typed && !user.is_empty() && !user.starts_with('-'));
        assert!(!user.contains(|letter: char| letter.is_whitespace() || letter.is_control()));
    }
}
