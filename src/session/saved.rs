//! Saved settings of sessions: destination and options, never secrets.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::name::SessionName;

/// Version of the documents written by this program.
pub const STORE_VERSION: u32 = 1;

/// Maximum size of a document, in bytes (16 MiB).
///
/// This is enough for some 50,000 sessions, and bounds the memory used for a wrong `--store`.
pub const MAX_STORE_BYTES: usize = 16 * 1024 * 1024;

/// Saved settings of a session: destination and options, never a password, passphrase or key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedSession {
    /// Name of the session, unique in a document.
    pub name: SessionName,
    /// Destination as typed. `ssh -G` resolves the destination again at each dial.
    pub host: String,
    /// Remote user; `None` if no user was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// TCP port; `None` if no port was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path of the identity file; `None` if no file was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_path: Option<String>,
    /// True if the last successful log-in needed a password from the caller. A later process
    /// without the password then asks for `ssh_connect`.
    #[serde(default)]
    pub password_auth: bool,
    /// Unknown fields, preserved when the document is written again.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Content of the store's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreDocument {
    /// Version of the format: [`STORE_VERSION`] in every document read or made here.
    #[serde(default = "store_version")]
    pub version: u32,
    /// Default session; `None` if none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<SessionName>,
    /// Sessions, in the order of their first saving.
    pub sessions: Vec<SavedSession>,
    /// Unknown fields, preserved when the document is written again.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Result of parsing a document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// Parsed document, without secrets.
    pub document: StoreDocument,
    /// True if the text held passwords, passphrases or keys. The document does not contain them.
    pub held_secrets: bool,
}

/// Reason why a text is not a valid document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The document was written by a newer version of this program, and must be neither interpreted
    /// nor replaced.
    #[error("its version is {version}, the newest known here is {STORE_VERSION}")]
    Newer {
        /// Version stated in the document.
        version: u64,
    },
    /// The text is longer than [`MAX_STORE_BYTES`].
    #[error("it is larger than {} MiB", MAX_STORE_BYTES / (1024 * 1024))]
    TooLarge,
    /// The text is not JSON or not UTF-8.
    #[error("it is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The text is JSON but does not hold sessions in any known format.
    #[error("it does not hold saved sessions: {0}")]
    Shape(String),
}

impl Default for StoreDocument {
    fn default() -> Self {
        Self {
            version: STORE_VERSION,
            default: None,
            sessions: Vec::new(),
            extra: Map::new(),
        }
    }
}

impl StoreDocument {
    /// Parses a document; an empty text is an empty document.
    ///
    /// Besides the current format, these older formats are accepted: `{"sessions": {NAME: {…}}}`,
    /// `{NAME: {"host": …}}` and `[{"name": NAME, …}]`. They may use `username` for `user` and
    /// `privateKeyPath` for `keyPath`. Secrets in the text are dropped.
    ///
    /// # Errors
    /// Returns [`DocumentError::Newer`] for a later version, whatever else the text holds. The
    /// other variants mean that the text cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, DocumentError> {
        // The caller reads one byte more than is allowed, so a larger file is noticed here.
        if bytes.len() > MAX_STORE_BYTES {
            return Err(DocumentError::TooLarge);
        }

        // Some Windows editors begin a file with a byte order mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.trim_ascii().is_empty() {
            return Ok(Parsed::default());
        }

        let (mut top, sessions) =
            split(serde_json::from_slice(bytes).map_err(DocumentError::NotJson)?)?;
        let mut sessions = Value::Array(sessions.into_iter().map(with_present_names).collect());

        // Before the types are filled in, so that neither a field nor a message can hold a secret.
        let held_secrets = drop_secrets(&mut sessions) | drop_secrets(&mut top);
        if let Value::Object(top) = &mut top {
            top.insert("sessions".to_owned(), sessions);
        }

        let mut document: Self =
            serde_json::from_value(top).map_err(|error| DocumentError::Shape(error.to_string()))?;
        // Whatever older format was read, the document is written in the current one.
        document.version = STORE_VERSION;

        Ok(Parsed {
            document,
            held_secrets,
        })
    }

    /// Returns the session with this name.
    #[must_use]
    pub fn get(&self, name: &SessionName) -> Option<&SavedSession> {
        self.sessions.iter().find(|session| session.name == *name)
    }

    /// Adds a session, or replaces the session of the same name.
    ///
    /// Unknown fields of the replaced session are preserved.
    pub fn put(&mut self, mut session: SavedSession) {
        if let Some(old) = self
            .sessions
            .iter_mut()
            .find(|old| old.name == session.name)
        {
            for (key, value) in std::mem::take(&mut old.extra) {
                session.extra.entry(key).or_insert(value);
            }
            *old = session;
        } else {
            self.sessions.push(session);
        }
    }

    /// Removes the session with this name, also as the default. Returns true if the session
    /// existed.
    pub fn remove(&mut self, name: &SessionName) -> bool {
        self.default.take_if(|default| default == name);
        let before = self.sessions.len();
        self.sessions.retain(|session| session.name != *name);
        self.sessions.len() < before
    }
}

/// Detects the format, and separates the sessions from the rest of the document. Each session then
/// contains its name.
fn split(value: Value) -> Result<(Value, Vec<Map<String, Value>>), DocumentError> {
    let mut top = match value {
        Value::Object(top) => top,
        list @ Value::Array(_) => Map::from_iter([("sessions".to_owned(), list)]),
        _ => return Err(shape("neither an object nor a list")),
    };

    let version = top.get("version");

    // Checked first, because a newer version may have changed the rest.
    if let Some(version) = version
        .and_then(Value::as_u64)
        .filter(|version| *version > u64::from(STORE_VERSION))
    {
        return Err(DocumentError::Newer { version });
    }

    let names_at_top = match top.get("sessions") {
        Some(Value::Array(_)) => false,
        // With the names at the top, a session may itself be called `sessions`.
        Some(Value::Object(entry)) => entry.get("host").is_some_and(Value::is_string),
        _ => !version.is_some_and(Value::is_number),
    };

    let sessions = if names_at_top {
        Value::Object(std::mem::take(&mut top))
    } else {
        top.remove("sessions")
            .unwrap_or_else(|| Value::Array(Vec::new()))
    };

    let sessions = match sessions {
        Value::Array(list) => list.into_iter().map(entry).collect::<Result<_, _>>()?,
        Value::Object(by_name) => by_name
            .into_iter()
            .map(named_entry)
            .collect::<Result<_, _>>()?,
        _ => return Err(shape("`sessions` is neither a list nor an object")),
    };

    Ok((Value::Object(top), sessions))
}

fn entry(value: Value) -> Result<Map<String, Value>, DocumentError> {
    if let Value::Object(entry) = value {
        Ok(entry)
    } else {
        Err(shape("a session is not an object"))
    }
}

fn named_entry((name, value): (String, Value)) -> Result<Map<String, Value>, DocumentError> {
    let mut entry = entry(value)?;
    entry.insert("name".to_owned(), Value::String(name));
    Ok(entry)
}

/// Renames fields from older formats, unless the current field exists as well.
fn with_present_names(mut entry: Map<String, Value>) -> Value {
    for (old, present) in [("username", "user"), ("privateKeyPath", "keyPath")] {
        if !entry.contains_key(present)
            && let Some(value) = entry.remove(old)
        {
            entry.insert(present.to_owned(), value);
        }
    }

    Value::Object(entry)
}

/// Removes every possible secret, at any depth. Returns true if anything was removed.
fn drop_secrets(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            let before = fields.len();
            // A boolean such as `"password": true` is a setting and reveals no secret.
            fields.retain(|key, value| {
                !(is_secret_name(key) && !value.is_boolean() || is_key(value))
            });

            let dropped = fields.len() < before;

            fields
                .values_mut()
                .fold(dropped, |dropped, value| drop_secrets(value) | dropped)
        }
        Value::Array(items) => {
            let before = items.len();
            items.retain(|value| !is_key(value));
            let dropped = items.len() < before;

            items
                .iter_mut()
                .fold(dropped, |dropped, value| drop_secrets(value) | dropped)
        }
        _ => false,
    }
}

/// Returns true for names such as `password`, `keyPassphrase` and `sudo_password`, but not
/// `passwordAuth` or `privateKeyPath`.
fn is_secret_name(key: &str) -> bool {
    let word: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();

    ["password", "passphrase", "passwd", "privatekey", "secret"]
        .iter()
        .any(|end| word.ends_with(end))
        || matches!(word.as_str(), "pass" | "pwd")
}

/// Returns true if the value is a private key in PEM, OpenSSH's or `PuTTY`'s format.
fn is_key(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.contains("PRIVATE KEY-----") || text.contains("PuTTY-User-Key-File")
    })
}

fn shape(why: &str) -> DocumentError {
    DocumentError::Shape(why.to_owned())
}

fn store_version() -> u32 {
    STORE_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(text: &str) -> Parsed {
        StoreDocument::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn name(text: &str) -> SessionName {
        SessionName::try_from(text).unwrap()
    }

    #[test]
    fn the_present_shape_is_written_as_it_was_read_unknown_fields_included() {
        let text = json!({
            "version": 1, "default": "web", "theme": {"dark": true},
            "sessions": [
                {"name": "web", "host": "u@h", "user": "root", "port": 2222, "keyPath": "~/.ssh/id", "passwordAuth": true, "tags": ["a", 1]},
                {"name": "db", "host": "db", "passwordAuth": false},
            ],
        });

        let parsed = parse(&text.to_string());
        assert!(!parsed.held_secrets);
        let web = parsed.document.get(&name("web")).unwrap();
        assert_eq!(
            (web.user.as_deref(), web.port, web.key_path.as_deref()),
            (Some("root"), Some(2222), Some("~/.ssh/id"))
        );

        assert!(web.password_auth);
        assert_eq!(serde_json::to_value(&parsed.document).unwrap(), text);
    }

    #[test]
    fn numbers_in_unknown_fields_are_the_same_after_any_number_of_rewrites() {
        let mut text =
            r#"{"version": 1, "sessions": [], "size": 1.2345678901234568e+20, "rate": 122.416294033786585}"#.to_owned();
        let first = parse(&text).document;
        for _ in 0..3 {
            text = serde_json::to_string(&parse(&text).document).unwrap();
            assert_eq!(parse(&text).document, first);
        }

        assert!(text.contains("1.2345678901234568e+20"), "{text}");
    }

    #[test]
    fn every_older_shape_gives_the_same_session_without_its_secrets() {
        for text in [
            r#"{"sessions": {"web": {"host": "h", "port": 22, "username": "u", "keyPath": "/k", "password": "hunter2", "color": "red"}}}"#,
            r#"{"sessions": {"web": {"host": "h", "port": 22, "username": "u", "privateKeyPath": "/k", "passphrase": "hunter2", "color": "red"}}}"#,
            r#"[{"name": "web", "host": "h", "port": 22, "user": "u", "keyPath": "/k", "privateKey": "hunter2", "color": "red"}]"#,
            r#"{"web": {"host": "h", "port": 22, "user": "u", "keyPath": "/k", "auth": {"PASSWORD": "hunter2"}, "color": "red"}}"#,
            r#"{"version": 1, "sessions": [{"name": "web", "host": "h", "port": 22, "user": "u", "keyPath": "/k", "key_passphrase": "hunter2", "color": "red"}]}"#,
            r#"{"masterPassword": "hunter2", "sessions": [{"name": "web", "host": "h", "port": 22, "user": "u", "keyPath": "/k", "color": "red"}]}"#,
            r#"[{"name": "web", "host": "h", "port": 22, "user": "u", "keyPath": "/k", "color": "red", "k": ["-----BEGIN PRIVATE KEY-----hunter2"]}]"#,
        ] {
            let Parsed {
                document,
                held_secrets,
            } = parse(text);

            assert!(held_secrets, "{text}");
            let [session] = document.sessions.as_slice() else {
                panic!("{text}")
            };

            assert_eq!(
                (session.name.as_str(), session.host.as_str(), session.port),
                ("web", "h", Some(22)),
                "{text}"
            );

            assert_eq!(
                (session.user.as_deref(), session.key_path.as_deref()),
                (Some("u"), Some("/k")),
                "{text}"
            );

            assert_eq!(session.extra.get("color"), Some(&json!("red")), "{text}");
            let written = serde_json::to_string(&document).unwrap();
            assert!(!written.contains("hunter2"), "{written}");
        }
    }

    #[test]
    fn any_name_may_be_a_key_in_the_older_shapes() {
        for (text, names) in [
            (
                r#"{"sessions": {"host": "h"}, "version": {"host": "v"}}"#,
                "sessions version",
            ),
            (
                r#"{"sessions": {"host": {"host": "h"}, "pwd": {"host": "p"}}}"#,
                "host pwd",
            ),
            (r#"{"password": {"host": "p"}}"#, "password"),
            (r#"{"default": "a", "sessions": {"a": {"host": "h"}}}"#, "a"),
        ] {
            let Parsed {
                document,
                held_secrets,
            } = parse(text);

            let found: Vec<_> = document.sessions.iter().map(|s| s.name.as_str()).collect();
            assert_eq!(
                (found.join(" ").as_str(), held_secrets),
                (names, false),
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_is_an_empty_document() {
        for text in [
            "",
            " \n",
            "\u{feff}",
            "\u{feff}{}",
            "{}",
            "[]",
            r#"{"version": 1}"#,
            r#"{"sessions": {}}"#,
        ] {
            assert_eq!(parse(text), Parsed::default(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_document_is_said_to_be_none() {
        for (text, part) in [
            ("{", "not JSON"),
            ("7", "neither an object nor a list"),
            (r#"{"a": 1}"#, "a session is not an object"),
            (
                r#"{"version": 1, "sessions": null}"#,
                "`sessions` is neither",
            ),
            (r#"{"a": {"hots": "h"}}"#, "missing field `host`"),
            (r#"[{"host": "h"}]"#, "missing field `name`"),
            (r#"{"a\n": {"host": "h"}}"#, "control character U+000A"),
            (r#"{"a": {"host": "h", "port": 70000}}"#, "70000"),
        ] {
            let error = StoreDocument::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }

        let not_utf8 = StoreDocument::parse(b"[\"\xff\"]");
        assert!(matches!(not_utf8, Err(DocumentError::NotJson(_))));
        let largest = vec![b' '; MAX_STORE_BYTES + 1];
        let too_large = StoreDocument::parse(&largest);
        assert!(matches!(too_large, Err(DocumentError::TooLarge)));
        assert!(StoreDocument::parse(&largest[1..]).is_ok());
    }

    #[test]
    fn a_newer_document_is_known_by_its_version_alone() {
        for text in [
            r#"{"version": 2, "sessions": []}"#,
            r#"{"version": 2, "hosts": 7}"#,
        ] {
            let newer = StoreDocument::parse(text.as_bytes());
            assert!(
                matches!(newer, Err(DocumentError::Newer { version: 2 })),
                "{text}"
            );
        }
    }

    #[test]
    fn put_replaces_but_keeps_unknown_fields_and_remove_clears_the_default() {
        let mut document =
            parse(r#"{"default": "a", "sessions": [{"name": "a", "host": "old", "port": 1, "tag": 7}, {"name": "b", "host": "b"}]}"#).document;
        let mut session = document.get(&name("b")).unwrap().clone();
        session.name = name("a");
        document.put(session.clone());
        assert_eq!(
            serde_json::to_value(&document.sessions).unwrap()[0],
            json!({"name": "a", "host": "b", "passwordAuth": false, "tag": 7})
        );

        session.name = name("c");
        document.put(session);
        assert_eq!(document.sessions.len(), 3);
        assert!(!document.remove(&name("x")) && document.default.is_some());
        assert!(document.remove(&name("a")) && document.default.is_none());
        assert_eq!(document.sessions.len(), 2);
    }
}
