//! The routes of the page (`GET /`), which shows the user the work of the agents and can stop it,
//! and on which the user answers what the agents may do only with a yes.
//!
//! `access` decides who may look, and `render` turns the activity into HTML. `page.js` applies the
//! changes, which arrive as server-sent events. Without the script the page shows one moment, and
//! its buttons are plain forms.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::stream;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts, uri::Authority};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use tokio::{
    sync::{OnceCell, mpsc},
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
pub use super::{access::AccessKeys, open_browser::open};
use crate::{
    foreign_text::escape_html,
    mcp::{
        web::reply::{EVENT_STREAM, HttpReply, refusal, reply},
        web::{
            guard::{self, Endpoint, PeerInfo},
            listen::{self, ListenError, Listener},
            token::Token,
        },
    },
    session::{causes::with_causes, error::SessionError, registry::SessionRegistry},
    ssh::prompt::prompter::ApprovalAnswer,
};

/// Interval between looks at the activity.
const LOOK: Duration = Duration::from_millis(400);
/// Interval between signs of life on a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time limit for a command to end before the button is answered without the end.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// Size limit of a form, in bytes.
const MAX_FORM_BYTES: usize = 4 * 1024;
/// Time limit for a form to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(10);

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
/// Paths which belong to the page.
const PATHS: [&str; 6] = ["/", EVENTS, STOP, DISCONNECT, CLOSE, ANSWER];
/// Path of the event stream with the changes of the page.
const EVENTS: &str = "/events";
/// Path of the button which stops a command.
const STOP: &str = "/stop";
/// Path of the button which disconnects a session.
const DISCONNECT: &str = "/disconnect";
/// Path of the button which closes a forward.
const CLOSE: &str = "/close";
/// Path of the buttons which answer a question.
const ANSWER: &str = "/answer";

/// Page which shows the activity of a daemon and stops commands. Clones share the daemon and its
/// access keys.
#[derive(Clone)]
pub(in crate::mcp) struct Dashboard {
    registry: Arc<SessionRegistry>,
    access: Arc<AccessKeys>,
    /// Origin at which browsers find the page. Empty until somebody asks, if the daemon only
    /// listens on a socket.
    address: Arc<OnceCell<String>>,
    /// Channel for listeners which are opened for browsers.
    opened: mpsc::Sender<Listener>,
    /// Token which is cancelled when the event streams have to end.
    stop: CancellationToken,
}

/// Returns true for a link with a key. Such a link may stand on any site, because the key admits
/// the browser.
pub(in crate::mcp) fn is_link(request: &Parts) -> bool {
    request.method == Method::GET && request.uri.path() == "/" && key_in(request).is_some()
}

/// Returns the key in the address of a request.
fn key_in(request: &Parts) -> Option<String> {
    request.uri.query().and_then(super::access::key_in)
}

impl Dashboard {
    /// Creates the page for `registry`, which is served until `stop` is cancelled. Browsers find
    /// the page at `address`. With `None`, a listener is opened and sent to `opened` when somebody
    /// asks for a link.
    pub(in crate::mcp) fn new(
        registry: Arc<SessionRegistry>,
        access: Arc<AccessKeys>,
        address: Option<String>,
        opened: mpsc::Sender<Listener>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            registry,
            access,
            address: Arc::new(OnceCell::new_with(address)),
            opened,
            stop,
        }
    }

    /// Returns true if the page serves this path.
    pub(in crate::mcp) fn serves(path: &str) -> bool {
        PATHS.contains(&path)
    }

    /// Answers an admitted peer with a new link. The answer is the path of the link, or the whole
    /// link for a peer on a socket.
    pub(in crate::mcp) async fn link(&self, endpoint: Endpoint, has_token: bool) -> HttpReply {
        let Ok(path) = self.access.link() else {
            return refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the system's random number generator is unavailable",
                "try again",
            );
        };

        // A peer on TCP knows the rest of the link: browsers use the same address.
        if endpoint != Endpoint::Socket {
            return reply(StatusCode::OK, PLAIN_TEXT, path);
        }

        match self.address.get_or_try_init(|| self.open(has_token)).await {
            Ok(address) => reply(StatusCode::OK, PLAIN_TEXT, format!("{address}{path}")),
            Err(error) => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                &error.to_string(),
                "fix the cause, then ask again",
            ),
        }
    }

    /// Opens a port on loopback for browsers and returns the origin.
    ///
    /// # Errors
    /// No port can be opened, or the system does not tell whose a connection is.
    async fn open(&self, has_token: bool) -> Result<String, ListenError> {
        let (listener, address) = listen::open_for_page(has_token).await?;
        // Sending fails only when the daemon ends.
        let _ = self.opened.send(listener).await;
        Ok(address)
    }

    /// Answers a request whose `Host` and `Origin` have been admitted.
    ///
    /// # Errors
    /// The refusal to send.
    pub(in crate::mcp) async fn answer(
        &self,
        request: &Parts,
        body: Incoming,
        peer: &PeerInfo,
        token: Option<&Token>,
    ) -> Result<HttpReply, Box<HttpReply>> {
        // A browser cannot send the token, so the cookie replaces it. On this machine the user
        // still counts: neither a link in a list of processes nor a cookie sent to another port
        // helps another user.
        match token {
            None => guard::admit_visitor(&request.headers, peer, None)?,
            Some(_) if peer.may_be_other_user().await => {
                let hint = "run a daemon of your own";
                return Err(Box::new(refusal(
                    StatusCode::FORBIDDEN,
                    "this page belongs to another user",
                    hint,
                )));
            }
            Some(_) => {}
        }

        let (path, port) = (request.uri.path(), port(request));
        let allowed = if path == "/" || path == EVENTS {
            Method::GET
        } else {
            Method::POST
        };

        // A refusal with 405 has to name the allowed method (RFC 9110, section 15.5.6).
        if request.method != allowed {
            let mut refused = words(
                StatusCode::METHOD_NOT_ALLOWED,
                "Not so",
                "<p>Open <a href=\"/\">the page</a>.</p>",
            );

            let allowed = HeaderValue::from_static(if allowed == Method::GET {
                "GET"
            } else {
                "POST"
            });

            refused.headers_mut().insert(header::ALLOW, allowed);
            return Err(Box::new(refused));
        }

        // The cookie proves as much as the token, so the connection may stay.
        let admitted = self.access.admit(&request.headers, port);
        if admitted {
            peer.admit();
        }

        // The link is used up even if the browser has the cookie already.
        if let Some(key) = key_in(request).filter(|_| path == "/") {
            return Ok(self.enter(&key, port, admitted));
        }

        if !admitted {
            return Err(Box::new(locked("This page needs its link", "", port)));
        }

        Ok(match path {
            "/" => html(
                StatusCode::OK,
                super::render::page(&self.activity().await, self.access.form()),
            ),
            EVENTS => self.events(),
            _ => self.act(path, body).await,
        })
    }

    /// Exchanges the key of a link for the cookie. A browser which has the cookie already may come
    /// with a used link.
    fn enter(&self, key: &str, port: u16, admitted: bool) -> HttpReply {
        let redeemed = self.access.redeem(key);
        if !admitted && !redeemed {
            let why = "<p>A link works once, for an hour, and only with the daemon that made it. If this browser has used \
                       it already, go on to <a href=\"/\">the page</a>.</p>";
            return locked("This link does not work any more", why, port);
        }

        // A redirect would not do: after a link from another site, browsers hold the cookie back.
        let content = "<p><a href=\"/\">Go on to the page</a></p>";
        let mut entered = html(
            StatusCode::OK,
            super::render::words("Welcome", content, Some("/")),
        );

        if let Ok(cookie) = HeaderValue::try_from(self.access.set_cookie(port)) {
            entered.headers_mut().insert(header::SET_COOKIE, cookie);
        }

        entered
    }

    /// Looks at the activity of the daemon.
    async fn activity(&self) -> Activity {
        self.registry.overview().await.into()
    }

    /// Answers with an event stream, which sends the changing part of the page at every change.
    fn events(&self) -> HttpReply {
        // `Delay` avoids a burst of overdue looks after a time without reading.
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let looking = OpenView {
            dashboard: self.clone(),
            shown: String::new(),
            said: Instant::now(),
            looks,
        };

        let mut answer =
            Response::new(StreamBody::new(stream::unfold(looking, next)).boxed_unsync());
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        );

        answer
    }

    /// Does the work of a button and leads the browser back to the page.
    async fn act(&self, path: &str, body: Incoming) -> HttpReply {
        // Forms of the page are small: anything larger or slower comes from elsewhere.
        let Ok(Ok(body)) =
            timeout(ARRIVAL_LIMIT, Limited::new(body, MAX_FORM_BYTES).collect()).await
        else {
            return words(
                StatusCode::BAD_REQUEST,
                "Not understood",
                "<p>Go back to <a href=\"/\">the page</a>.</p>",
            );
        };

        let body = body.to_bytes();

        let field = |name: &str| {
            let found = form_urlencoded::parse(&body).find(|(each, _)| each == name);
            found
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };

        // The cookie is not enough: browsers also send it for forms on other ports of this machine.
        if !self.access.is_form(&field("key")) {
            let why = "<p>This did not come from the page. Nothing was done. Use the button on \
                       <a href=\"/\">the page</a>.</p>";
            return words(StatusCode::FORBIDDEN, "Not allowed", why);
        }

        if path == ANSWER {
            self.answer_question(&field("answer"));
            return back();
        }

        let registry = Arc::clone(&self.registry);
        let target = match path {
            DISCONNECT => ButtonTarget::Session(field("session")),
            CLOSE => ButtonTarget::Forward(field("forward")),
            _ => ButtonTarget::Job(field("job")),
        };

        // In a task, the work goes on if the browser does not wait.
        let doing = tokio::spawn(async move { target.end(&registry).await });

        // A command that takes longer to end is not an error: the page shows its end later.
        if let Ok(Ok(Err(error))) = timeout(STOP_WAIT, doing).await {
            let why = format!(
                "<p>{}</p><p>Go back to <a href=\"/\">the page</a>.</p>",
                escape_html(&with_causes(&error))
            );
            return words(StatusCode::BAD_GATEWAY, "It could not be done", &why);
        }

        back()
    }

    /// Passes on the answer to a question, as in `3 once`.
    fn answer_question(&self, field: &str) {
        let Some((number, word)) = field.split_once(' ') else {
            return;
        };
        if let Ok(number) = number.parse() {
            let answer = ApprovalAnswer::from_word(word);
            self.registry.approvals().answer(number, answer);
        }
    }
}

/// Leads the browser back to the page. After 303 it fetches the page, and a reload does not repeat
/// the button.
fn back() -> HttpReply {
    let mut back = html(StatusCode::SEE_OTHER, String::new());
    back.headers_mut()
        .insert(header::LOCATION, HeaderValue::from_static("/"));

    back
}

/// What a button of the page ends.
enum ButtonTarget {
    /// Command, by the id of its job.
    Job(String),
    /// Session, by its name.
    Session(String),
    /// Forward, by its id, as in `f1`.
    Forward(String),
}

impl ButtonTarget {
    /// Ends the target. Something that has ended already, and may be forgotten, is just what the
    /// user wanted.
    ///
    /// # Errors
    /// The session does not exist, or the host of a detached job cannot be reached.
    async fn end(self, registry: &SessionRegistry) -> Result<(), SessionError> {
        match self {
            Self::Session(name) => registry.disconnect_unwanted(&name).await,
            Self::Forward(id) => {
                if let Some(Ok(number)) = id.strip_prefix('f').map(str::parse) {
                    registry.forwards.close(number).await;
                }

                Ok(())
            }
            Self::Job(id) => {
                let mut jobs = registry.jobs.recent().into_iter();
                match jobs.find(|job| job.id == id) {
                    Some(job) if job.ended().is_none() => job.stop_for_user().await,
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Returns the port which the browser believes to talk to, 80 if none is named. The guard has
/// checked that there is exactly one `Host`.
fn port(request: &Parts) -> u16 {
    let host = request
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    host.and_then(|host| host.port_u16()).unwrap_or(80)
}

/// Returns the refusal for a browser without access, which explains how to get a link.
fn locked(title: &str, why: &str, port: u16) -> HttpReply {
    let how = format!(
        "{why}<p>The daemon prints a link when it starts. For another one, run this on its machine:</p>\
         <pre class=\"out\">mcp-ssh-sessions status --http {port} --open</pre>"
    );
    words(StatusCode::FORBIDDEN, title, &how)
}

/// Returns a page with a few words.
fn words(status: StatusCode, title: &str, content: &str) -> HttpReply {
    html(status, super::render::words(title, content, None))
}

/// Returns a reply in HTML, with security headers.
fn html(status: StatusCode, text: String) -> HttpReply {
    let mut answer = reply(status, "text/html; charset=utf-8", text);
    let headers = answer.headers_mut();

    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        // The key in an address must not reach other sites. With `no-referrer`, browsers would send
        // `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }

    if let Ok(policy) = HeaderValue::try_from(super::render::policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }

    answer
}

/// Event stream of an open page.
struct OpenView {
    dashboard: Dashboard,
    /// HTML which was sent last.
    shown: String,
    /// Time of the last event or sign of life.
    said: Instant,
    /// Times of the looks at the activity.
    looks: Interval,
}

/// Waits for a change of the page or the time for a sign of life. Returns the event and the state
/// after the event.
async fn next(mut looking: OpenView) -> Option<(Result<Frame<Bytes>, Infallible>, OpenView)> {
    loop {
        tokio::select! {
            _ = looking.looks.tick() => {}
            () = looking.dashboard.stop.cancelled() => return None,
        }

        let now = super::render::content(
            &looking.dashboard.activity().await,
            looking.dashboard.access.form(),
        );

        // JSON keeps the HTML on one line, since a line feed would end the data.
        let text = if now != looking.shown {
            let text = format!(
                "data: {}\n\n",
                serde_json::to_string(&now).unwrap_or_default()
            );

            looking.shown = now;
            text
        } else if looking.said.elapsed() >= KEEP_ALIVE {
            ": keep-alive\n\n".to_owned()
        } else {
            continue;
        };

        looking.said = Instant::now();
        return Some((Ok(Frame::data(text.into())), looking));
    }
}
