//! Access checks for HTTP requests. Web pages are refused. Other peers need the token or, without a
//! token, have to be processes of this user.

use std::net::IpAddr;

use http::{HeaderMap, StatusCode, Uri, header, request::Parts, uri::Authority};

use super::{newcomers::Newcomer, token::Token};
use crate::{
    mcp::web::reply::{HttpReply, refusal},
    peer::PeerConnection,
};

/// Kind of address at which a connection arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mcp) enum Endpoint {
    /// Loopback address with this port.
    Loopback(u16),
    /// Address which other machines can reach, so that only the token decides.
    Network,
    /// Unix socket or named pipe, which no web page reaches.
    Socket,
}

/// Facts about a connection which are known before the first request.
#[derive(Debug)]
pub(in crate::mcp) struct PeerInfo {
    /// Kind of address at which the connection arrived.
    pub(in crate::mcp) endpoint: Endpoint,
    /// True if a process of this user is at the other end. With a token this is not found out for
    /// TCP, and false.
    pub(in crate::mcp) is_ours: bool,
    /// Connection, for TCP. `None` for a Unix socket or a pipe.
    pub(in crate::mcp) connection: Option<PeerConnection>,
    /// Place among the connections that have not shown the token. `None` without a token.
    pub(in crate::mcp) newcomer: Option<Newcomer>,
}

impl PeerInfo {
    /// Returns true if another user of this machine may be at the other end, whichever address of
    /// the machine the connection uses.
    pub(in crate::mcp) async fn may_be_other_user(&self) -> bool {
        match self.connection {
            Some(connection) => connection.may_be_other_user().await,
            None => !self.is_ours,
        }
    }

    /// Admits the peer for good, so the connection is not a newcomer any more.
    pub(in crate::mcp) fn admit(&self) {
        if let Some(newcomer) = &self.newcomer {
            newcomer.stay();
        }
    }
}

/// Refuses requests of web pages. A browser names the page in `Origin`. A foreign name which was
/// pointed at this machine (DNS rebinding) stands in `Host`.
///
/// # Errors
/// The refusal to send: 403.
pub(in crate::mcp) fn admit_origin(
    request: &Parts,
    endpoint: Endpoint,
) -> Result<(), Box<HttpReply>> {
    let forbidden = |message: &str| {
        let hint = "use the address that the daemon printed when it started, from a program and not from a web page";
        Err(Box::new(refusal(StatusCode::FORBIDDEN, message, hint)))
    };

    // More than one Host is invalid (RFC 9112, section 3.2).
    let Some(host) =
        only(&request.headers, &header::HOST).and_then(|host| host.parse::<Authority>().ok())
    else {
        return forbidden("a request needs one valid Host header");
    };

    // A target in absolute form takes precedence over Host (RFC 9112, section 3.2.2).
    if !is_own(&host, endpoint)
        || request
            .uri
            .authority()
            .is_some_and(|target| *target != host)
    {
        return forbidden("this Host is not served here");
    }

    // Browsers send Origin with forms, also from the daemon's own page.
    if request.headers.contains_key(header::ORIGIN) {
        let origin =
            only(&request.headers, &header::ORIGIN).and_then(|origin| origin.parse::<Uri>().ok());

        let own = origin.is_some_and(|origin| {
            // On a network the daemon does not know its own names, so Origin has to match Host.
            let bare = origin.path_and_query().is_none_or(|path| path == "/");
            let own = |authority: &Authority| match endpoint {
                Endpoint::Loopback(_) => is_own(authority, endpoint),
                Endpoint::Network | Endpoint::Socket => *authority == host,
            };

            origin.scheme_str() == Some("http") && bare && origin.authority().is_some_and(own)
        });

        if !own {
            return forbidden("this Origin is not allowed");
        }
    }

    // Browsers send this header also without Origin, for example when they load an image.
    let site = request.headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return forbidden("a request on behalf of another site is not allowed");
    }

    Ok(())
}

/// Admits clients with the token or, without a token, processes of this user.
///
/// # Errors
/// The refusal to send: 401 or 403.
pub(in crate::mcp) fn admit_visitor(
    headers: &HeaderMap,
    peer: &PeerInfo,
    token: Option<&Token>,
) -> Result<(), Box<HttpReply>> {
    match token {
        Some(token) if token.is_in(headers) => {
            peer.admit();
            Ok(())
        }
        Some(_) => {
            let hint = "send the header `Authorization: Bearer TOKEN` with the token the daemon was started with";
            // A refusal with 401 has to name the scheme (RFC 9110, section 15.5.2).
            let mut reply = refusal(StatusCode::UNAUTHORIZED, "a token is needed", hint);
            reply.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_static("Bearer"),
            );

            Err(Box::new(reply))
        }
        None if peer.is_ours => Ok(()),
        None => {
            let hint =
                "run a daemon of your own, or have it started with --token-file and send the token";
            Err(Box::new(refusal(
                StatusCode::FORBIDDEN,
                "this daemon belongs to another user",
                hint,
            )))
        }
    }
}

/// Returns the value of a header which occurs exactly once, else `None`.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Returns true if an authority names this daemon.
fn is_own(authority: &Authority, endpoint: Endpoint) -> bool {
    // A user name in front of the host could make a foreign host look like ours.
    if authority.as_str().contains('@') {
        return false;
    }

    match endpoint {
        Endpoint::Loopback(port) => {
            authority.port_u16().unwrap_or(80) == port && is_loopback(authority.host())
        }
        Endpoint::Network | Endpoint::Socket => true,
    }
}

/// Returns true for `localhost` and loopback addresses.
fn is_loopback(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);

    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admitted(endpoint: Endpoint, target: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        admit_origin(&request.body(()).unwrap().into_parts().0, endpoint).is_ok()
    }

    #[test]
    fn only_our_own_names_with_our_own_port_are_served_on_loopback() {
        for (host, served) in [
            ("127.0.0.1:7722", true),
            ("localhost:7722", true),
            ("LOCALHOST:7722", true),
            ("[::1]:7722", true),
            ("127.0.0.1", false),
            ("127.0.0.1:80", false),
            ("localhost.evil.example:7722", false),
            ("evil.example:7722", false),
            ("10.0.0.1:7722", false),
            ("0.0.0.0:7722", false),
            ("me@127.0.0.1:7722", false),
            ("127.0.0.1:7722@evil.example", false),
            ("", false),
        ] {
            assert_eq!(
                admitted(Endpoint::Loopback(7722), "/mcp", &[("host", host)]),
                served,
                "{host:?}"
            );
        }

        assert!(!admitted(Endpoint::Loopback(7722), "/mcp", &[]));
        assert!(!admitted(
            Endpoint::Loopback(7722),
            "/mcp",
            &[("host", "127.0.0.1:7722"), ("host", "evil.example")]
        ));

        let host = [("host", "127.0.0.1:7722")];
        assert!(!admitted(
            Endpoint::Loopback(7722),
            "http://evil.example/mcp",
            &host
        ));

        assert!(admitted(
            Endpoint::Loopback(7722),
            "http://127.0.0.1:7722/mcp",
            &host
        ));
    }

    #[test]
    fn only_our_own_origin_is_allowed() {
        for (origin, allowed) in [
            ("http://127.0.0.1:7722", true),
            ("http://localhost:7722", true),
            ("http://[::1]:7722", true),
            ("https://127.0.0.1:7722", false),
            ("http://127.0.0.1:7723", false),
            ("http://127.0.0.1", false),
            ("http://evil.example", false),
            ("http://evil.example:7722", false),
            ("http://localhost.evil.example:7722", false),
            ("http://127.0.0.1:7722@evil.example", false),
            ("null", false),
            ("file://", false),
            ("", false),
            ("chrome-extension://abcdef", false),
        ] {
            let headers = [("host", "127.0.0.1:7722"), ("origin", origin)];
            assert_eq!(
                admitted(Endpoint::Loopback(7722), "/mcp", &headers),
                allowed,
                "{origin:?}"
            );
        }

        let network = |origin| {
            admitted(
                Endpoint::Network,
                "/mcp",
                &[("host", "box.lan:7722"), ("origin", origin)],
            )
        };

        assert!(network("http://box.lan:7722"));
        assert!(!network("http://evil.example"));
        assert!(!network("http://localhost:7722"));
    }

    #[test]
    fn a_browser_that_acts_for_another_site_is_refused() {
        for (site, allowed) in [
            ("cross-site", false),
            ("same-site", false),
            ("same-origin", true),
            ("none", true),
        ] {
            let headers = [("host", "127.0.0.1:7722"), ("sec-fetch-site", site)];
            assert_eq!(
                admitted(Endpoint::Loopback(7722), "/health", &headers),
                allowed,
                "{site}"
            );
        }
    }

    #[test]
    fn without_a_token_only_this_user_enters_else_only_its_holders() {
        let token = Token::new("0123456789abcdef".into()).unwrap();

        let peer = |is_ours| PeerInfo {
            endpoint: Endpoint::Loopback(1),
            is_ours,
            connection: None,
            newcomer: None,
        };

        let mut knows = HeaderMap::new();
        knows.insert(header::AUTHORIZATION, token.header().unwrap());

        for (headers, is_ours, token, status) in [
            (&HeaderMap::new(), true, None, None),
            (&HeaderMap::new(), false, None, Some(403)),
            (&knows, false, None, Some(403)),
            (&HeaderMap::new(), true, Some(&token), Some(401)),
            (&knows, true, Some(&token), None),
            (&knows, false, Some(&token), None),
        ] {
            let refused = admit_visitor(headers, &peer(is_ours), token)
                .err()
                .map(|reply| reply.status().as_u16());
            assert_eq!(refused, status);
        }
    }
}
