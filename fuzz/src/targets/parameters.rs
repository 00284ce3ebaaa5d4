//! The parameters of the tools, over the whole server: what fits the published schema of a tool is taken, what does not is
//! refused by name, nothing comes of either where there is no session, and no password is said again.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
};

use mcp_ssh_sessions::{
    mcp::transport::stdio::serve_over,
    session::registry::{RegistryOptions, SessionRegistry},
};
use serde_json::{Map, Value, json};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf,
        WriteHalf, duplex, split,
    },
    runtime::Runtime,
};
use tokio_util::sync::CancellationToken;

/// What must not be said again.
const SECRET: &str = "hunter2-hunter2";
/// Strings that a fuzzer would not come by.
const TEXTS: [&str; 12] = [
    "",
    "a",
    "h.ex",
    "-oProxyCommand=x",
    "u:p@h",
    "a\nb",
    "\u{202e}",
    "/etc/passwd",
    "~",
    "../x",
    "KILL",
    SECRET,
];
/// Names of parameters that are not in every schema, or in none.
const NAMES: [&str; 7] = [
    "name",
    "username",
    "local_path",
    "timeout_ms",
    "pasword",
    "",
    "__proto__",
];

thread_local! {
    static SERVER: RefCell<Server> = RefCell::new(Server::start());
}

/// Tries one input: which tool, and arguments, either as JSON or as choices.
pub fn run(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    SERVER.with_borrow_mut(|server| server.call(usize::from(choice), data));
}

struct Server {
    runtime: Runtime,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    write: WriteHalf<DuplexStream>,
    folder: tempfile::TempDir,
    tools: Vec<(String, Value)>,
    next: u64,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let registry = SessionRegistry::new(RegistryOptions {
            // It is not there, so no destination can be resolved, and nothing is connected to.
            ssh_config: Some(folder.path().join("none-here")),
            store: Some(folder.path().join("sessions.json")),
            output: Some(folder.path().join("output")),
            settings: std::sync::Arc::default(),
            own: Vec::new(),
            askpass: None,
        });
        let (ours, theirs) = duplex(1024 * 1024);
        let ((input, output), (read, write)) = (split(theirs), split(ours));
        runtime.spawn(serve_over(
            registry,
            input,
            output,
            CancellationToken::new(),
        ));
        let lines = BufReader::new(read).lines();
        let mut server = Self {
            runtime,
            lines,
            write,
            folder,
            tools: Vec::new(),
            next: 0,
        };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "0"},
        });
        server.request("initialize", &hello);
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        let (tools, _) = server.request("tools/list", &json!({}));
        let tools = tools["result"]["tools"].as_array().expect("tools");
        server.tools = tools
            .iter()
            .map(|tool| {
                (
                    tool["name"].as_str().unwrap().to_owned(),
                    tool["inputSchema"].clone(),
                )
            })
            .collect();
        server
    }

    fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.runtime
            .block_on(self.write.write_all(line.as_bytes()))
            .expect("the server reads");
    }

    /// The answer, also as it was written.
    fn request(&mut self, method: &str, params: &Value) -> (Value, String) {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let line = self
                .runtime
                .block_on(self.lines.next_line())
                .expect("readable")
                .expect("the server lives");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            if answer["id"] == id {
                return (answer, line);
            }
        }
    }

    fn call(&mut self, choice: usize, data: &[u8]) {
        let (tool, schema) = self.tools[choice % self.tools.len()].clone();
        let arguments = match serde_json::from_slice(data) {
            Ok(json) => json,
            Err(_) => Choices(data).object(&schema),
        };
        // What the tool would do with the person's own `ssh` and files is not tried here.
        let (answer, said) =
            self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        let Value::Object(arguments) = arguments else {
            assert!(arguments.is_null() || !answer["error"].is_null(), "{said}");
            return;
        };
        let blocks = answer["result"]["content"]
            .as_array()
            .expect("content")
            .iter();
        let text = blocks
            .map(|block| block["text"].as_str().expect("a text"))
            .collect::<Vec<_>>()
            .join("\n");
        let refused = answer["result"]["isError"] == true;
        if refused {
            assert!(text.contains("\nhint: "), "no hint: {text}");
        } else {
            assert!(
                ["ssh_sessions", "ssh_job", "ssh_forward"].contains(&tool.as_str()),
                "{tool} did something: {text}"
            );
        }
        let misfit = [
            "unknown parameter",
            "the parameter",
            "parameter ",
            "missing field",
            "invalid ",
            "port must",
        ];
        let misfit = misfit
            .iter()
            .any(|start| text.starts_with(&format!("{tool}: {start}")));
        match fits(&schema, &arguments) {
            Some(true) => assert!(
                !misfit,
                "{tool} refuses what fits its schema: {text}\n{arguments:?}"
            ),
            Some(false) => {
                assert!(
                    refused && misfit,
                    "{tool} takes what does not fit its schema: {text}\n{arguments:?}"
                );
            }
            None => {}
        }
        if only_in_secrets(&arguments) {
            assert!(!said.contains(SECRET), "{said}");
        }
        assert!(
            !self.folder.path().join("sessions.json").exists(),
            "something was saved"
        );
    }
}

/// Whether the secret is given where a secret belongs, and nowhere else.
fn only_in_secrets(arguments: &Map<String, Value>) -> bool {
    let holds = |value: &Value| value.to_string().contains(SECRET);
    arguments
        .iter()
        .all(|(name, value)| matches!(name.as_str(), "password" | "passphrase") || !holds(value))
        && !arguments.keys().any(|name| name.contains(SECRET))
}

/// Whether arguments fit a schema, with the spellings that are as good as its own; `None` where it leaves that open: other
/// names, what is empty, and what came in another type that may be read.
fn fits(schema: &Value, arguments: &Map<String, Value>) -> Option<bool> {
    let properties = schema["properties"].as_object().expect("properties");
    if arguments
        .values()
        .any(|value| value.is_null() || *value == "")
    {
        return None;
    }
    let mut given = BTreeMap::new();
    for (typed, value) in arguments {
        let name = match camel_case(typed).as_str() {
            "username" => "user".to_owned(),
            "name" if !properties.contains_key("name") => "session".to_owned(),
            name => name.to_owned(),
        };
        if !properties.contains_key(&name) && !NAMES.contains(&typed.as_str()) {
            return None;
        }
        if !properties.contains_key(&name) || given.insert(name, value).is_some() {
            return Some(false);
        }
    }
    let required: HashSet<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if required.iter().any(|name| !given.contains_key(*name)) {
        return Some(false);
    }
    let misfits: Vec<_> = given
        .iter()
        .filter(|(name, value)| !is_of(&properties[*name], value) || !in_bounds(name, value))
        .collect();
    if !misfits.is_empty()
        && misfits
            .iter()
            .all(|(name, value)| may_be_read(&properties[*name], value))
    {
        return None;
    }
    Some(misfits.is_empty())
}

/// Whether a value of another type may be read as one of this.
fn may_be_read(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("string") => value.is_number(),
        Some("integer") => value.is_string() || value.is_f64(),
        Some("object") => value.is_string() || value.is_object(),
        _ => value.is_string(),
    }
}

/// Whether a number is in the range of its parameter, which the schema leaves out.
fn in_bounds(name: &str, value: &Value) -> bool {
    let Some(number) = value.as_u64() else {
        return true;
    };
    match name {
        "port" => (1..=65_535).contains(&number),
        "timeoutMs" => (1..=86_400_000).contains(&number),
        "waitMs" => number <= 86_400_000,
        _ => true,
    }
}

fn is_of(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("string") => match schema["enum"].as_array() {
            Some(words) => words.contains(value),
            None => value.is_string(),
        },
        Some("boolean") => value.is_boolean(),
        // Only a description says that a number may be negative.
        Some("integer") if schema["description"].to_string().contains("negative") => value.is_i64(),
        Some("integer") => value.is_u64(),
        Some("array") => value
            .as_array()
            .is_some_and(|items| items.iter().all(|item| is_of(&schema["items"], item))),
        Some("object") => value.as_object().is_some_and(|fields| {
            fields
                .values()
                .all(|value| is_of(&schema["additionalProperties"], value))
        }),
        other => panic!("a type that is not known here: {other:?} in {schema}"),
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |camel, word| {
        let mut letters = word.chars();
        let upper = letters.next().map(|letter| letter.to_ascii_uppercase());
        camel + &upper.into_iter().chain(letters).collect::<String>()
    })
}

/// JSON made of bytes, each a choice.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte.into()
    }

    /// Mostly parameters of this schema, mostly of their own type.
    fn object(&mut self, schema: &Value) -> Value {
        let properties = schema["properties"].as_object().expect("properties");
        let mut object = Map::new();
        while !self.0.is_empty() && object.len() < 16 {
            let choice = self.next();
            let property = properties.iter().nth(choice % (properties.len() + 1));
            let (name, value) = match property {
                Some((name, schema)) if choice < 200 => (name.clone(), self.of_type(schema)),
                Some((name, _)) => (name.clone(), self.value(0)),
                None => (NAMES[self.next() % NAMES.len()].to_owned(), self.value(0)),
            };
            object.insert(name, value);
        }
        Value::Object(object)
    }

    fn of_type(&mut self, schema: &Value) -> Value {
        match schema["type"].as_str() {
            Some("boolean") => json!(self.next().is_multiple_of(2)),
            Some("integer") => json!(
                [
                    0,
                    1,
                    2,
                    65_535,
                    65_536,
                    86_400_000_u64,
                    86_400_001,
                    u64::MAX
                ][self.next() % 8]
            ),
            Some("array") => (0..self.next() % 4).map(|_| self.text()).collect(),
            Some("object") => (0..self.next() % 4)
                .map(|number| (number.to_string(), self.text()))
                .collect(),
            _ => self.text(),
        }
    }

    fn text(&mut self) -> Value {
        let choice = self.next();
        if let Some(text) = TEXTS.get(choice % 16) {
            return json!(text);
        }
        let (text, rest) = self.0.split_at(self.0.len().min(choice));
        self.0 = rest;
        json!(String::from_utf8_lossy(text))
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.next() % 8 {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(self.next()),
            3 => json!(-1),
            4 => json!(1.5),
            5 if depth < 3 => (0..self.next() % 4)
                .map(|_| self.value(depth + 1))
                .collect(),
            6 if depth < 3 => (0..self.next() % 4)
                .map(|key| (key.to_string(), self.value(depth + 1)))
                .collect(),
            _ => self.text(),
        }
    }
}
