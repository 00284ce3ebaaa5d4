//! Values as real clients send them: text in place of a number, list or object, or empty text for a
//! parameter that is not given.

use rmcp::model::JsonObject;
use serde_json::{Number, Value};

/// Parameters for which an empty text is a value. An empty stdin ends at once, while a missing
/// stdin may stay open; an edit may delete a text or empty a file.
const EMPTY_MEANS_SOMETHING: [&str; 3] = ["stdin", "newText", "content"];

/// Text parameters whose value may consist of digits, which some clients send as a number. No
/// secret is in this list: a number loses leading zeros.
const MAY_BE_DIGITS: [&str; 9] = [
    "job", "session", "shell", "input", "signal", "pattern", "to", "listen", "close",
];

/// Length of a job's name, in hexadecimal digits. A name may happen to contain decimal digits only.
const JOB_DIGITS: usize = 8;

/// Largest integer up to which an `f64` represents every integer exactly: 2^53.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// Returns the value of a parameter in the type of the schema. Returns `None` if the value means
/// that the parameter is not given.
///
/// A value without a certain meaning is returned unchanged, and refused later.
pub(super) fn read(name: &str, value: Value, schema: &JsonObject) -> Option<Value> {
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let is_required =
        list("required").is_some_and(|names| names.iter().any(|required| required == name));
    let is_empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty() && !EMPTY_MEANS_SOMETHING.contains(&name),
        _ => false,
    };

    // An empty required parameter stays, so that the error names the empty value and not a missing
    // one.
    if is_empty && !is_required {
        return None;
    }

    let property = schema
        .get("properties")
        .and_then(|properties| properties.get(name));

    let kind = property
        .and_then(|property| property.get("type"))
        .and_then(Value::as_str)
        .unwrap_or_default();

    // A conversion applies only where the schema leaves one meaning. `"5000"` stays text for a
    // command.
    Some(match kind {
        "integer" => integer(&value).unwrap_or(value),
        "boolean" => boolean(&value).unwrap_or(value),
        "array" => parsed(&value).filter(Value::is_array).unwrap_or(value),
        "object" => texts(parsed(&value).filter(Value::is_object).unwrap_or(value)),
        "string" if MAY_BE_DIGITS.contains(&name) => digits(name, value),
        _ => value,
    })
}

/// Reads an integer from text, or from a number with a fraction of zero.
fn integer(value: &Value) -> Option<Value> {
    let number = match value {
        Value::Number(number) => number.clone(),
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };

    // Integers skip the conversion to f64 below, which would round large ones.
    if number.is_u64() || number.is_i64() {
        return Some(Value::Number(number));
    }

    // Some clients write whole numbers as `30704.0`.
    let whole = number
        .as_f64()
        .filter(|number| number.fract() == 0.0 && number.abs() <= MAX_EXACT_INTEGER)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole, and within the range"
    )]
    let whole = whole as i64;
    Some(whole.into())
}

/// Reads `true` or `false` from text, in any case. Other words are not accepted.
fn boolean(value: &Value) -> Option<Value> {
    match value.as_str()?.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        _ => None,
    }
}

/// Reads JSON from text.
fn parsed(value: &Value) -> Option<Value> {
    serde_json::from_str(value.as_str()?).ok()
}

/// Converts numbers and booleans in an object to text, as in `{"PORT": 8080}`.
fn texts(object: Value) -> Value {
    let Value::Object(mut fields) = object else {
        return object;
    };

    for field in fields.values_mut() {
        match field {
            Value::Number(number) => *field = Value::String(number.to_string()),
            Value::Bool(truth) => *field = Value::String(truth.to_string()),
            _ => {}
        }
    }

    Value::Object(fields)
}

/// Converts a number to text. The name of a job gets its leading zeros back.
fn digits(name: &str, value: Value) -> Value {
    match value.as_number().and_then(Number::as_u64) {
        Some(number) if name == "job" => Value::String(format!("{number:0JOB_DIGITS$}")),
        Some(number) => Value::String(number.to_string()),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, value: Value) -> Option<Value> {
        let schema = json!({
            "properties": {
                "command": {"type": "string"}, "session": {"type": "string"}, "job": {"type": "string"},
                "stdin": {"type": "string"}, "password": {"type": "string"}, "cwd": {"type": "string"},
                "timeoutMs": {"type": "integer"}, "pty": {"type": "boolean"},
                "sessions": {"type": "array"}, "env": {"type": "object"},
            },
            "required": ["command"],
        });

        super::read(name, value, schema.as_object().unwrap())
    }

    #[test]
    fn a_value_gets_the_type_of_its_parameter() {
        for (name, value, read_as) in [
            ("timeoutMs", json!("5000"), json!(5000)),
            ("timeoutMs", json!(" 5000 "), json!(5000)),
            ("timeoutMs", json!(30704.0), json!(30704)),
            ("timeoutMs", json!("30704.0"), json!(30704)),
            ("timeoutMs", json!("-1"), json!(-1)),
            ("timeoutMs", json!(1.5), json!(1.5)),
            ("timeoutMs", json!("5s"), json!("5s")),
            ("timeoutMs", json!(1e300), json!(1e300)),
            ("timeoutMs", json!(true), json!(true)),
            ("pty", json!("true"), json!(true)),
            ("pty", json!("False"), json!(false)),
            ("pty", json!("yes"), json!("yes")),
            ("pty", json!(1), json!(1)),
            ("sessions", json!("[\"a\", \"b\"]"), json!(["a", "b"])),
            ("sessions", json!("a,b"), json!("a,b")),
            ("sessions", json!([]), json!([])),
            ("env", json!("{\"A\": \"b\"}"), json!({"A": "b"})),
            (
                "env",
                json!({"PORT": 8080, "DEBUG": true, "X": "y"}),
                json!({"PORT": "8080", "DEBUG": "true", "X": "y"}),
            ),
            ("env", json!("A=b"), json!("A=b")),
            ("env", json!({"A": null}), json!({"A": null})),
            ("session", json!(7), json!("7")),
            ("job", json!(1_234_567), json!("01234567")),
            ("password", json!(48_151_623), json!(48_151_623)),
            ("command", json!("5000"), json!("5000")),
            ("command", json!("[\"a\"]"), json!("[\"a\"]")),
        ] {
            assert_eq!(read(name, value.clone()), Some(read_as), "{name} {value}");
        }
    }

    #[test]
    fn null_means_not_given_unless_required_or_allowed_to_be_empty() {
        for name in [
            "session",
            "timeoutMs",
            "pty",
            "sessions",
            "env",
            "cwd",
            "password",
        ] {
            assert_eq!(
                (read(name, json!("")), read(name, json!(null))),
                (None, None),
                "{name}"
            );
        }

        for (name, value) in [
            ("command", json!("")),
            ("command", json!(null)),
            ("stdin", json!("")),
            ("newText", json!("")),
            ("content", json!("")),
            ("cwd", json!(" ")),
        ] {
            assert_eq!(read(name, value.clone()), Some(value), "{name}");
        }

        assert_eq!(read("stdin", json!(null)), None);
    }
}
