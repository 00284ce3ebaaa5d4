//! What is on its way between a client and the daemon (pure).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::mcp::call::tool_error::ToolError;

/// How far apart the numbers are that two daemons give their questions.
const APART: u64 = 1 << 32;
/// JSON-RPC 2.0, section 5.1.
const INTERNAL_ERROR: i32 = -32603;

/// The requests without an answer, in both directions, and how the conversation began.
#[derive(Debug, Default)]
pub(super) struct PendingRequests {
    /// How many daemons there were before this one.
    generation: u64,
    /// The client's `initialize`: its id, and the whole line.
    hello: Option<(Value, Vec<u8>)>,
    /// The client's `notifications/initialized`.
    initialized: Option<Vec<u8>>,
    /// The client's requests.
    calls: Vec<PendingCall>,
    /// The daemon's requests, as the client knows them.
    questions: Vec<Value>,
}

#[derive(Debug)]
struct PendingCall {
    id: Value,
    is_tool: bool,
}

/// What matters of a message.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    id: Option<Value>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
}

/// How a conversation is begun again.
#[derive(Debug, Clone)]
pub(super) struct Hello {
    /// The id of the first line, and so of the answer that the client has had already.
    pub(super) id: Value,
    /// `initialize`.
    pub(super) first: Vec<u8>,
    /// `notifications/initialized`, if the client got that far.
    pub(super) second: Option<Vec<u8>>,
}

impl PendingRequests {
    /// What a new daemon has to be told before this line of the client: `None` for one that begins by itself.
    pub(super) fn hello(&self, line: &[u8]) -> Option<Hello> {
        if is(line, "initialize") {
            return None;
        }

        let (id, first) = self.hello.clone()?;
        Some(Hello {
            id,
            first,
            second: self.initialized.clone(),
        })
    }

    /// Notes a line of the client; returns what the daemon is to get. `None`: the answer to a question that it has not
    /// put.
    pub(super) fn outbound<'a>(&mut self, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(line) else {
            return Some(line.into());
        };

        match (message.id, message.method.as_deref()) {
            (Some(id), Some(method)) => {
                if method == "initialize" {
                    self.hello = Some((id.clone(), line.to_owned()));
                    self.initialized = None;
                }

                self.calls.push(PendingCall {
                    id,
                    is_tool: method == "tools/call",
                });

                Some(line.into())
            }
            (None, Some(method)) => {
                match method {
                    "notifications/initialized" => self.initialized = Some(line.to_owned()),
                    "notifications/cancelled" => {
                        let cancelled = parameter(line, "requestId");
                        self.calls
                            .retain(|call| Some(&call.id) != cancelled.as_ref());
                    }
                    _ => {}
                }

                Some(line.into())
            }
            (Some(id), None) => {
                let at = self.questions.iter().position(|question| *question == id)?;
                self.questions.swap_remove(at);

                match id
                    .as_u64()
                    .and_then(|number| number.checked_sub(self.generation * APART))
                {
                    Some(number) if self.generation > 0 => {
                        with(line, "/id", number.into()).map(Cow::from)
                    }
                    _ => Some(line.into()),
                }
            }
            (None, None) => Some(line.into()),
        }
    }

    /// Notes a line of the daemon; returns what the client is to get. The questions of each daemon have numbers of their
    /// own, so that no answer to an earlier one is taken for the answer to another question.
    pub(super) fn inbound<'a>(&mut self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(line) else {
            return line.into();
        };

        let moved = |id: &Value| {
            id.as_u64()
                .map_or_else(|| id.clone(), |n| (n + self.generation * APART).into())
        };

        match (message.id, message.method.as_deref()) {
            (Some(id), Some(_)) => {
                let known = moved(&id);
                self.questions.push(known.clone());

                if known == id {
                    line.into()
                } else {
                    with(line, "/id", known).map_or(line.into(), Cow::from)
                }
            }
            (Some(id), None) => {
                self.calls.retain(|call| call.id != id);
                line.into()
            }
            (None, Some("notifications/cancelled")) => {
                let Some(id) = parameter(line, "requestId") else {
                    return line.into();
                };
                let known = moved(&id);
                self.questions.retain(|question| *question != known);

                with(line, "/params/requestId", known).map_or(line.into(), Cow::from)
            }
            _ => line.into(),
        }
    }

    /// Takes back a request that did not get through. `false`: it has been answered meanwhile.
    pub(super) fn take_back(&mut self, line: &[u8]) -> bool {
        let Ok(Message {
            id: Some(id),
            method: Some(_),
        }) = serde_json::from_slice(line)
        else {
            return true;
        };

        let before = self.calls.len();
        self.calls.retain(|call| call.id != id);

        self.calls.len() < before
    }

    /// The daemon is gone: what the client is to get for what is on its way.
    pub(super) fn lost(&mut self, error: &ToolError) -> Vec<Vec<u8>> {
        self.generation += 1;

        let cancelled = std::mem::take(&mut self.questions).into_iter().map(|id| {
            json!({
                "jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": {"requestId": id, "reason": "no answer is needed any more"},
            })
        });

        let calls = std::mem::take(&mut self.calls)
            .into_iter()
            .map(|call| answer(&call, error));

        cancelled
            .chain(calls)
            .map(|message| in_line(&message))
            .collect()
    }

    /// The answer to a request that cannot be sent to any daemon; `None` for what expects no answer.
    pub(super) fn refusal(line: &[u8], error: &ToolError) -> Option<Vec<u8>> {
        let Ok(Message {
            id: Some(id),
            method: Some(method),
        }) = serde_json::from_slice(line)
        else {
            return None;
        };

        Some(in_line(&answer(
            &PendingCall {
                id,
                is_tool: method == "tools/call",
            },
            error,
        )))
    }
}

/// Whether the line is the answer to the request of this id.
pub(super) fn answers(line: &[u8], to: &Value) -> bool {
    serde_json::from_slice::<Message<'_>>(line)
        .is_ok_and(|message| message.method.is_none() && message.id.as_ref() == Some(to))
}

fn is(line: &[u8], method: &str) -> bool {
    serde_json::from_slice::<Message<'_>>(line)
        .is_ok_and(|message| message.method.as_deref() == Some(method))
}

fn parameter(line: &[u8], name: &str) -> Option<Value> {
    serde_json::from_slice::<Value>(line)
        .ok()?
        .get_mut("params")?
        .get_mut(name)
        .map(Value::take)
}

/// The line with another value at this pointer (RFC 6901).
fn with(line: &[u8], pointer: &str, value: Value) -> Option<Vec<u8>> {
    let mut message = serde_json::from_slice::<Value>(line).ok()?;
    *message.pointer_mut(pointer)? = value;
    Some(in_line(&message))
}

/// A failed call of a tool is a result, which the model reads.
fn answer(call: &PendingCall, error: &ToolError) -> Value {
    if call.is_tool {
        json!({"jsonrpc": "2.0", "id": call.id, "result": error.clone().into_result()})
    } else {
        json!({"jsonrpc": "2.0", "id": call.id, "error": {"code": INTERNAL_ERROR, "message": error.text()}})
    }
}

fn in_line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(pending: &mut PendingRequests) -> Vec<Value> {
        let lines = pending.lost(&ToolError::new("it ended", "call again"));
        lines
            .iter()
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn what_has_no_answer_when_the_daemon_is_lost_gets_one() {
        let mut pending = PendingRequests::default();

        for line in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ssh_exec"}}"#,
            r#"{"jsonrpc":"2.0","id":"x","method":"prompts/list"}"#,
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#,
            "no JSON",
        ] {
            assert_eq!(pending.outbound(line.as_bytes()).unwrap(), line.as_bytes());
        }

        let answer = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        assert_eq!(pending.inbound(answer).as_ref(), answer);
        let lines = lost(&mut pending);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(
            (&lines[0]["id"], &lines[0]["result"]["isError"]),
            (&json!(2), &json!(true))
        );

        assert_eq!(
            lines[0]["result"]["content"][0]["text"],
            "it ended\nhint: call again"
        );

        assert_eq!(
            (&lines[1]["id"], &lines[1]["error"]["code"]),
            (&json!("x"), &json!(INTERNAL_ERROR))
        );

        assert!(lost(&mut pending).is_empty());
    }

    #[test]
    fn an_answer_to_a_daemon_that_is_gone_reaches_no_other() {
        let mut pending = PendingRequests::default();
        let question = br#"{"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{}}"#;
        let yes =
            |id: u64| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#);
        assert_eq!(pending.inbound(question).as_ref(), question);
        assert_eq!(lost(&mut pending)[0]["params"]["requestId"], 0);
        let moved: Value = serde_json::from_slice(&pending.inbound(question)).unwrap();
        assert_eq!(
            (&moved["id"], &moved["method"]),
            (&json!(APART), &json!("elicitation/create"))
        );

        assert!(pending.outbound(yes(0).as_bytes()).is_none(), "late");
        let passed = pending
            .outbound(yes(APART).as_bytes())
            .unwrap()
            .into_owned();

        let passed: Value = serde_json::from_slice(&passed).unwrap();
        assert_eq!(
            passed,
            json!({"jsonrpc": "2.0", "id": 0, "result": {"action": "accept"}})
        );

        assert!(pending.outbound(yes(APART).as_bytes()).is_none(), "twice");
        pending.inbound(br#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create"}"#);
        let over = pending.inbound(
            br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        );
        let over: Value = serde_json::from_slice(&over).unwrap();
        assert_eq!(over["params"]["requestId"], APART + 1);
        assert!(lost(&mut pending).is_empty());
    }

    #[test]
    fn a_conversation_is_begun_again_as_it_began() {
        let mut pending = PendingRequests::default();
        let call = br#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
        let first = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        let second = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert!(pending.hello(call).is_none(), "a revision without hello");
        pending.outbound(first);
        pending.outbound(second);
        let hello = pending.hello(call).unwrap();
        assert_eq!(
            (hello.id, hello.first, hello.second),
            (json!(1), first.to_vec(), Some(second.to_vec()))
        );

        assert!(pending.hello(first).is_none(), "it begins by itself");
        pending.outbound(first);
        assert!(pending.hello(call).unwrap().second.is_none());
    }

    #[test]
    fn a_request_that_did_not_get_through_is_taken_back_once() {
        let mut pending = PendingRequests::default();
        let call = br#"{"jsonrpc":"2.0","id":2,"method":"tools/call"}"#;
        pending.outbound(call);
        assert!(pending.take_back(call));
        assert!(!pending.take_back(call), "answered meanwhile");
        assert!(pending.take_back(br#"{"jsonrpc":"2.0","method":"notifications/x"}"#));
        assert!(lost(&mut pending).is_empty());
    }
}
