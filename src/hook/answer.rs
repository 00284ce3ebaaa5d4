//! The answer of the hook, in the JSON of the client (pure).

use serde_json::json;

use super::call::{CalledTool, HookCall, HookEvent};

/// What the hook wants of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// The call goes without a question.
    Allow,
    /// The client decides as it does without a hook.
    Leave,
    /// It is not known whether the call may go, for this reason.
    Doubt(String),
    /// The person is asked, for this reason.
    Ask(String),
    /// The call does not go, for this reason.
    Deny(String),
}

impl Wish {
    /// Returns how strict the wish is. The strictest of several wishes counts.
    fn strictness(&self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Leave => 1,
            Self::Doubt(_) => 2,
            Self::Ask(_) => 3,
            Self::Deny(_) => 4,
        }
    }

    /// Returns true if the other wish is the same, whatever its reason.
    pub(super) fn is_like(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| self.strictness() == other.strictness())
    }

    /// Changes the reason.
    pub(super) fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Allow | Self::Leave => self,
            Self::Doubt(reason) => Self::Doubt(change(reason)),
            Self::Ask(reason) => Self::Ask(change(reason)),
            Self::Deny(reason) => Self::Deny(change(reason)),
        }
    }

    /// Returns the strictest of several wishes, the first of equals; `None` without any.
    pub(super) fn strictest(wishes: impl IntoIterator<Item = Self>) -> Option<Self> {
        wishes.into_iter().reduce(|first, second| {
            if second.strictness() > first.strictness() {
                second
            } else {
                first
            }
        })
    }
}

/// Returns the answer to a call, as one line of JSON. `None` leaves the decision to the client.
///
/// Codex takes neither `allow` nor `ask` before a call. A tool of the server is left to it then,
/// because the server asks by itself. A shell is denied, because nobody else would ask. Doubt is
/// left to it in both cases.
pub(super) fn answer(call: &HookCall, wish: Wish) -> Option<String> {
    let is_shell = matches!(call.tool, CalledTool::Shell(_));
    let wish = match wish {
        // The rules are about hosts, and a command line may do anything else besides.
        Wish::Allow if is_shell => return None,
        Wish::Leave => return None,
        Wish::Ask(reason) if is_shell && !call.can_ask => Wish::Deny(reason),
        wish => wish,
    };

    let answer = match (call.event, wish) {
        (HookEvent::PreToolUse, Wish::Allow) if call.can_ask => json!({
            "hookEventName": "PreToolUse",
            "permissionDecision": "allow",
        }),
        (HookEvent::PreToolUse, Wish::Ask(reason) | Wish::Doubt(reason)) if call.can_ask => json!({
            "hookEventName": "PreToolUse",
            "permissionDecision": "ask",
            "permissionDecisionReason": reason,
        }),
        (HookEvent::PreToolUse, Wish::Deny(reason)) => json!({
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }),
        (HookEvent::PermissionRequest, Wish::Allow) => json!({
            "hookEventName": "PermissionRequest",
            "decision": { "behavior": "allow" },
        }),
        (HookEvent::PermissionRequest, Wish::Deny(reason)) => json!({
            "hookEventName": "PermissionRequest",
            "decision": { "behavior": "deny", "message": reason },
        }),
        // A client that is about to ask does so.
        (HookEvent::PreToolUse, Wish::Allow | Wish::Leave | Wish::Ask(_) | Wish::Doubt(_))
        | (HookEvent::PermissionRequest, Wish::Leave | Wish::Ask(_) | Wish::Doubt(_)) => {
            return None;
        }
    };

    Some(json!({ "hookSpecificOutput": answer }).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    /// The answer, in short.
    fn short(event: HookEvent, can_ask: bool, is_shell: bool, wish: &Wish) -> String {
        let tool = if is_shell {
            CalledTool::Shell("ssh web".to_owned())
        } else {
            CalledTool::Mcp {
                name: "ssh_exec".to_owned(),
                arguments: Map::new(),
            }
        };

        let call = HookCall {
            event,
            can_ask,
            tool,
        };

        let Some(answer) = answer(&call, wish.clone()) else {
            return "nothing".to_owned();
        };

        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let output = &answer["hookSpecificOutput"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(text(&output["hookEventName"]), format!("{event:?}"));

        [
            text(&output["permissionDecision"]),
            text(&output["permissionDecisionReason"]),
            text(&output["decision"]["behavior"]),
            text(&output["decision"]["message"]),
        ]
        .join(" ")
        .trim()
        .to_owned()
    }

    #[test]
    fn each_client_gets_what_it_understands() {
        use HookEvent::{PermissionRequest, PreToolUse};

        let wishes = [
            Wish::Allow,
            Wish::Doubt("hm".to_owned()),
            Wish::Ask("why".to_owned()),
            Wish::Deny("no".to_owned()),
        ];

        assert_eq!(short(PreToolUse, true, false, &Wish::Leave), "nothing");

        for (event, can_ask, is_shell, expected) in [
            (
                PreToolUse,
                true,
                false,
                ["allow", "ask hm", "ask why", "deny no"],
            ),
            (
                PreToolUse,
                true,
                true,
                ["nothing", "ask hm", "ask why", "deny no"],
            ),
            (
                PreToolUse,
                false,
                false,
                ["nothing", "nothing", "nothing", "deny no"],
            ),
            (
                PreToolUse,
                false,
                true,
                ["nothing", "nothing", "deny why", "deny no"],
            ),
            (
                PermissionRequest,
                true,
                false,
                ["allow", "nothing", "nothing", "deny no"],
            ),
            (
                PermissionRequest,
                false,
                false,
                ["allow", "nothing", "nothing", "deny no"],
            ),
            (
                PermissionRequest,
                true,
                true,
                ["nothing", "nothing", "nothing", "deny no"],
            ),
            (
                PermissionRequest,
                false,
                true,
                ["nothing", "nothing", "deny why", "deny no"],
            ),
        ] {
            let answers = wishes
                .each_ref()
                .map(|wish| short(event, can_ask, is_shell, wish));
            assert_eq!(answers, expected, "{event:?} {can_ask} {is_shell}");
        }
    }

    #[test]
    fn the_strictest_wish_counts() {
        let [ask, deny] = [Wish::Ask("a".to_owned()), Wish::Deny("d".to_owned())];
        for (wishes, expected) in [
            (vec![], None),
            (vec![Wish::Allow], Some(Wish::Allow)),
            (vec![Wish::Allow, Wish::Leave], Some(Wish::Leave)),
            (
                vec![Wish::Allow, ask.clone(), Wish::Allow],
                Some(ask.clone()),
            ),
            (vec![ask.clone(), deny.clone(), ask], Some(deny)),
        ] {
            assert_eq!(Wish::strictest(wishes), expected);
        }
    }
}
