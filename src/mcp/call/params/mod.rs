//! Arguments of a call, converted to a typed value. Different spellings of a parameter are
//! accepted, and unknown parameters are refused by name.

mod names;
mod values;

use std::{sync::Arc, time::Duration};

use rmcp::model::JsonObject;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::tool_error::ToolError;

/// Upper limit of all times in parameters, in milliseconds: a day.
const MAX_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1000;

// A time limit, 1 to 86,400,000 milliseconds. A comment and not a doc comment, because a doc
// comment would become part of every schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub(in crate::mcp) struct Milliseconds(u64);

impl Milliseconds {
    /// Returns the time limit.
    pub(in crate::mcp) fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = u64::deserialize(deserializer)?;
        if (1..=MAX_TIMEOUT_MS).contains(&milliseconds) {
            return Ok(Self(milliseconds));
        }
        Err(serde::de::Error::custom(format!(
            "{milliseconds} is not between 1 and {MAX_TIMEOUT_MS} milliseconds"
        )))
    }
}

// Time for which a call waits, 0 to 86,400,000 milliseconds. A comment for the same reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub(in crate::mcp) struct WaitParam(u64);

impl WaitParam {
    /// Returns the time for which to wait.
    pub(in crate::mcp) fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl<'de> Deserialize<'de> for WaitParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let milliseconds = u64::deserialize(deserializer)?;
        if milliseconds <= MAX_TIMEOUT_MS {
            return Ok(Self(milliseconds));
        }
        Err(serde::de::Error::custom(format!(
            "{milliseconds} is more than {MAX_TIMEOUT_MS} milliseconds"
        )))
    }
}

/// Reads the arguments of a call of `tool` into the parameter type `T`, whose schema is `schema`.
///
/// Accepts what [`with_own_names`] accepts.
///
/// # Errors
/// Names the parameter that is unknown, given twice or of the wrong type.
pub(in crate::mcp) fn parse<T: DeserializeOwned>(
    tool: &str,
    schema: &JsonObject,
    arguments: Option<JsonObject>,
) -> Result<T, ToolError> {
    let evened = with_own_names(tool, schema, arguments)?;

    // The path names the element of a list or map that is wrong, not only the parameter.
    serde_path_to_error::deserialize(Value::Object(evened)).map_err(|error| {
        let (path, problem) = (
            error.path().to_string(),
            in_words(&error.into_inner().to_string()),
        );

        let location = if path == "." {
            String::new()
        } else {
            format!("parameter {path}: ")
        };

        ToolError::new(format!("{tool}: {location}{problem}"), listed(tool, schema))
    })
}

/// Returns the arguments of a call of `tool` under the names that its parameters have in `schema`.
///
/// Accepts `local_path` for `localPath`, and other usual names (see [`names`]). Accepts numbers,
/// booleans, lists and objects that come as text. Treats `null` and empty text as a parameter that
/// is not given, if the parameter is optional.
///
/// # Errors
/// Names the parameter that is unknown or given twice.
pub(in crate::mcp) fn with_own_names(
    tool: &str,
    schema: &JsonObject,
    arguments: Option<JsonObject>,
) -> Result<JsonObject, ToolError> {
    let is_known = |name: &str| known(schema).any(|known| known == name);
    let mut evened = JsonObject::new();

    for (given_name, value) in arguments.unwrap_or_default() {
        // Unknown parameters are errors: a model that invents one expects an effect that will not
        // happen.
        let name = names::canonical(tool, &given_name, is_known);

        if !is_known(&name) {
            return Err(ToolError::new(
                format!("{tool}: unknown parameter {given_name:?}"),
                listed(tool, schema),
            ));
        }

        let Some(value) = values::read(&name, value, schema) else {
            continue;
        };

        // Two spellings of one parameter may contradict each other, so neither wins.
        if evened.insert(name.clone(), value).is_some() {
            return Err(ToolError::new(
                format!("{tool}: the parameter {name:?} is given twice"),
                listed(tool, schema),
            ));
        }
    }

    Ok(evened)
}

/// Returns the names of all parameters in a schema.
fn known(schema: &JsonObject) -> impl Iterator<Item = &String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|all| all.keys())
}

/// Returns a hint that lists all parameters, so that the model can correct the call without reading
/// the schema again.
fn listed(tool: &str, schema: &JsonObject) -> String {
    let names: Vec<&str> = known(schema).map(String::as_str).collect();

    format!("{tool} takes: {}", names.join(", "))
}

/// Replaces the names of Rust types in an error of serde with words for a model.
fn in_words(problem: &str) -> String {
    problem
        .replace("expected u16", "expected a number from 0 to 65535")
        .replace("expected u64", "expected a number, 0 or more")
        .replace("expected i64", "expected a whole number")
        .replace("expected a sequence", "expected a list, such as [\"a\"]")
        .replace(
            "expected a map",
            "expected an object, such as {\"A\": \"b\"}",
        )
}

/// Returns the name that a parameter has in `schema`, which belongs to `tool`: the given one in
/// camel case, or the one for which it certainly stands.
pub(in crate::mcp) fn canonical_name(tool: &str, given_name: &str, schema: &JsonObject) -> String {
    let properties = schema.get("properties").and_then(Value::as_object);
    names::canonical(tool, given_name, |name| {
        properties.is_some_and(|known| known.contains_key(name))
    })
}

/// Returns the JSON schema of a type, as short as possible. Every model reads this text in every
/// conversation.
pub(in crate::mcp) fn schema<T: JsonSchema>() -> Arc<JsonObject> {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    let mut schema = match schema {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    };

    // The tool itself has a title and a description. Both would cost tokens again here.
    for noise in ["$schema", "title", "description"] {
        schema.remove(noise);
    }

    schema
        .entry("properties")
        .or_insert_with(|| Value::Object(JsonObject::new()));

    Arc::new(schema)
}

/// Removes the parts of a schema without any information: `null` next to the type of an optional
/// parameter, `false` as a default, and formats of integers.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            // `null` says that the parameter may be left out, which `required` says already.
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }

            if let Some(Value::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }

            // A boolean that is left out is false in every tool.
            if object
                .get("default")
                .is_some_and(|default| default.is_null() || *default == false)
            {
                object.remove("default");
            }

            // `uint16` and the like are names of Rust types. A wrong number is refused with an
            // error that gives the range.
            if object
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("uint") || format.starts_with("int"))
            {
                for bound in ["format", "minimum", "maximum"] {
                    object.remove(bound);
                }
            }

            object.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Example {
        local_path: String,
        session: Option<String>,
        timeout_ms: Option<Milliseconds>,
    }

    fn read(arguments: Value) -> Result<Example, ToolError> {
        let Value::Object(arguments) = arguments else {
            panic!("not an object")
        };
        parse("ssh_example", &schema::<Example>(), Some(arguments))
    }

    #[test]
    fn every_accepted_spelling_means_the_same() {
        for arguments in [
            json!({"localPath": "a", "session": "s", "timeoutMs": 5}),
            json!({"local_path": "a", "name": "s", "timeout_ms": 5}),
            json!({"local-path": "a", "session_name": "s", "timeoutMs": "5"}),
            json!({"localPath": "a", "session": "", "name": "s", "timeoutMs": 5.0}),
        ] {
            let read = read(arguments).unwrap();
            assert_eq!(
                (read.local_path.as_str(), read.session.as_deref()),
                ("a", Some("s"))
            );

            assert_eq!(
                read.timeout_ms.unwrap().duration(),
                Duration::from_millis(5)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, message) in [
            (
                json!({"localPath": "a", "colour": 1}),
                "ssh_example: unknown parameter \"colour\"",
            ),
            (
                json!({"localPath": "a", "local_path": "b"}),
                "ssh_example: the parameter \"localPath\" is given twice",
            ),
            (
                json!({"localPath": 7}),
                "ssh_example: parameter localPath: invalid type: integer `7`, expected a string",
            ),
            (json!({}), "ssh_example: missing field `localPath`"),
            (
                json!({"localPath": "a", "timeoutMs": 0}),
                "ssh_example: parameter timeoutMs: 0 is not between 1 and 86400000 milliseconds",
            ),
            (
                json!({"localPath": "a", "timeoutMs": -1}),
                "ssh_example: parameter timeoutMs: invalid value: integer `-1`, expected a number, 0 or more",
            ),
        ] {
            let error = read(arguments).unwrap_err();
            assert_eq!(error.message, message);
            assert_eq!(
                error.hint,
                "ssh_example takes: localPath, session, timeoutMs"
            );
        }
    }

    #[test]
    fn a_schema_says_nothing_twice() {
        assert_eq!(
            Value::Object((*schema::<Example>()).clone()),
            json!({
                "type": "object",
                "properties": {
                    "localPath": {"type": "string"},
                    "session": {"type": "string"},
                    "timeoutMs": {"type": "integer"}
                },
                "required": ["localPath"]
            })
        );
    }
}
