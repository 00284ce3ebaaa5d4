//! The requests on their way between a client and the daemon (pure).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::mcp::call::tool_error::ToolError;

/// Distance between the number ranges for the questions of successive daemons.
const APART: u64 = 1 << 32;
/// Code of an internal error (JSON-RPC 2.0, section 5.1).
const INTERNAL_ERROR: i32 = -32603;

/// Requests without an answer, in both directions, and the beginning of the conversation. A stdio
/// proxy keeps one record for its client, over any number of daemons.
#[derive(Debug, Default)]
pub(super) struct PendingRequests {
    /// Number of daemons which ended before the present daemon.
    generation: u64,
    /// Id and line of the client's `initialize`. `None` before.
    handshake: Option<(Value, Vec<u8>)>,
    /// Line of the client's `notifications/initialized`. `None` before.
    initialized: Option<Vec<u8>>,
    /// Requests of the client without an answer.
    calls: Vec<PendingCall>,
    /// Ids of the daemon's requests without an answer, as known to the client.
    questions: Vec<Value>,
}

/// Request of the client without an answer.
#[derive(Debug)]
struct PendingCall {
    id: Value,
    /// True for `tools/call`.
    is_tool: bool,
}

/// Parts of a message which matter here.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    id: Option<Value>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
}

/// Lines which begin a conversation again, with a new daemon.
#[derive(Debug, Clone)]
pub(super) struct Handshake {
    /// Id of the first line. The client has got the answer to this id already.
    pub(super) id: Value,
    /// Line with `initialize`.
    pub(super) first: Vec<u8>,
    /// Line with `notifications/initialized`. `None` if the client has not sent this line.
    pub(super) second: Option<Vec<u8>>,
}

impl PendingRequests {
    /// Returns the lines which a new daemon needs before this line of the client. `None` if the
    /// line is itself an `initialize`, or if the client has sent none.
    pub(super) fn handshake(&self, line: &[u8]) -> Option<Handshake> {
        if has_method(line, "initialize") {
            return None;
        }

        let (id, first) = self.handshake.clone()?;
        Some(Handshake {
            id,
            first,
            second: self.initialized.clone(),
        })
    }

    /// Notes a line of the client and returns the line for the daemon. `None` for an answer to a
    /// question which this daemon has not asked.
    pub(super) fn outbound<'a>(&mut self, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        // Nonsense passes, so that the daemon refuses it in the usual way.
        let Ok(message) = serde_json::from_slice::<Message<'_>>(line) else {
            return Some(line.into());
        };

        match (message.id, message.method.as_deref()) {
            (Some(id), Some(method)) => {
                if method == "initialize" {
                    self.handshake = Some((id.clone(), line.to_owned()));
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
                        // A cancelled request gets no answer, not even when the daemon is lost.
                        let cancelled = parameter(line, "requestId");
                        self.calls
                            .retain(|call| Some(&call.id) != cancelled.as_ref());
                    }
                    _ => {}
                }

                Some(line.into())
            }
            (Some(id), None) => {
                // The client may still answer a question of an earlier daemon.
                let at = self
                    .questions
                    .iter()
                    .position(|server_request| *server_request == id)?;
                self.questions.swap_remove(at);

                // The daemon knows the question by the number without the shift.
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

    /// Notes a line of the daemon and returns the line for the client. The questions of each daemon
    /// get numbers of their own. So the answer to a question of an earlier daemon is never taken
    /// for another answer.
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
                self.questions
                    .retain(|server_request| *server_request != known);

                with(line, "/params/requestId", known).map_or(line.into(), Cow::from)
            }
            _ => line.into(),
        }
    }

    /// Takes back a request which did not reach the daemon. Returns `false` if the request has been
    /// answered meanwhile, and `true` for other messages.
    pub(super) fn take_back(&mut self, line: &[u8]) -> bool {
        // Notifications and answers are not recorded, so there is nothing to take back.
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

    /// Notes the end of the daemon and returns lines for the client: a cancellation for each open
    /// question, and an error for each open call.
    pub(super) fn lost(&mut self, error: &ToolError) -> Vec<Vec<u8>> {
        self.generation += 1;

        // The client may be showing a question to its user, whose answer nobody needs now.
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

    /// Returns the answer to a request which cannot be sent to any daemon; `None` for other
    /// messages.
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

/// Returns true if the line is the answer to the request with this id.
pub(super) fn answers(line: &[u8], to: &Value) -> bool {
    serde_json::from_slice::<Message<'_>>(line)
        .is_ok_and(|message| message.method.is_none() && message.id.as_ref() == Some(to))
}

/// Returns true if the line is a message with this method.
fn has_method(line: &[u8], method: &str) -> bool {
    serde_json::from_slice::<Message<'_>>(line)
        .is_ok_and(|message| message.method.as_deref() == Some(method))
}

/// Returns a parameter of the message in a line.
fn parameter(line: &[u8], name: &str) -> Option<Value> {
    serde_json::from_slice::<Value>(line)
        .ok()?
        .get_mut("params")?
        .get_mut(name)
        .map(Value::take)
}

/// Returns the line with another value at this pointer (RFC 6901).
fn with(line: &[u8], pointer: &str, value: Value) -> Option<Vec<u8>> {
    let mut message = serde_json::from_slice::<Value>(line).ok()?;
    *message.pointer_mut(pointer)? = value;
    Some(in_line(&message))
}

/// Returns the answer to a call which failed for `error`. A tool call gets a result, because the
/// model reads results.
fn answer(call: &PendingCall, error: &ToolError) -> Value {
    if call.is_tool {
        json!({"jsonrpc": "2.0", "id": call.id, "result": error.clone().into_result()})
    } else {
        json!({"jsonrpc": "2.0", "id": call.id, "error": {"code": INTERNAL_ERROR, "message": error.text()}})
    }
}

/// Returns the message as a line of JSON.
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
        let server_request =
            br#"{"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{}}"#;
        let yes =
            |id: u64| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#);
        assert_eq!(pending.inbound(server_request).as_ref(), server_request);
        assert_eq!(lost(&mut pending)[0]["params"]["requestId"], 0);
        let moved: Value = serde_json::from_slice(&pending.inbound(server_request)).unwrap();
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
        let refusal = pending.inbound(
            br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        );
        let refusal: Value = serde_json::from_slice(&refusal).unwrap();
        assert_eq!(refusal["params"]["requestId"], APART + 1);
        assert!(lost(&mut pending).is_empty());
    }

    #[test]
    fn a_conversation_is_begun_again_as_it_began() {
        let mut pending = PendingRequests::default();
        let call = br#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
        let first = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        let second = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert!(
            pending.handshake(call).is_none(),
            "a revision without a handshake"
        );
        pending.outbound(first);
        pending.outbound(second);
        let handshake = pending.handshake(call).unwrap();
        assert_eq!(
            (handshake.id, handshake.first, handshake.second),
            (json!(1), first.to_vec(), Some(second.to_vec()))
        );

        assert!(pending.handshake(first).is_none(), "it begins by itself");
        pending.outbound(first);
        assert!(pending.handshake(call).unwrap().second.is_none());
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
