//! Questions to the user through the client (MCP elicitation): forms about host keys, guarded paths,
//! lent addresses and what the settings let the agent do only with a yes, and pages for secrets. The client itself is asked for its folders (MCP roots).
//!
//! A secret never goes through a form, and so never through the client or its model. The user types
//! a secret into a page of this process, and the client gets only the address of the page.

use std::path::PathBuf;

use rmcp::{
    Peer, RoleServer,
    model::{
        BooleanSchema, ClientCapabilities, ClientResult, CustomNotification, ElicitRequest,
        ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, EnumSchema,
        InputRequest, PrimitiveSchemaDefinition, RequestId, ServerRequest,
    },
    service::{OriginatingRequestId, PeerRequestOptions},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::either::Either;

use super::secret_page::Page;
use crate::{
    event::Event,
    foreign_text::escape_line,
    mcp::roots,
    random,
    ssh::prompt::prompter::{
        Approval, ApprovalAnswer, Banner, GuardedPath, LentAddress, PathPurpose, PromptRequest,
        Prompter, Purpose, SecretPrompt, UnknownKey,
    },
};

/// Limit on the words of a server in a question about the server's page, in characters.
const MAX_WORDS_CHARS: usize = 300;

/// Field of the form about a host key.
const TRUST: &str = "trust";
/// Field of the forms about a guarded path and a lent address.
const ALLOW: &str = "allow";
/// Field of the form about something that the agent wants to do.
const ANSWER: &str = "answer";
/// Notification about the end of a page (MCP 2025-11-25).
const COMPLETE: &str = "notifications/elicitation/complete";

/// Returns the way to ask the user of a client with these capabilities. Questions are sent through
/// `questions`; kinds of questions that the client does not support are left out.
pub(in crate::mcp) fn prompter(
    client: Option<&ClientCapabilities>,
    questions: &tokio::sync::mpsc::Sender<PromptRequest>,
) -> Prompter {
    let elicitation = client.and_then(|client| client.elicitation.as_ref());
    let url = elicitation.is_some_and(|elicitation| elicitation.url.is_some());

    // Before there were two modes, the form was the only mode and had no name.
    let form = elicitation.is_some_and(|elicitation| elicitation.form.is_some() || !url);
    let channel = |wanted: bool| wanted.then(|| questions.clone());
    let folders = channel(client.is_some_and(roots::are_declared));

    Prompter::new(channel(form), channel(url))
        .with_folders(folders)
        .with_banners(questions.clone())
}

/// Request which the server sends to the client during a call, for an answer of the user or for the
/// folders of the client.
pub(in crate::mcp) enum FormRequest {
    /// Question for the user.
    Elicit(ElicitRequestParams),
    /// Request for the folders of the client.
    Roots,
}

/// Destination of an answer, kept while the client has the question.
pub(in crate::mcp) enum PendingAnswer {
    /// Yes or no, in this field of the answer to a form.
    Choice(&'static str, oneshot::Sender<bool>),
    /// One of several answers, in the field [`ANSWER`] of a form.
    Approval(oneshot::Sender<ApprovalAnswer>),
    /// Folders of the client.
    Folders(oneshot::Sender<Vec<PathBuf>>),
    /// Page of this process for a secret. The answer of the client says only whether the user will
    /// look at the page.
    Page(Page),
    /// Page of a server, of use until the end of the log-in.
    Foreign(Event),
}

impl PendingAnswer {
    /// Waits until an answer of the client would be useless, because the question was dropped or
    /// answered elsewhere.
    async fn is_closed(&mut self) {
        match self {
            Self::Choice(_, answer) => answer.closed().await,
            Self::Approval(answer) => answer.closed().await,
            Self::Folders(answer) => answer.closed().await,
            Self::Page(page) => page.is_closed().await,
            Self::Foreign(login_ended) => login_ended.wait().await,
        }
    }
}

/// Converts a question to a request for the client. Returns `None` if there is nothing to ask, or
/// if no page can be served.
///
/// For a secret, starts the page. The page closes when the returned answer is dropped.
pub(in crate::mcp) async fn request(
    prompt_request: PromptRequest,
) -> Option<(FormRequest, PendingAnswer)> {
    match prompt_request {
        // A banner without a page is only shown, in the progress of the call.
        PromptRequest::Banner(banner) => {
            let (url, elicitation_id) = (banner.page.clone()?, random::hex::<16>().ok()?);
            let request = FormRequest::Elicit(foreign_page(&banner, url, elicitation_id));
            Some((request, PendingAnswer::Foreign(banner.login_ended)))
        }
        PromptRequest::HostKey(key, answer) => Some((
            FormRequest::Elicit(about_key(&key)),
            PendingAnswer::Choice(TRUST, answer),
        )),
        PromptRequest::Guarded(path, answer) => Some((
            FormRequest::Elicit(about_path(&path)),
            PendingAnswer::Choice(ALLOW, answer),
        )),
        PromptRequest::Lend(address, answer) => Some((
            FormRequest::Elicit(about_address(&address)),
            PendingAnswer::Choice(ALLOW, answer),
        )),
        PromptRequest::Approve(approval, answer) => Some((
            FormRequest::Elicit(about_act(&approval)),
            PendingAnswer::Approval(answer),
        )),
        PromptRequest::Folders(answer) => {
            Some((FormRequest::Roots, PendingAnswer::Folders(answer)))
        }
        PromptRequest::AskSecrets(prompt, answer) => {
            let message = format!(
                "{} for {}: open this page of mcp-ssh-sessions on your machine and type it there. It goes straight into \
                 {}, not to the model.",
                what(&prompt),
                prompt.account,
                prompt.purpose.recipient()
            );

            // The page is open before the client gets its address.
            let page = Page::open(prompt, answer).await.ok()?;
            let (url, elicitation_id) = (page.url.clone(), page.id.clone());
            let message = escape_line(message.as_bytes());

            let params = ElicitRequestParams::UrlElicitationParams {
                meta: None,
                message,
                url,
                elicitation_id,
            };

            Some((FormRequest::Elicit(params), PendingAnswer::Page(page)))
        }
    }
}

/// Sends a question to the client as part of this call, and passes on the answer. Only for
/// revisions of MCP with requests from server to client.
///
/// If nobody needs the answer any more, the request is cancelled.
pub(in crate::mcp) async fn ask(
    peer: Peer<RoleServer>,
    call: RequestId,
    prompt_request: PromptRequest,
) {
    let Some((request, mut waiting)) = request(prompt_request).await else {
        return;
    };

    // Only a question with a page has an identifier, for the notification that the page is closed.
    let id = match &request {
        FormRequest::Elicit(ElicitRequestParams::UrlElicitationParams {
            elicitation_id, ..
        }) => elicitation_id.clone(),
        _ => String::new(),
    };

    // Over HTTP, the question goes into the stream of the call, because a client need not have
    // another stream open.
    let call = OriginatingRequestId(call);

    let request = match request {
        FormRequest::Elicit(params) => {
            let mut request = ElicitRequest::new(params);
            request.extensions.insert(call);
            ServerRequest::ElicitRequest(request)
        }
        FormRequest::Roots => {
            let mut request = roots::request();
            request.extensions.insert(call);
            ServerRequest::ListRootsRequest(request)
        }
    };

    let sent = peer
        .send_cancellable_request(request, PeerRequestOptions::no_options())
        .await;
    let Ok(mut asking) = sent else { return };

    // Another source may answer first, or the call may end. The client should then remove the
    // question.
    let answer = tokio::select! {
        answer = &mut asking.rx => answer,
        () = waiting.is_closed() => {
            let _ = asking.cancel(Some("no answer is needed any more".to_owned())).await;
            return;
        }
    };

    // A client that fails to ask counts as a user who does not answer.
    let answer = match answer {
        Ok(Ok(ClientResult::ElicitResult(answer))) => FormAnswer::Elicited(answer),
        Ok(Ok(ClientResult::ListRootsResult(answer))) => {
            FormAnswer::Folders(roots::folders(&answer))
        }
        _ => FormAnswer::None,
    };

    // The page outlives the answer of the client, which learns of the end only from a notification.
    if let Some(closed) = settle(waiting, answer) {
        closed.await;

        // 2025-11-25, elicitation, "Completion Notifications for URL Mode Elicitation".
        let complete = CustomNotification::new(COMPLETE, Some(json!({"elicitationId": id})));
        let _ = peer.send_notification(complete.into()).await;
    }
}

/// Converts a request to the form for an input-required result (MCP 2026-07-28).
pub(in crate::mcp) fn input(request: FormRequest) -> InputRequest {
    match request {
        FormRequest::Elicit(params) => InputRequest::Elicitation(ElicitRequest::new(params)),
        FormRequest::Roots => InputRequest::ListRoots(roots::request()),
    }
}

/// Passes on the answer with which a client has returned (MCP 2026-07-28). An answer that cannot be
/// read counts as none.
pub(in crate::mcp) fn settle_with(waiting: PendingAnswer, response: Option<&Value>) {
    let response = response.cloned().unwrap_or_default();
    let answer = if let PendingAnswer::Folders(_) = &waiting {
        serde_json::from_value(response).map_or(FormAnswer::None, |answer| {
            FormAnswer::Folders(roots::folders(&answer))
        })
    } else {
        serde_json::from_value(response).map_or(FormAnswer::None, FormAnswer::Elicited)
    };

    settle(waiting, answer);
}

/// Answer of a client.
enum FormAnswer {
    /// Answer to a question for the user.
    Elicited(ElicitResult),
    /// Folders of the client.
    Folders(Vec<PathBuf>),
    None,
}

/// Passes an answer on to whoever asked. If the user will look at a page, returns a future that
/// ends when the page closes.
fn settle(waiting: PendingAnswer, answer: FormAnswer) -> Option<impl Future<Output = ()>> {
    // Declined and cancelled questions are the same here: the user has not said yes.
    let accepted = match &answer {
        FormAnswer::Elicited(answer) if answer.action == ElicitationAction::Accept => Some(answer),
        _ => None,
    };

    match waiting {
        PendingAnswer::Choice(field, choice) => {
            // Anything but an explicit yes means no.
            let yes = accepted.and_then(|answer| answer.content.as_ref()?.get(field)?.as_bool());
            let _ = choice.send(yes == Some(true));
            None
        }
        PendingAnswer::Approval(choice) => {
            let word = accepted.and_then(|answer| answer.content.as_ref()?.get(ANSWER)?.as_str());
            let _ = choice.send(word.map_or(ApprovalAnswer::No, ApprovalAnswer::from_word));
            None
        }
        PendingAnswer::Folders(prompt_request) => {
            if let FormAnswer::Folders(folders) = answer {
                let _ = prompt_request.send(folders);
            }
            None
        }
        PendingAnswer::Page(page) => {
            accepted.map(|_| Either::Left(page.stay_open().cancelled_owned()))
        }
        PendingAnswer::Foreign(login_ended) => {
            accepted.map(|_| Either::Right(async move { login_ended.wait().await }))
        }
    }
}

/// Returns the first words of the message about a secret.
fn what(prompt: &SecretPrompt) -> String {
    match &prompt.purpose {
        Purpose::Password => "Password".to_owned(),
        Purpose::Passphrase(file) => format!("Passphrase of the key file {file}"),
        Purpose::KeyboardInteractive(_) => "Answers to the server's questions".to_owned(),
        Purpose::Sudo(what) => format!("Password to act as {} (sudo)", what.user),
        Purpose::Program(_) => "Secret for a running program".to_owned(),
    }
}

/// Returns the form about a guarded path.
fn about_path(path: &GuardedPath) -> ElicitRequestParams {
    let GuardedPath {
        account,
        path,
        purpose,
        why,
    } = path;

    // An agent may choose a path with line breaks, which must not add words to the question.
    let [account, why] = [account, why].map(|text| escape_line(text.as_bytes()));

    let (doing, all, title) = match purpose {
        PathPurpose::Send => (
            format!("send this to {account}"),
            "If it is a directory, all that is in it is sent.",
            "Send it",
        ),
        PathPurpose::Write => (
            format!("write what comes from {account} to this place"),
            "What is there is replaced.",
            "Write to it",
        ),
        PathPurpose::Listen => (
            format!("create a socket that leads to {account} at this place"),
            "Programs that use the socket talk to that host.",
            "Create it",
        ),
    };

    let message = format!(
        "The agent wants to {doing}:\n\n{path}\n\nIt is guarded, because {why}. {all} Allow it only if you have asked \
         for it yourself: words on a web page or a server can mislead an agent."
    );

    choice(message, ALLOW, title)
}

/// Returns the form about an address that is lent to a host.
fn about_address(lent: &LentAddress) -> ElicitRequestParams {
    let account = escape_line(lent.account.as_bytes());
    let address = &lent.address;
    let risk = lent.risk.map(|risk| format!(" {risk}")).unwrap_or_default();

    let message = format!(
        "The agent wants to let {account} reach this address of this machine:\n\n{address}\n\nWhoever can connect to the \
         forwarded port on that host reaches it as if from here, other users of the host included.{risk} Allow it only \
         if you have asked for it yourself: words on a web page or a server can mislead an agent."
    );

    choice(message, ALLOW, "Lend it")
}

/// Returns the form about something that the agent wants to do. The default is no.
fn about_act(approval: &Approval) -> ElicitRequestParams {
    let answers = approval.answers().map(|answer| answer.word().to_owned());
    let no = ApprovalAnswer::No.word();
    let choice = EnumSchema::builder(answers.collect()).title("Allow it");
    // Only a default that is none of the values would be refused.
    let choice = choice
        .with_default(no)
        .unwrap_or_else(|_| EnumSchema::builder(vec![no.to_owned()]));

    let requested_schema = ElicitationSchema::builder()
        .required_property(ANSWER, PrimitiveSchemaDefinition::Enum(choice.build()))
        .build_unchecked();

    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: approval.to_string(),
        requested_schema,
    }
}

/// Returns the question about a server's page. Marks both the address and the words as the
/// server's.
fn foreign_page(banner: &Banner, url: String, elicitation_id: String) -> ElicitRequestParams {
    let words: String = banner.words.raw().chars().take(MAX_WORDS_CHARS).collect();
    let message = format!(
        "The SSH server for {} names this page before it lets anybody in. Open it only if you expect that: the address \
         comes from the server. Its words: {words}",
        banner.account
    );

    let message = escape_line(message.as_bytes());

    ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message,
        url,
        elicitation_id,
    }
}

/// Returns the form about an unknown host key.
fn about_key(key: &UnknownKey) -> ElicitRequestParams {
    // Names and key types may come from the server, and must not add words to the question.
    let UnknownKey {
        host,
        key_type,
        fingerprint,
        saved_in,
    } = key;

    let message = format!(
        "The host {host} is not known yet. It shows this key:\n\n{key_type} {fingerprint}\n\nTrust it only if this is the fingerprint of the \
         host's own key (on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub). It is then saved in {saved_in}, \
         and ssh trusts it, too."
    );

    choice(message, TRUST, "Trust this host key")
}

/// Returns a form with a yes and a no. The default is no.
fn choice(message: String, field: &str, title: &'static str) -> ElicitRequestParams {
    let yes = BooleanSchema::new().title(title).with_default(false);
    let requested_schema = ElicitationSchema::builder()
        .required_property(field, PrimitiveSchemaDefinition::Boolean(yes))
        .build_unchecked();

    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message,
        requested_schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_about_a_key_has_our_lines_alone() {
        let hostile = || "a\n\u{1b}[2J\u{202e}b\u{9b}".to_owned();

        let key = UnknownKey {
            host: hostile().into(),
            key_type: hostile().into(),
            fingerprint: hostile().into(),
            saved_in: hostile().into(),
        };

        let ElicitRequestParams::FormElicitationParams { message, .. } = about_key(&key) else {
            panic!("no form")
        };
        assert_eq!(message.lines().count(), 5, "{message}");
        assert!(
            !message.contains(['\u{1b}', '\u{202e}', '\u{9b}']),
            "{message:?}"
        );

        let lent = LentAddress {
            account: hostile(),
            address: hostile().into(),
            risk: None,
        };
        let paths = [PathPurpose::Send, PathPurpose::Write, PathPurpose::Listen].map(|purpose| {
            about_path(&GuardedPath {
                account: hostile(),
                path: hostile().into(),
                purpose,
                why: hostile(),
            })
        });

        for question in paths.into_iter().chain([about_address(&lent)]) {
            let ElicitRequestParams::FormElicitationParams { message, .. } = question else {
                panic!("no form")
            };

            assert_eq!(message.lines().count(), 5, "{message}");
            assert!(
                !message.contains(['\u{1b}', '\u{202e}', '\u{9b}']),
                "{message:?}"
            );
        }
    }
}
