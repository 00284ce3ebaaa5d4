//! Upgrades connections to the shared daemon from HTTP to MCP in lines.

use std::{path::PathBuf, sync::Arc};

use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use hyper::upgrade::OnUpgrade;

use super::{io::Io, lifecycle::Lifecycle};
use crate::{
    mcp::{
        server::SshServer,
        transport::{
            front_request::{DIRECTORY_HEADER, PROTOCOL, VERSION, VERSION_HEADER},
            stdio,
        },
        web::reply::{HttpReply, refusal, reply},
    },
    session::registry::SessionRegistry,
};

/// State with which a shared daemon accepts stdio proxies or gives way to a later version.
pub(super) struct Upgrades {
    pub(super) registry: Arc<SessionRegistry>,
    pub(super) lifecycle: Lifecycle,
    /// Secret which proves to a stdio proxy whose daemon this is. `None` where the
    /// kernel reports the user.
    pub(super) proof: Option<HeaderValue>,
}

impl Upgrades {
    /// Accepts a stdio proxy, or gives way to a proxy of a later version. A daemon that gives way
    /// accepts no more clients. It lives on for its present clients and running jobs.
    pub(super) async fn answer(&self, request: &mut Parts, server: &SshServer) -> HttpReply {
        let theirs = text(&request.headers, VERSION_HEADER);

        if is_later(theirs, VERSION) {
            // After this wait, the socket and its lock are free for the daemon of the later
            // version.
            self.lifecycle.stop_listening().await;
            let message = format!(
                "the shared daemon of version {VERSION} (process {}) gives way to version {theirs}",
                std::process::id()
            );

            // The connection of this request does not count as a client.
            let (clients, jobs) = (
                self.lifecycle.connections.len().saturating_sub(1),
                self.registry.jobs.running(),
            );

            let hint = format!(
                "it lives on for its other clients ({clients}) and running jobs ({jobs}), then it ends"
            );
            return refusal(StatusCode::GONE, &message, &hint);
        }

        let wanted = text(&request.headers, header::UPGRADE.as_str()) == PROTOCOL;

        let Some(upgrade) = request.extensions.remove::<OnUpgrade>().filter(|_| wanted) else {
            let hint = "start mcp-ssh-sessions --shared";
            return refusal(
                StatusCode::UPGRADE_REQUIRED,
                "this is for the program's own use",
                hint,
            );
        };

        let server = server
            .clone()
            .for_new_client()
            .in_directory(directory(&request.headers));
        let closing = self.lifecycle.closing.clone();

        self.lifecycle.connections.spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            // A stdio proxy sends nothing before it has the answer.
            if let Ok(parts) = upgraded.downcast::<Io>()
                && parts.read_buf.is_empty()
            {
                let mut stream = parts.io.into_inner();

                // A client may pause for any time without reading, while its computer sleeps for
                // example.
                stream.as_mut().set_write_timeout_pinned(None);
                stdio::serve_stream(server, stream, &closing).await;
            }
        });

        let mut answer = reply(StatusCode::SWITCHING_PROTOCOLS, "text/plain", "");
        let headers = answer.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
        headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
        if let Some(proof) = &self.proof {
            headers.insert(PROTOCOL, proof.clone());
        }

        answer
    }
}

/// Returns the value of a header, or an empty text if the header is missing or unreadable.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Returns the working directory of a stdio proxy; `None` if the header is missing or the path is
/// not absolute.
#[cfg(unix)]
fn directory(headers: &HeaderMap) -> Option<PathBuf> {
    let bytes = headers.get(DIRECTORY_HEADER)?.as_bytes();
    let path = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes));
    path.is_absolute().then_some(path)
}

/// Returns the working directory of a stdio proxy; `None` if the header is missing or the path is
/// not absolute.
#[cfg(not(unix))]
fn directory(headers: &HeaderMap) -> Option<PathBuf> {
    let path = PathBuf::from(std::str::from_utf8(headers.get(DIRECTORY_HEADER)?.as_bytes()).ok()?);
    path.is_absolute().then_some(path)
}

/// Returns true if the first version (semver.org) is later than the second, by the three numbers.
/// An invalid version is never later.
fn is_later(version: &str, than: &str) -> bool {
    let numbers = |version: &str| -> Option<Vec<u64>> {
        let core = version.split(['-', '+']).next()?;
        let numbers: Vec<u64> = core
            .split('.')
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()?;

        (numbers.len() == 3).then_some(numbers)
    };

    matches!((numbers(version), numbers(than)), (Some(version), Some(than)) if version > than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, than, later) in [
            ("0.1.1", "0.1.0", true),
            ("0.10.0", "0.9.9", true),
            ("1.0.0", "0.99.99", true),
            ("0.1.0", "0.1.0", false),
            ("0.1.0", "0.1.1", false),
            ("0.2.0-beta.1", "0.1.0", true),
            ("0.1.0-beta.1", "0.1.0", false),
            ("0.1.0+build", "0.1.0", false),
            ("", "0.1.0", false),
            ("2", "0.1.0", false),
            ("99.x.0", "0.1.0", false),
        ] {
            assert_eq!(is_later(version, than), later, "{version} {than}");
        }
    }
}
