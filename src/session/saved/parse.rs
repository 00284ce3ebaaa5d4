//! Reads saved sessions in the current and older formats, without secrets.

use serde_json::{Map, Value};

use super::{DocumentError, MAX_STORE_BYTES, Parsed, STORE_VERSION, StoreDocument};

/// Parses a document; see [`StoreDocument::parse`].
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, DocumentError> {
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

    let mut document: StoreDocument =
        serde_json::from_value(top).map_err(|error| DocumentError::Shape(error.to_string()))?;
    // Whatever older format was read, the document is written in the current one.
    document.version = STORE_VERSION;

    Ok(Parsed {
        document,
        held_secrets,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::session::name::SessionName;

    fn parsed(text: &str) -> Parsed {
        StoreDocument::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn name(text: &str) -> SessionName {
        SessionName::try_from(text).unwrap()
    }

    #[test]
    fn the_current_format_is_rewritten_with_its_unknown_fields() {
        let text = json!({
            "version": 1, "default": "web", "theme": {"dark": true},
            "sessions": [
                {"name": "web", "host": "u@h", "user": "root", "port": 2222, "keyPath": "~/.ssh/id", "passwordAuth": true, "tags": ["a", 1]},
                {"name": "db", "host": "db", "passwordAuth": false},
            ],
        });

        let saved = parsed(&text.to_string());
        assert!(!saved.held_secrets);
        let web = saved.document.get(&name("web")).unwrap();
        assert_eq!(
            (web.user.as_deref(), web.port, web.key_path.as_deref()),
            (Some("root"), Some(2222), Some("~/.ssh/id"))
        );

        assert!(web.password_auth);
        assert_eq!(serde_json::to_value(&saved.document).unwrap(), text);
    }

    #[test]
    fn numbers_in_unknown_fields_survive_any_number_of_rewrites() {
        let mut text =
            r#"{"version": 1, "sessions": [], "size": 1.2345678901234568e+20, "rate": 122.416294033786585}"#.to_owned();
        let first = parsed(&text).document;
        for _ in 0..3 {
            text = serde_json::to_string(&parsed(&text).document).unwrap();
            assert_eq!(parsed(&text).document, first);
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
            } = parsed(text);

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
            } = parsed(text);

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
            assert_eq!(parsed(text), Parsed::default(), "{text:?}");
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
}
