//! The file of saved sessions: whatever is in it, what is read is written, read and written again without a change, fields
//! that are not known stay, and secrets do not.

use serde_json::{Value, json};

use crate::session::{
    name::SessionName,
    saved::{DocumentError, Parsed, SavedSession, StoreDocument},
};

/// What must not come out again.
const SECRET: &str = "hunter2-hunter2";
/// How the names of fields end that hold secrets.
const SECRET_FIELDS: [&str; 7] = [
    "password",
    "Passphrase",
    "sudo_passwd",
    "private-key",
    "CLIENT_SECRET",
    "pass phrase",
    "privateKey",
];
const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

/// Tries one input: as a file, and as a field in one.
pub fn run(data: &[u8]) {
    let parsed = StoreDocument::parse(data);
    if let Ok(parsed) = &parsed {
        written_again(parsed);
        changed(parsed);
    }
    let Some((&choice, json)) = data.split_first() else {
        return;
    };
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return;
    };
    keeps_unknown_fields(&value);
    keeps_no_secret(choice, &value);
    let newer = json!({"version": u64::from(choice) + 2, "sessions": value, "password": SECRET});
    assert!(matches!(
        StoreDocument::parse(newer.to_string().as_bytes()),
        Err(DocumentError::Newer { .. })
    ));
}

fn written_again(parsed: &Parsed) {
    let text = serde_json::to_vec_pretty(&parsed.document).expect("a document is JSON");
    let again = match StoreDocument::parse(&text) {
        // An older shape is less deep: it is not written then.
        Err(error) if error.to_string().contains("recursion limit") => return,
        again => again.expect("what was written can be read"),
    };
    assert!(!again.held_secrets, "written without secrets");
    assert_eq!(again.document, parsed.document);
    let names = parsed
        .document
        .sessions
        .iter()
        .map(|session| &session.name)
        .chain(&parsed.document.default);
    for name in names {
        assert_eq!(SessionName::try_from(name.as_str()).as_ref(), Ok(name));
    }
}

/// A session that is saved is found, keeps what is not known of the one before it, and leaves the others alone.
fn changed(parsed: &Parsed) {
    let mut document = parsed.document.clone();
    let Some(old) = document.sessions.first().cloned() else {
        return;
    };
    let others = |document: &StoreDocument| -> Vec<SavedSession> {
        document
            .sessions
            .iter()
            .filter(|session| session.name != old.name)
            .cloned()
            .collect()
    };
    let before = others(&document);
    let name = old.name.clone();
    let new: SavedSession =
        serde_json::from_value(json!({"name": name.as_str(), "host": "new"})).expect("a session");
    document.save(new);
    let put = document.get(&name).expect("it was put there");
    assert_eq!((put.host.as_str(), &put.extra), ("new", &old.extra));
    assert_eq!(others(&document), before);
    assert!(document.remove(&name) && !document.remove(&name) && document.get(&name).is_none());
    assert!(document.default.as_ref() != Some(&name));
    assert_eq!(
        (others(&document), &document.extra),
        (before, &parsed.document.extra)
    );
}

fn keeps_unknown_fields(value: &Value) {
    let text = json!({
        "version": 1, "theme": value, "sessions": [{"name": "a", "host": "h", "passwordAuth": false, "theme": value}],
    });
    // Nested too deep for the reader of JSON.
    let Ok(parsed) = StoreDocument::parse(text.to_string().as_bytes()) else {
        return;
    };
    written_again(&parsed);
    if !parsed.held_secrets {
        assert_eq!(
            serde_json::to_value(&parsed.document).expect("a document is JSON"),
            text
        );
    }
}

fn keeps_no_secret(choice: u8, value: &Value) {
    let field = SECRET_FIELDS[usize::from(choice) % SECRET_FIELDS.len()];
    // With anything before it that an object of the input has as a name.
    let prefix = value
        .as_object()
        .and_then(|object| object.keys().next())
        .map_or("", String::as_str);
    let key = format!("{KEY}\n{SECRET}");
    let secrets = json!({format!("{prefix}{field}"): SECRET, "list": [key, {field: {"deep": [SECRET]}}], "plain": key});
    for text in [
        json!({"version": 1, "theme": secrets, "sessions": [{"name": "a", "host": "h", "port": value, field: SECRET}]}),
        json!({"sessions": {"a": {"host": "h", "more": secrets, "theme": value}}, field: [SECRET]}),
        json!({"a": {"host": value, "more": secrets}}),
        json!([{"name": value, "host": "h", "more": [secrets]}]),
        json!({"sessions": [secrets, value], "default": value}),
    ] {
        let said = match StoreDocument::parse(text.to_string().as_bytes()) {
            Ok(parsed) => {
                assert!(parsed.held_secrets);
                written_again(&parsed);
                serde_json::to_string(&parsed.document).expect("a document is JSON")
            }
            Err(error) => error.to_string(),
        };
        assert!(!said.contains(SECRET), "{said}");
    }
}
