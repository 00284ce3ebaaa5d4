//! Page on which the user types a secret: on loopback, at an address of 128 random bits, for one
//! answer.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use crate::{
    foreign_text::escape_html,
    lock::lock,
    mcp::web::{
        guard::{self, Endpoint},
        listen::accepted,
        newcomers::Newcomers,
    },
    password::Password,
    peer::{self, PeerConnection, own::OwnPort},
    random,
    ssh::prompt::prompter::{ProgramInput, Prompt, Purpose, SecretPrompt},
};

/// Time for which the page is open. Servers close a connection without a log-in after two minutes
/// (`LoginGraceTime`).
const LIFETIME: Duration = Duration::from_secs(115);
/// Time for which a closed page still says "too late". The second half of a double click comes in
/// this time.
const LINGER: Duration = Duration::from_millis(500);
/// Number of connections whose user is being found out at the same time. Others wait to be
/// accepted.
const MAX_LOOKS: usize = 64;
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:10vh auto;padding:0 1rem;color:#1a1a1a;\
background:#fff}h1{font-size:1.25rem}label{display:block;margin:1rem 0 .25rem;white-space:pre-wrap;overflow-wrap:anywhere}\
input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #888;border-radius:.25rem;\
background:#fff;color:inherit}button{font:inherit;margin:1.25rem .5rem 0 0;padding:.5rem 1rem;border-radius:.25rem;\
border:1px solid #888;background:#eee;color:inherit}button.main{background:#0b57d0;border-color:#0b57d0;color:#fff}\
blockquote{margin:1rem 0;padding:.25rem 1rem;border-left:4px solid #bbb;white-space:pre-wrap;overflow-wrap:anywhere}\
.note{color:#555;font-size:.875rem}@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#eee}\
input{background:#262626}button{background:#333}.note{color:#aaa}}";

/// Open page for a question. Dropping the value closes the page, unless
/// [`stay_open`](Self::stay_open) was called.
pub(in crate::mcp) struct Page {
    /// Address of the page.
    pub(in crate::mcp) url: String,
    /// Identifier of the question for the client, unrelated to the address.
    pub(in crate::mcp) id: String,
    /// Cancelled when the page closes.
    closing: CancellationToken,
    /// Closes the page on drop.
    close: DropGuard,
}

impl Page {
    /// Serves a page with this question. The answers are sent through `answer`, in the order of the
    /// prompts.
    ///
    /// # Errors
    /// No loopback port or random number is available, or the system does not tell the user of a
    /// connection. A sandbox may forbid to ask for that.
    pub(in crate::mcp) async fn open(
        prompt: SecretPrompt,
        answer: oneshot::Sender<Vec<Password>>,
    ) -> io::Result<Self> {
        // Without the check, any user of the machine who learns the address could answer. Such a
        // system gets no page.
        if peer::KNOWN_HERE && !peer::identifies_users().await {
            return Err(io::Error::other(
                "this system does not tell whose a connection is",
            ));
        }

        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (id, secret) = (random::hex::<16>()?, random::hex::<16>()?);
        let closing = CancellationToken::new();

        let page = Arc::new(SecretPage {
            path: format!("/{secret}"),
            port,
            _own_port: OwnPort::new(port),
            prompt,
            answer: Mutex::new(Some(answer)),
            closing: closing.clone(),
        });

        let url = format!("http://127.0.0.1:{port}{}", page.path);
        tokio::spawn(serve(listener, page));

        Ok(Self {
            url,
            id,
            closing: closing.clone(),
            close: closing.drop_guard(),
        })
    }

    /// Waits until the question was answered, or the answer is not needed any more.
    pub(in crate::mcp) async fn is_closed(&self) {
        self.closing.cancelled().await;
    }

    /// Keeps the page open without this value until the page [is closed](Self::is_closed), because the
    /// user will look at the page. Returns the token that is cancelled then.
    pub(in crate::mcp) fn stay_open(self) -> CancellationToken {
        self.close.disarm()
    }
}

/// State of a page, shared by all connections.
struct SecretPage {
    /// Path of the page, with 128 random bits.
    path: String,
    /// Port of the listener, which `Host` and `Origin` have to name.
    port: u16,
    /// Note that the port is this program's own.
    _own_port: OwnPort,
    /// Question of the page.
    prompt: SecretPrompt,
    /// Sender of the answer; `None` after the first answer or once the page is closed.
    answer: Mutex<Option<oneshot::Sender<Vec<Password>>>>,
    /// Cancelled when the page closes.
    closing: CancellationToken,
}

/// Serves the page until the first answer, until the answer is not needed, or for [`LIFETIME`].
async fn serve(listener: TcpListener, page: Arc<SecretPage>) {
    let (looks, newcomers) = (
        Arc::new(Semaphore::new(MAX_LOOKS)),
        Arc::new(Newcomers::default()),
    );

    // The permit is taken before the connection. Under a flood of connections, the rest waits in
    // the kernel.
    let accepting = async {
        while let Ok(look) = Arc::clone(&looks).acquire_owned().await {
            let (stream, _) = accepted(|| listener.accept()).await;
            let (newcomers, page) = (Arc::clone(&newcomers), Arc::clone(&page));
            tokio::spawn(async move {
                if may_enter(&stream).await {
                    drop(look);
                    serve_connection(stream, &newcomers, page).await;
                }
            });
        }
    };

    let ending = async {
        tokio::select! {
            () = page.closing.cancelled() => {}
            () = page.is_given_up() => {}
            () = sleep(LIFETIME) => {}
        }

        // The answer is taken away first, so that no late request can answer while the page
        // lingers.
        page.waiting().take();
        page.closing.cancel();
        sleep(LINGER).await;
    };

    tokio::select! {
        () = accepting => {}
        () = ending => {}
    }
}

/// Returns true if the connection belongs to this user. On systems that do not tell the user of a
/// connection, the address of the page is the only protection.
async fn may_enter(stream: &TcpStream) -> bool {
    let Ok(connection) = PeerConnection::of_stream(stream) else {
        return false;
    };
    !peer::KNOWN_HERE || connection.is_ours().await
}

/// Answers a connection. The connection is closed early if too many newer ones are open.
async fn serve_connection(stream: TcpStream, newcomers: &Arc<Newcomers>, page: Arc<SecretPage>) {
    let newcomer = newcomers.enter(None);
    let leave = newcomer.leave();
    let closing = page.closing.clone();
    let answering = service_fn(|request| {
        let page = Arc::clone(&page);
        async move { Ok::<_, Infallible>(page.reply(request).await) }
    });

    // A client that sends nothing must not hold a connection. Without keep-alive, each request
    // needs a new connection.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(15))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answering);

    tokio::select! {
        _ = connection => {}
        () = leave.cancelled() => {}
        () = async { closing.cancelled().await; sleep(LINGER).await } => {}
    }
}

/// Reply of the page.
type PageReply = Response<Full<Bytes>>;

impl SecretPage {
    /// Locks the sender of the answer.
    fn waiting(&self) -> MutexGuard<'_, Option<oneshot::Sender<Vec<Password>>>> {
        lock(&self.answer)
    }

    /// Waits until the receiver of the answer is gone.
    async fn is_given_up(&self) {
        poll_fn(|context| {
            self.waiting()
                .as_mut()
                .map_or(Poll::Ready(()), |answer| answer.poll_closed(context))
        })
        .await;
    }

    /// Returns the reply to a request. Checks the origin first, then the path.
    async fn reply(&self, request: Request<Incoming>) -> PageReply {
        let (mut parts, body) = request.into_parts();

        // The client may show the link on another site. Only a posted answer has to come from the
        // page itself.
        if parts.method == Method::GET {
            parts.headers.remove("sec-fetch-site");
        }

        if guard::admit_origin(&parts, Endpoint::Loopback(self.port)).is_err() {
            return page(
                StatusCode::FORBIDDEN,
                "Not allowed",
                "<p>This request comes from somewhere else.</p>",
            );
        }

        // The comparison need not take constant time, because nobody can guess 128 random bits.
        if parts.uri.path() != self.path {
            return page(
                StatusCode::NOT_FOUND,
                "Nothing here",
                "<p>There is no such page.</p>",
            );
        }

        // A closed page says so for every method: a late answer must not look as if it had been
        // taken.
        match parts.method {
            _ if self.closing.is_cancelled() => too_late(),
            Method::GET => page(StatusCode::OK, &self.title(), &self.form()),
            Method::POST => self.accept_answer(body).await,
            _ => page(
                StatusCode::METHOD_NOT_ALLOWED,
                "Not allowed",
                "<p>Open this page in a browser.</p>",
            ),
        }
    }

    /// Passes the posted answer on and returns the reply. Only the first complete answer or refusal
    /// counts.
    async fn accept_answer(&self, body: Incoming) -> PageReply {
        let Ok(body) = Limited::new(body, MAX_ANSWER_BYTES).collect().await else {
            return page(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Too long",
                "<p>An answer may have 64 KiB at most.</p>",
            );
        };

        // The body holds secrets, so this copy is wiped.
        let body = Zeroizing::new(body.to_bytes().to_vec());
        let fields: Vec<(String, Password)> = form_urlencoded::parse(&body)
            .map(|(name, value)| (name.into_owned(), Password::from(value.into_owned())))
            .collect();
        let refused = fields.iter().any(|(name, _)| name == "refuse");

        // In the order of the prompts. A prompt may be answered with an empty text, but not be
        // missing.
        let answers: Vec<Password> = (0..self.prompt.prompts.len())
            .filter_map(|index| {
                fields
                    .iter()
                    .find(|(name, _)| *name == format!("answer{index}"))
            })
            .map(|(_, answer)| answer.clone())
            .collect();

        if !refused && answers.len() != self.prompt.prompts.len() {
            return page(
                StatusCode::BAD_REQUEST,
                "Not complete",
                "<p>Go back and answer everything.</p>",
            );
        }

        // Taken at the last moment, so that an incomplete answer can be corrected.
        let Some(waiting) = self.waiting().take() else {
            return too_late();
        };

        let reply = if refused {
            page(
                StatusCode::OK,
                "Not answered",
                "<p>Nothing was sent. You can close this page.</p>",
            )
        } else if waiting.send(answers).is_ok() {
            let thanks = format!(
                "<p>The answer goes to {}. You can close this page.</p>",
                self.prompt.purpose.recipient()
            );
            page(StatusCode::OK, "Thank you", &thanks)
        } else {
            too_late()
        };

        // A refusal ends the page, too: the dropped sender tells the caller that there is no
        // answer.
        self.closing.cancel();

        reply
    }

    /// Returns the title of the page.
    fn title(&self) -> String {
        match &self.prompt.purpose {
            Purpose::Sudo(what) => format!("Run as {}", what.user),
            Purpose::Program(_) => "Secret for a program".to_owned(),
            Purpose::Password | Purpose::Passphrase(_) | Purpose::KeyboardInteractive(_) => {
                "SSH log-in".to_owned()
            }
        }
    }

    /// Returns the HTML of the question. Everything that comes from a server or an agent is
    /// escaped, and marked as theirs.
    fn form(&self) -> String {
        let prompt = &self.prompt;

        // The user has to see what the secret is for, in particular what would run as root.
        let about = match &prompt.purpose {
            Purpose::Password => String::new(),
            Purpose::Passphrase(file) => format!(
                "<p>Passphrase of the key file <code>{}</code></p>",
                escape_html(file)
            ),
            // The prompts are the server's words, too, and must not pass for ours.
            Purpose::KeyboardInteractive(words) if words.raw().trim().is_empty() => {
                "<p>The server asks:</p>".to_owned()
            }
            Purpose::KeyboardInteractive(words) => {
                format!(
                    "<p>The server says:</p><blockquote>{}</blockquote><p>It asks:</p>",
                    words.html()
                )
            }
            Purpose::Sudo(what) => {
                let details = what.details.iter().map(|(name, text)| {
                    format!(
                        "<p>{}:</p><blockquote>{}</blockquote>",
                        escape_html(name),
                        escape_html(text)
                    )
                });

                format!(
                    "<p>The agent wants to run this as {} (sudo):</p><blockquote>{}</blockquote>{}",
                    escape_html(&what.user),
                    what.command.html(),
                    details.collect::<String>()
                )
            }
            Purpose::Program(what) => about_program(what),
        };

        let way = match &prompt.purpose {
            Purpose::Passphrase(_) => "opens the key file with it and sends it nowhere",
            Purpose::Password | Purpose::KeyboardInteractive(_) => "sends it to this host alone",
            Purpose::Sudo(_) => "sends it to sudo on this host alone",
            Purpose::Program(_) => "sends it to this program alone",
        };

        let (button, lasts) = match &prompt.purpose {
            // The password stays in memory until the session ends, so one answer permits later
            // commands as well.
            Purpose::Sudo(what) => (
                format!("Run as {}", escape_html(&what.user)),
                ". Until the session is disconnected, the agent can run more as root with it",
            ),
            // The agent has chosen the program, which may be one that passes secrets on.
            Purpose::Program(_) => (
                "Send".to_owned(),
                " to hide it where the program shows it. Type it only if you know the program: it can keep what it reads",
            ),
            Purpose::Password | Purpose::Passphrase(_) | Purpose::KeyboardInteractive(_) => {
                ("Log in".to_owned(), "")
            }
        };

        let fields: Vec<String> = prompt.prompts.iter().enumerate().map(field).collect();

        format!(
            "<p>for <strong>{}</strong></p>{about}<form method=\"post\" autocomplete=\"off\">{}\
             <button class=\"main\">{button}</button>\
             <button name=\"refuse\" value=\"1\" formnovalidate>Do not answer</button></form>\
             <p class=\"note\">What you type goes to mcp-ssh-sessions on this machine, which {way} and keeps it in memory{lasts}. \
             It is not shown to the agent and not saved.</p>",
            escape_html(&prompt.account),
            fields.concat()
        )
    }
}

/// Returns the HTML about a program that waits for a secret.
fn about_program(what: &ProgramInput) -> String {
    let prompt = if what.prompt.raw().trim().is_empty() {
        "<p>It shows no prompt.</p>".to_owned()
    } else {
        format!(
            "<p>It shows:</p><blockquote>{}</blockquote>",
            what.prompt.html()
        )
    };

    format!(
        "<p>A program waits for input. The agent has started it in the session <strong>{}</strong>:</p>\
         <blockquote>{}</blockquote>{prompt}<p>The agent says what to type:</p><blockquote>{}</blockquote>",
        escape_html(&what.session),
        what.command.html(),
        what.words.html()
    )
}

/// Returns the HTML of a prompt and the input field.
fn field((index, prompt): (usize, &Prompt)) -> String {
    // Browsers fill in and store passwords in spite of `off`. They do neither with a one-time code.
    let (kind, completion) = if prompt.echo {
        ("text", "off")
    } else {
        ("password", "one-time-code")
    };

    let focus = if index == 0 { " autofocus" } else { "" };
    format!(
        "<label for=\"answer{index}\">{}</label><input id=\"answer{index}\" name=\"answer{index}\" type=\"{kind}\" \
         autocomplete=\"{completion}\" spellcheck=\"false\"{focus}>",
        prompt.text.html()
    )
}

/// Returns the reply of a closed page.
fn too_late() -> PageReply {
    page(
        StatusCode::GONE,
        "Too late",
        "<p>This was answered already, or nobody waits for it any more.</p>",
    )
}

/// Returns a whole page with headers against caching, framing and foreign content.
fn page(status: StatusCode, title: &str, content: &str) -> PageReply {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>{content}</html>"
    );

    let mut reply = Response::new(Full::new(Bytes::from(html)));
    *reply.status_mut() = status;

    // No script and no foreign content runs on the page, even if an escape were missing somewhere.
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
    ] {
        reply
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }

    reply
}
