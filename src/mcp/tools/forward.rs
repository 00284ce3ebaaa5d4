//! The tool `ssh_forward`.

use core::num::NonZeroU16;

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, session};
use crate::{
    foreign_text::{ForeignText, escape_line},
    forward::{
        address::{AddressError, ConnectAddress},
        listen::{ListenAddress, ListenAddressError},
        probe::FarEnd,
        refusal::ListenRefusal,
        request::ForwardRequest,
        state::{ForwardDirection, ForwardState, ForwardWay},
    },
    local::home::home,
    mcp::call::{Call, tool_error::ToolError},
    session::{
        causes::with_causes,
        live::{
            LendError,
            forwards::{ForwardError, OpenForwardError, OpenedForward, forward::ProbeError},
        },
        registry::OpenedSession,
    },
    ssh::{
        forward::{listener::ForwardListenError, remote::RemoteListenError},
        transfer::TransferError,
    },
};

pub(super) const NAME: &str = "ssh_forward";

/// Word of the parameter `close` for all forwards.
const ALL: &str = "all";

#[derive(Debug, Deserialize, JsonSchema)]
struct ForwardParams {
    /// Port, host:port, socket path or socks
    to: Option<String>,
    /// Port or socket path
    listen: Option<String>,
    direction: Option<DirectionParam>,
    /// Id or all
    close: Option<String>,
    session: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum DirectionParam {
    Local,
    Remote,
}

/// Forward, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct ForwardResult {
    /// Id with which the forward is closed, as in `f1`.
    pub(in crate::mcp) id: String,
    pub(in crate::mcp) session: ForeignText,
    /// `local` or `remote`.
    pub(in crate::mcp) direction: &'static str,
    pub(in crate::mcp) listen: String,
    /// Listener as a URL. `None` if it is not known what the other end speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) url: Option<String>,
    pub(in crate::mcp) to: String,
    /// `open`, `reconnecting`, `refused`, `notListening` or `disconnected`.
    pub(in crate::mcp) state: &'static str,
    /// State in words, for people.
    #[serde(skip)]
    pub(in crate::mcp) phrase: &'static str,
    /// Reason of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::mcp) reason: Option<ForeignText>,
    pub(in crate::mcp) open: usize,
    pub(in crate::mcp) accepted: u64,
    pub(in crate::mcp) failed: u64,
    pub(in crate::mcp) reset: u64,
    pub(in crate::mcp) strangers: u64,
    pub(in crate::mcp) bytes_to: u64,
    pub(in crate::mcp) bytes_from: u64,
}

/// Answer to a call that opens a forward.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenedResult {
    forward: ForwardResult,
    /// False if the same forward was open before.
    is_new: bool,
    /// True if something answered at the other end. Absent for SOCKS.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    banner: Option<ForeignText>,
}

#[derive(Debug, Serialize)]
struct ListResult {
    forwards: Vec<ForwardResult>,
}

#[derive(Debug, Serialize)]
struct ClosedResult {
    closed: Vec<ForwardResult>,
}

impl From<ForwardState> for ForwardResult {
    fn from(forward: ForwardState) -> Self {
        let (url, counts) = (forward.url(), forward.counts);
        let state = match forward.way {
            ForwardWay::Open => "open",
            ForwardWay::Reconnecting => "reconnecting",
            ForwardWay::Refused(_) => "refused",
            ForwardWay::NotListening(_) => "notListening",
            ForwardWay::Disconnected(_) => "disconnected",
        };

        Self {
            id: format!("f{}", forward.id),
            session: forward.session,
            direction: match forward.direction {
                ForwardDirection::Local => "local",
                ForwardDirection::Remote => "remote",
            },
            listen: forward.listen.to_string(),
            url,
            to: forward.to.to_string(),
            state,
            phrase: forward.way.phrase(forward.direction),
            reason: forward.way.reason().cloned(),
            open: counts.open,
            accepted: counts.accepted,
            failed: counts.failed,
            reset: counts.reset,
            strangers: counts.strangers,
            bytes_to: counts.bytes_to,
            bytes_from: counts.bytes_from,
        }
    }
}

pub(super) fn tool() -> Tool {
    let tool = super::describe::<ForwardParams>(
        NAME,
        "Forward a port over SSH: open a server's port here (dev server, database), or lend it ours (remote). Without to: list.",
        Effect::Harmless,
    );

    super::found_by(tool, "tunnel, open dev server in my browser, socks proxy")
}

/// Opens, lists or closes forwards.
///
/// # Errors
/// The arguments are wrong, the session cannot be connected, or the forward cannot listen.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ForwardParams = super::arguments(NAME, &mut call)?;

    match (params.to, params.close) {
        (Some(_), Some(_)) => Err(ToolError::new(
            "`to` opens a forward and `close` ends one",
            "make two calls",
        )),
        (Some(to), None) => {
            let request = read(&to, params.listen, params.direction)?;
            open(&call, request, params.session.as_deref()).await
        }
        (None, _) if params.listen.is_some() || params.direction.is_some() => Err(ToolError::new(
            "`listen` and `direction` belong to a forward that is opened",
            "give `to`, the port to reach",
        )),
        (None, Some(id)) => close(&call, &id, params.session.as_deref()).await,
        (None, None) => list(&call, params.session.as_deref()).await,
    }
}

/// Reads the parameters of a forward to open.
///
/// # Errors
/// An address is wrong.
fn read(
    to: &str,
    listen: Option<String>,
    direction: Option<DirectionParam>,
) -> Result<ForwardRequest, ToolError> {
    // Only a path on this machine can begin with the home directory of this machine.
    let (direction, to, listen) = match direction {
        Some(DirectionParam::Remote) => (ForwardDirection::Remote, expanded(to.to_owned()), listen),
        Some(DirectionParam::Local) | None => {
            (ForwardDirection::Local, to.to_owned(), listen.map(expanded))
        }
    };
    let to = ConnectAddress::parse(&to).map_err(|error| of_address(&error))?;
    let listen = listen.map(|listen| ListenAddress::parse(&listen));
    let listen = listen.transpose().map_err(|error| of_listen(&error))?;

    Ok(ForwardRequest {
        to,
        listen,
        direction,
    })
}

/// Returns the text with `~/` at its beginning replaced by the home directory.
fn expanded(text: String) -> String {
    let home = text
        .strip_prefix("~/")
        .and_then(|rest| Some(home()?.join(rest)));

    home.and_then(|path| path.into_os_string().into_string().ok())
        .unwrap_or(text)
}

/// Connects the session, opens the forward, and looks at the other end once.
async fn open(
    call: &Call,
    request: ForwardRequest,
    session: Option<&str>,
) -> Result<CallToolResult, ToolError> {
    let (opened, permit) = call
        .registry
        .open(session, request.clone(), &call.caller)
        .await?;
    let OpenedSession {
        session, notice, ..
    } = opened;

    let is_socks = request.to == ConnectAddress::Socks;
    let OpenedForward {
        forward,
        is_new,
        probed,
    } = session
        .open_forward(permit, &call.caller)
        .await
        .map_err(|error| match error {
            OpenForwardError::Session(error) => error.into(),
            OpenForwardError::Lend(error) => of_lending(error, &request),
            OpenForwardError::Forward(error) => of_forward(&error),
        })?;

    let state = forward.state();
    let mut parts = vec![state.to_string()];
    parts.extend((!is_new).then(|| "already open".to_owned()));
    parts.extend(match &probed {
        Ok(FarEnd::Banner(banner)) => Some(format!("it says \"{banner}\"")),
        Ok(FarEnd::Silent) => (!is_socks).then(|| "it accepts connections".to_owned()),
        Err(ProbeError::Refused(_)) => {
            Some("the forward stays open and tries each time".to_owned())
        }
        Err(ProbeError::NoAnswer) => {
            Some("no answer from there yet; the forward stays open".to_owned())
        }
        // The state says so already.
        Ok(FarEnd::Http) | Err(ProbeError::Lost) => None,
    });
    parts.extend(notice);

    let result = OpenedResult {
        forward: state.into(),
        is_new,
        answered: (!is_socks).then_some(probed.is_ok()),
        banner: match probed {
            Ok(FarEnd::Banner(banner)) => Some(banner),
            _ => None,
        },
    };

    session::text_and_facts(format!("[{}]", escape_line(parts.join(" · "))), &result)
}

/// Lists all forwards, or those of a session.
async fn list(call: &Call, session: Option<&str>) -> Result<CallToolResult, ToolError> {
    let session = known(call, session).await?;
    let mut forwards = call.registry.forwards.list();
    forwards.retain(|forward| {
        let name = forward.session.raw();
        session.as_ref().is_none_or(|session| session == name)
    });

    let mut lines: Vec<String> = forwards.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        lines.push("no forwards; open one with to".to_owned());
    }

    let forwards = forwards.into_iter().map(ForwardResult::from).collect();
    session::text_and_facts(lines.join("\n"), &ListResult { forwards })
}

/// Closes a forward, or all forwards of a session or of the process.
async fn close(call: &Call, id: &str, session: Option<&str>) -> Result<CallToolResult, ToolError> {
    let session = known(call, session).await?;
    let forwards = &call.registry.forwards;

    let closed = if id.eq_ignore_ascii_case(ALL) {
        forwards.close_all(session.as_deref()).await
    } else {
        let number = id.trim().trim_start_matches(['f', 'F']).parse().ok();
        let found = forwards.list().into_iter().find(|forward| {
            let name = forward.session.raw();
            Some(forward.id) == number && session.as_ref().is_none_or(|session| session == name)
        });
        let closed = match found {
            Some(forward) => forwards.close(forward.id).await,
            None => None,
        };

        vec![closed.ok_or_else(|| {
            ToolError::new(
                format!("there is no forward {id:?}"),
                "call ssh_forward without parameters for the list",
            )
        })?]
    };

    let mut lines: Vec<String> = closed
        .iter()
        .map(|state| format!("closed {state}"))
        .collect();
    if lines.is_empty() {
        lines.push("no forwards were open".to_owned());
    }

    let closed = closed.into_iter().map(ForwardResult::from).collect();
    session::text_and_facts(lines.join("\n"), &ClosedResult { closed })
}

/// Returns the name of a session that exists, if a name is given.
///
/// # Errors
/// There is no such session.
async fn known(call: &Call, session: Option<&str>) -> Result<Option<String>, ToolError> {
    match session {
        Some(name) => {
            let session = call.registry.lookup(Some(name)).await?;
            Ok(Some(session.saved.name.to_string()))
        }
        None => Ok(None),
    }
}

/// Returns the error about the parameter `to`.
fn of_address(error: &AddressError) -> ToolError {
    let hint = match error {
        AddressError::Brackets(_) => "write it as in [::1]:5432",
        AddressError::LongPath(_) => "forward a port instead",
        _ => "give to as a port, host:port, an absolute socket path or socks",
    };

    ToolError::new(format!("to: {error}"), hint)
}

/// Returns the error about the parameter `listen`.
fn of_listen(error: &ListenAddressError) -> ToolError {
    let hint = match error {
        ListenAddressError::NotLoopback(_) => "give just the port",
        ListenAddressError::LongPath(_) => "choose a shorter path",
        ListenAddressError::Path(_) => "give the path of a file that does not exist",
        ListenAddressError::Form(_) | ListenAddressError::Port(_) => {
            "leave listen out for a free port"
        }
    };

    ToolError::new(format!("listen: {error}"), hint)
}

/// Returns the error about a forward that is not open.
fn of_forward(error: &ForwardError) -> ToolError {
    let hint = match error {
        ForwardError::Listen(
            ForwardListenError::PortTaken(_) | ForwardListenError::Privileged(_),
        ) => "leave listen out for a free port",
        ForwardError::Listen(ForwardListenError::PathTaken(_)) => "choose another path",
        ForwardError::Listen(ForwardListenError::UsersUnknown) => "listen at a socket path",
        ForwardError::Listen(ForwardListenError::Place(error)) => match **error {
            TransferError::Guarded { refused: true, .. } => {
                "do something else, or ask them how to go on"
            }
            TransferError::Guarded { .. } => {
                "choose another path, or leave listen out for a free port"
            }
            _ => "choose a path in a directory that exists",
        },
        ForwardError::Listen(ForwardListenError::Failed(..)) => "choose another address to listen",
        ForwardError::RemoteListen(RemoteListenError::Refused(refusal)) => match refusal {
            ListenRefusal::Port(_) => "leave listen out for a free port",
            ListenRefusal::Socket => "choose another path, or a port",
            ListenRefusal::Forbidden => "have the host's administrator allow it",
        },
        ForwardError::RemoteListen(RemoteListenError::Lost(_)) | ForwardError::Disconnected => {
            "call again"
        }
    };

    ToolError::new(with_causes(error), hint)
}

/// Returns the error about an address that is not lent to the host.
fn of_lending(error: LendError, request: &ForwardRequest) -> ToolError {
    let hint = match error {
        LendError::Own => "forward the port of another program".to_owned(),
        LendError::Refused => "do something else, or ask them how to go on".to_owned(),
        LendError::NobodyToAsk => format!(
            "have them add `{}` for this host to ~/.ssh/config, or use a client that shows forms (elicitation)",
            config_line(request)
        ),
    };

    ToolError::new(format!("{}: {error}", request.to), hint)
}

/// Returns the line of `ssh_config` for a remote forward (`ssh_config(5)`).
fn config_line(request: &ForwardRequest) -> String {
    let port = request.to.port().map_or(0, NonZeroU16::get);
    let listen = match &request.listen {
        Some(ListenAddress::Port(port)) => port.to_string(),
        Some(ListenAddress::Socket(path)) => path.clone(),
        None => port.to_string(),
    };

    match &request.to {
        ConnectAddress::Socks => format!("RemoteForward {listen}"),
        to => format!("RemoteForward {listen} {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_home_of_this_user_is_expanded() {
        let home = home().unwrap();
        assert_eq!(
            expanded("~/run/pg".to_owned()),
            home.join("run/pg").to_str().unwrap()
        );

        for text in ["8080", "/tmp/~/a", "~other/a", "~"] {
            assert_eq!(expanded(text.to_owned()), text);
        }
    }
}
