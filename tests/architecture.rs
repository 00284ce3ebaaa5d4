//! Keeps the arrows of ARCHITECTURE.md: who may use whom, without circles, and who alone may name which library.
#![expect(
    clippy::expect_used,
    reason = "a test may say what it takes for granted"
)]

#[path = "architecture/imports.rs"]
mod imports;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each part of the crate, and the parts it may use.
const ARROWS: [(&str, &[&str]); 31] = [
    (
        "main",
        &[
            "cli",
            "completions",
            "hook",
            "mcp",
            "doctor",
            "explain",
            "setup",
            "session",
            "audit",
            "audit_command",
            "ssh",
            "foreign_text",
        ],
    ),
    (
        "hook",
        &[
            "mcp",
            "session",
            "settings",
            "ssh",
            "openssh",
            "foreign_text",
        ],
    ),
    ("cli", &["audit", "client_config", "local"]),
    (
        "completions",
        &["cli", "local", "session", "ssh", "foreign_text"],
    ),
    ("audit_command", &["audit", "session", "foreign_text"]),
    (
        "mcp",
        &[
            "audit",
            "local",
            "session",
            "settings",
            "ssh",
            "openssh",
            "forward",
            "capture",
            "child",
            "event",
            "lock",
            "password",
            "peer",
            "random",
            "foreign_text",
        ],
    ),
    ("explain", &["session", "settings", "ssh", "foreign_text"]),
    (
        "doctor",
        &[
            "setup",
            "client_config",
            "session",
            "ssh",
            "openssh",
            "local",
            "child",
            "foreign_text",
        ],
    ),
    (
        "setup",
        &[
            "client_config",
            "local",
            "edit",
            "child",
            "random",
            "foreign_text",
        ],
    ),
    ("client_config", &[]),
    (
        "session",
        &[
            "settings",
            "audit",
            "local",
            "ssh",
            "openssh",
            "framing",
            "forward",
            "capture",
            "event",
            "lock",
            "password",
            "random",
            "foreign_text",
            "render",
        ],
    ),
    (
        "ssh",
        &[
            "local",
            "openssh",
            "framing",
            "sftp",
            "tree",
            "edit",
            "forward",
            "policy",
            "capture",
            "child",
            "event",
            "lock",
            "password",
            "peer",
            "random",
            "foreign_text",
            "render",
        ],
    ),
    ("local", &["tree"]),
    ("openssh", &["forward", "foreign_text"]),
    ("framing", &["foreign_text"]),
    ("sftp", &["foreign_text"]),
    ("tree", &[]),
    ("edit", &["capture", "foreign_text"]),
    ("forward", &["foreign_text"]),
    ("policy", &[]),
    ("settings", &["openssh", "foreign_text"]),
    ("audit", &["foreign_text"]),
    ("capture", &[]),
    ("child", &[]),
    ("event", &[]),
    ("peer", &["child", "lock"]),
    ("lock", &[]),
    ("password", &[]),
    ("random", &[]),
    ("foreign_text", &[]),
    ("render", &["foreign_text"]),
];

/// A library that only these parts may name.
const HOMES: [(&str, &[&str]); 17] = [
    ("russh", &["ssh"]),
    ("russh_sftp", &[]),
    ("rmcp", &["mcp"]),
    ("schemars", &["mcp"]),
    (
        "serde_json",
        &[
            "mcp",
            "session",
            "doctor",
            "explain",
            "hook",
            "audit",
            "audit_command",
            "setup",
            "client_config",
        ],
    ),
    ("jsonc_parser", &["client_config"]),
    ("toml_parser", &["client_config"]),
    ("hyper", &["mcp"]),
    ("clap", &["cli", "completions", "main"]),
    ("tracing_subscriber", &["main"]),
    ("vte", &["render"]),
    ("ignore", &["tree"]),
    ("similar", &["edit"]),
    ("regex", &["edit"]),
    ("regex_syntax", &["edit"]),
    ("getrandom", &["random"]),
    ("toml", &["settings", "client_config"]),
];

/// What a pure part does not do: wait, read files or clocks, talk to anything.
const IMPURE: [&str; 8] = [
    "async ",
    "tokio",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
];

const PURE: [&str; 13] = [
    "client_config",
    "openssh",
    "framing",
    "sftp",
    "tree",
    "edit",
    "forward",
    "policy",
    "settings",
    "audit",
    "capture",
    "render",
    "foreign_text",
];

/// Where wire types may be serialised: nothing that can hold a secret is.
const SECRET_HOLDERS: [&str; 2] = ["src/password.rs", "src/ssh/auth/mod.rs"];

#[test]
fn every_arrow_points_downward() {
    for (part, code) in code_by_part() {
        let allowed = ARROWS
            .iter()
            .find(|(name, _)| *name == part)
            .map_or(&[][..], |(_, allowed)| allowed);

        let (root, own) = if part == "main" {
            ("mcp_ssh_sessions::", "main")
        } else {
            ("crate::", part.as_str())
        };

        for used in names_after(&code, root) {
            assert!(
                used == own || allowed.contains(&used.as_str()),
                "src/{part} uses {root}{used}"
            );
        }
    }
}

#[test]
fn each_library_is_named_only_where_it_belongs() {
    for (part, code) in code_by_part() {
        for (library, homes) in HOMES {
            let named = code.contains(&format!("{library}::"));
            assert!(
                !named || homes.contains(&part.as_str()),
                "src/{part} names {library}"
            );
        }
    }
}

#[test]
fn the_pure_parts_wait_for_nothing_and_touch_nothing() {
    for (part, code) in code_by_part()
        .into_iter()
        .filter(|(part, _)| PURE.contains(&part.as_str()))
    {
        for word in IMPURE {
            assert!(!code.contains(word), "src/{part} says {word:?}");
        }
    }
}

#[test]
fn nothing_that_can_hold_a_secret_can_be_written_out() {
    for file in SECRET_HOLDERS {
        let code = code_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        assert!(
            !code.contains("Serialize,") && !code.contains("Display for"),
            "{file}"
        );
    }
}

#[test]
fn every_child_process_is_made_where_its_environment_is_cleared() {
    // `child::command` alone: whatever is started otherwise would get the secrets in our environment.
    const MAKERS: [&str; 5] = [
        "Command::new",
        "Command as ",
        "nix::unistd::exec",
        "nix::unistd::fork",
        "posix_spawn",
    ];

    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");

    for file in files(&source)
        .into_iter()
        .filter(|file| !file.ends_with("child.rs"))
    {
        let code = code_of(&file);
        for maker in MAKERS {
            assert!(!code.contains(maker), "{} says {maker:?}", file.display());
        }
    }

    assert!(
        code_of(&source.join("child.rs")).contains("Command::new"),
        "the scan looks for what is not there"
    );
}

#[test]
fn every_part_is_in_the_table() {
    for part in code_by_part().keys().filter(|part| *part != "lib") {
        assert!(
            ARROWS.iter().any(|(name, _)| name == part),
            "src/{part} has no row in ARROWS"
        );
    }
}

#[test]
fn names_of_functions_have_at_most_sixty_characters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut long = Vec::new();

    for file in ["src", "tests"]
        .into_iter()
        .flat_map(|folder| files(&root.join(folder)))
        .filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
    {
        let code = fs::read_to_string(&file).expect("UTF-8");
        let names = code
            .lines()
            .filter_map(|line| name(line.split_once("fn ")?.1));

        long.extend(names.filter(|name| name.len() > 60));
    }

    assert!(long.is_empty(), "too long: {long:#?}");
}

/// The code of each part, without comments and unit tests.
fn code_by_part() -> BTreeMap<String, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut parts: BTreeMap<String, String> = BTreeMap::new();

    for file in files(&source) {
        let inside = file.strip_prefix(&source).expect("below src");
        let part = inside
            .components()
            .next()
            .expect("a name")
            .as_os_str()
            .to_string_lossy()
            .replace(".rs", "");

        parts.entry(part).or_default().push_str(&code_of(&file));
    }

    assert!(
        parts.len() >= ARROWS.len(),
        "the scan found only {:?}",
        parts.keys()
    );

    parts
}

fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("render");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("render")
        .map(|entry| entry.expect("render").path());

    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The names that follow `root`, also inside `root::{…}`.
fn names_after(code: &str, root: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in code.split(root).skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => names.extend(top_level(list)),
            None => names.extend(name(rest)),
        }
    }

    names
}

/// The first name of each entry of a `use` list.
fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut entry) = (0_u32, Vec::new(), String::new());

    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(name(&std::mem::take(&mut entry))),
            _ if depth == 0 => entry.push(letter),
            _ => {}
        }
    }

    names.extend(name(&entry));

    names
}

fn name(text: &str) -> Option<String> {
    let name: String = text
        .trim()
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}
