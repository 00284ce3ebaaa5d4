//! The page that shows a person what the agents do, and puts an end to it: `GET /`.
//!
//! `keys` says who may look, `render` makes HTML of what goes on, and `watch.js` takes the changes over that come as
//! server-sent events. Without the script the page shows one moment, and its buttons are plain forms.

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
    mcp::{
        web::reply::{EVENT_STREAM, HttpReply, refusal, reply},
        web::{
            guard::{self, Endpoint, PeerInfo},
            html::escape,
            listen::{self, ListenError, Listener},
            token::Token,
        },
    },
    session::{causes::with_causes, registry::SessionRegistry},
};

/// How often is looked whether anything has changed.
const LOOK: Duration = Duration::from_millis(400);
/// How often a quiet stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a command may take to end before the answer to the button comes without that.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// The largest form, in bytes, and how long it may take to arrive.
const MAX_FORM_BYTES: usize = 4 * 1024;
const ARRIVAL_LIMIT: Duration = Duration::from_secs(10);

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
const PATHS: [&str; 4] = ["/", EVENTS, STOP, DISCONNECT];
const EVENTS: &str = "/events";
const STOP: &str = "/stop";
const DISCONNECT: &str = "/disconnect";

/// Shows what goes on.
#[derive(Clone)]
pub(in crate::mcp) struct Dashboard {
    registry: Arc<SessionRegistry>,
    keys: Arc<AccessKeys>,
    /// The address at which browsers find it.
    address: Arc<OnceCell<String>>,
    /// Takes what is opened for browsers.
    opened: mpsc::Sender<Listener>,
    stop: CancellationToken,
}

/// Whether this is a link that may stand anywhere, also on another site: its key is what lets in.
pub(in crate::mcp) fn is_link(request: &Parts) -> bool {
    request.method == Method::GET && request.uri.path() == "/" && key_in(request).is_some()
}

fn key_in(request: &Parts) -> Option<String> {
    request.uri.query().and_then(super::access::key_in)
}

impl Dashboard {
    /// Shows this registry until `stop` is cancelled: at this address, else at one that goes to `opened` once somebody
    /// wants to look.
    pub(in crate::mcp) fn new(
        registry: Arc<SessionRegistry>,
        keys: Arc<AccessKeys>,
        address: Option<String>,
        opened: mpsc::Sender<Listener>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            registry,
            keys,
            address: Arc::new(OnceCell::new_with(address)),
            opened,
            stop,
        }
    }

    /// Whether a path belongs here.
    pub(in crate::mcp) fn serves(path: &str) -> bool {
        PATHS.contains(&path)
    }

    /// A new link, for whoever has been let in otherwise: its path, or all of it for one who did not come by an address
    /// that browsers can use.
    pub(in crate::mcp) async fn link(&self, endpoint: Endpoint, has_token: bool) -> HttpReply {
        let Ok(path) = self.keys.link() else {
            return refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "no random number to be had",
                "try again",
            );
        };

        if endpoint != Endpoint::Socket {
            return reply(StatusCode::OK, PLAIN_TEXT, path);
        }

        match self.address.get_or_try_init(|| self.open(has_token)).await {
            Ok(address) => reply(StatusCode::OK, PLAIN_TEXT, format!("{address}{path}")),
            Err(error) => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                &error.to_string(),
                "see to that, then ask again",
            ),
        }
    }

    async fn open(&self, has_token: bool) -> Result<String, ListenError> {
        let (listener, address) = listen::open_for_page(has_token).await?;
        // Nobody takes it when the daemon ends.
        let _ = self.opened.send(listener).await;
        Ok(address)
    }

    /// Answers a request whose `Host` and origin have been admitted.
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
        // A browser cannot send the token: with one, the cookie stands for it, and of those on this machine the user still
        // counts, so that neither a link in a list of processes nor a cookie sent to another port helps another user.
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

        let admitted = self.keys.admit(&request.headers, port);
        if admitted {
            peer.admit();
        }

        if let Some(key) = key_in(request).filter(|_| path == "/") {
            return Ok(self.enter(&key, port, admitted));
        }

        if !admitted {
            return Err(Box::new(locked("This page needs its link", "", port)));
        }

        Ok(match path {
            "/" => html(
                StatusCode::OK,
                super::render::page(&self.activity().await, self.keys.form()),
            ),
            EVENTS => self.events(),
            _ => self.act(path, body).await,
        })
    }

    /// Exchanges the key of a link for the cookie.
    fn enter(&self, key: &str, port: u16, admitted: bool) -> HttpReply {
        let redeemed = self.keys.redeem(key);
        if !admitted && !redeemed {
            let why = "<p>A link works once, for an hour, and only with the daemon that made it. If this browser has used \
                       it already, go on to <a href=\"/\">the page</a>.</p>";
            return locked("This link does not work any more", why, port);
        }

        let content = "<p><a href=\"/\">Go on to the page</a></p>";
        let mut entered = html(
            StatusCode::OK,
            super::render::words("Welcome", content, Some("/")),
        );

        if let Ok(cookie) = HeaderValue::try_from(self.keys.set_cookie(port)) {
            entered.headers_mut().insert(header::SET_COOKIE, cookie);
        }

        entered
    }

    async fn activity(&self) -> Activity {
        self.registry.overview().await.into()
    }

    /// What changes, as it changes.
    fn events(&self) -> HttpReply {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let looking = OpenView {
            watch: self.clone(),
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

    /// Does what a button says, and leads back to the page.
    async fn act(&self, path: &str, body: Incoming) -> HttpReply {
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

        if !self.keys.is_form(&field("key")) {
            let why = "<p>This did not come from the page. Nothing was done. Use the button on \
                       <a href=\"/\">the page</a>.</p>";
            return words(StatusCode::FORBIDDEN, "Not allowed", why);
        }

        let registry = Arc::clone(&self.registry);
        let (job, session) = (field("job"), (path == DISCONNECT).then(|| field("session")));

        // It goes on if the browser does not wait for it.
        let doing = tokio::spawn(async move {
            if let Some(session) = session {
                return registry.disconnect_unwanted(&session).await;
            }

            match registry
                .jobs
                .recent()
                .into_iter()
                .find(|each| each.id == job)
            {
                Some(job) if job.ended().is_none() => job.stop_for_user().await,
                // It has ended, and may be forgotten: just what was wanted.
                _ => Ok(()),
            }
        });

        if let Ok(Ok(Err(error))) = timeout(STOP_WAIT, doing).await {
            let why = format!(
                "<p>{}</p><p>Go back to <a href=\"/\">the page</a>.</p>",
                escape(&with_causes(&error))
            );
            return words(StatusCode::BAD_GATEWAY, "It could not be done", &why);
        }

        let mut back = html(StatusCode::SEE_OTHER, String::new());
        back.headers_mut()
            .insert(header::LOCATION, HeaderValue::from_static("/"));

        back
    }
}

/// The port that the browser believes to talk to. The guard has seen that there is one `Host`.
fn port(request: &Parts) -> u16 {
    let host = request
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    host.and_then(|host| host.port_u16()).unwrap_or(80)
}

fn locked(title: &str, why: &str, port: u16) -> HttpReply {
    let how = format!(
        "{why}<p>The daemon prints a link when it starts. For another one, run this on its machine:</p>\
         <pre class=\"out\">mcp-ssh-sessions status --http {port} --open</pre>"
    );
    words(StatusCode::FORBIDDEN, title, &how)
}

fn words(status: StatusCode, title: &str, content: &str) -> HttpReply {
    html(status, super::render::words(title, content, None))
}

fn html(status: StatusCode, text: String) -> HttpReply {
    let mut answer = reply(status, "text/html; charset=utf-8", text);
    let headers = answer.headers_mut();

    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        // A key in the address is for nobody else. `no-referrer` would have browsers send `Origin: null`.
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

struct OpenView {
    watch: Dashboard,
    shown: String,
    said: Instant,
    looks: Interval,
}

async fn next(mut looking: OpenView) -> Option<(Result<Frame<Bytes>, Infallible>, OpenView)> {
    loop {
        tokio::select! {
            _ = looking.looks.tick() => {}
            () = looking.watch.stop.cancelled() => return None,
        }

        let now =
            super::render::content(&looking.watch.activity().await, looking.watch.keys.form());

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
