//! Questions put to the person at the client (MCP elicitation): a form about a host key, a page for a secret.
//!
//! A secret never goes through a form, and so never through the client or its model: the person types it into a page
//! that this process serves, and only the page's address goes to the client.

use rmcp::{
    Peer, RoleServer,
    model::{
        BooleanSchema, ClientCapabilities, ClientResult, CustomNotification, ElicitRequest, ElicitRequestParams,
        ElicitResult, ElicitationAction, ElicitationSchema, InputRequest, PrimitiveSchemaDefinition, RequestId,
        ServerRequest,
    },
    service::{OriginatingRequestId, PeerRequestOptions},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::page::Page;
use crate::{
    readable::in_a_line,
    ssh::ask::{Asked, Person, Purpose, Question, UnknownKey},
};

const TRUST: &str = "trust";
const COMPLETE: &str = "notifications/elicitation/complete";

/// The way to the person at a client with these capabilities.
pub(super) fn person(client: Option<&ClientCapabilities>, questions: &tokio::sync::mpsc::Sender<Asked>) -> Person {
    let Some(elicitation) = client.and_then(|client| client.elicitation.as_ref()) else { return Person::default() };
    let url = elicitation.url.is_some();
    // Before there were two modes, the form was the only one and had no name.
    let form = elicitation.form.is_some() || !url;
    Person::new(form.then(|| questions.clone()), url.then(|| questions.clone()))
}

/// What a question waits for once its client knows of it.
pub(super) enum Waiting {
    /// The answer to a form.
    Key(oneshot::Sender<bool>),
    /// A page; the client's answer says only whether the person will look at it.
    Page(Page),
}

impl Waiting {
    /// Waits until an answer of the client would be of no use any more.
    async fn is_over(&mut self) {
        match self {
            Self::Key(answer) => answer.closed().await,
            Self::Page(page) => page.is_over().await,
        }
    }
}

/// The question as the client is to put it. `None` if no page can be served; then there is no answer.
pub(super) async fn request(asked: Asked) -> Option<(ElicitRequestParams, Waiting)> {
    match asked {
        Asked::HostKey(key, answer) => Some((form(&key), Waiting::Key(answer))),
        Asked::Secrets(question, answer) => {
            let message = format!(
                "{} for {}: open this page of mcp-ssh-sessions on your machine and type it there. It goes straight into \
                 {}, not to the model.",
                what(&question),
                question.account,
                question.purpose.taker()
            );
            let page = Page::open(question, answer).await.ok()?;
            let (url, elicitation_id) = (page.url.clone(), page.id.clone());
            let message = in_a_line(message.as_bytes());
            let params = ElicitRequestParams::UrlElicitationParams { meta: None, message, url, elicitation_id };
            Some((params, Waiting::Page(page)))
        }
    }
}

/// Asks a client of a revision that has requests from server to client, as part of this call, and passes the answer on.
pub(super) async fn ask(peer: Peer<RoleServer>, call: RequestId, asked: Asked) {
    let Some((params, mut waiting)) = request(asked).await else { return };
    let id = if let Waiting::Page(page) = &waiting { page.id.clone() } else { String::new() };
    let mut request = ElicitRequest::new(params);
    // Over HTTP it goes into the stream of the call: a client need not have another one open.
    request.extensions.insert(OriginatingRequestId(call));
    let request = ServerRequest::ElicitRequest(request);
    let sent = peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
    let Ok(mut asking) = sent else { return };
    let answer = tokio::select! {
        answer = &mut asking.rx => answer,
        () = waiting.is_over() => {
            let _ = asking.cancel(Some("no answer is needed any more".to_owned())).await;
            return;
        }
    };
    let answer = if let Ok(Ok(ClientResult::ElicitResult(answer))) = answer { Some(answer) } else { None };
    if let Some(over) = settle(waiting, answer.as_ref()) {
        over.cancelled().await;
        // 2025-11-25, elicitation, "Completion Notifications for URL Mode Elicitation".
        let complete = CustomNotification::new(COMPLETE, Some(json!({"elicitationId": id})));
        let _ = peer.send_notification(complete.into()).await;
    }
}

/// The same question as part of a result that asks for input (2026-07-28).
pub(super) fn input(params: ElicitRequestParams) -> InputRequest {
    InputRequest::Elicitation(ElicitRequest::new(params))
}

/// Passes on what a client came back with.
pub(super) fn settle_with(waiting: Waiting, response: Option<&Value>) {
    let answer = response.and_then(|response| serde_json::from_value::<ElicitResult>(response.clone()).ok());
    settle(waiting, answer.as_ref());
}

/// What ends when the page does, if the person looks at one.
fn settle(waiting: Waiting, answer: Option<&ElicitResult>) -> Option<CancellationToken> {
    let accepted = answer.filter(|answer| answer.action == ElicitationAction::Accept);
    match waiting {
        Waiting::Key(key) => {
            let trust = accepted.and_then(|answer| answer.content.as_ref()?.get(TRUST)?.as_bool());
            let _ = key.send(trust == Some(true));
            None
        }
        Waiting::Page(page) => accepted.map(|_| page.stay_open()),
    }
}

fn what(question: &Question) -> String {
    match &question.purpose {
        Purpose::Password => "Password".to_owned(),
        Purpose::Passphrase(file) => format!("Passphrase of the key file {file}"),
        Purpose::KeyboardInteractive(_) => "Answers to the server's questions".to_owned(),
        Purpose::Sudo(_) => "Password to act as root (sudo)".to_owned(),
    }
}

fn form(key: &UnknownKey) -> ElicitRequestParams {
    let [host, key_type, fingerprint, saved_in] =
        [&key.host, &key.key_type, &key.fingerprint, &key.saved_in].map(|text| in_a_line(text.as_bytes()));
    let message = format!(
        "The host {host} is not known yet. It shows this key:\n\n{key_type} {fingerprint}\n\nTrust it only if this is the fingerprint of the \
         host's own key (on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub). It is then saved in {saved_in}, \
         and ssh trusts it, too."
    );
    let trust = BooleanSchema::new().title("Trust this host key").with_default(false);
    let requested_schema = ElicitationSchema::builder()
        .required_property(TRUST, PrimitiveSchemaDefinition::Boolean(trust))
        .build_unchecked();
    ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_about_a_key_has_our_lines_alone() {
        let hostile = || "a\n\u{1b}[2J\u{202e}b\u{9b}".to_owned();
        let key = UnknownKey { host: hostile(), key_type: hostile(), fingerprint: hostile(), saved_in: hostile() };
        let ElicitRequestParams::FormElicitationParams { message, .. } = form(&key) else { panic!("no form") };
        assert_eq!(message.lines().count(), 5, "{message}");
        assert!(!message.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{message:?}");
    }
}
