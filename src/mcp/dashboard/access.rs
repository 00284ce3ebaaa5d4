//! Access to the page: a link that works once, exchanged for a cookie.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use crate::{lock::lock, password::Password, random};

/// Time for which a link can be used.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Limit of unused links. A further link replaces the oldest.
const MAX_LINKS: usize = 16;

/// Query parameter with the key of a link.
const PARAMETER: &str = "key";

/// Secrets which admit browsers to the page of a daemon. They are created when the daemon starts
/// and die with it.
#[derive(Debug)]
pub struct AccessKeys {
    /// Keys of the unused links with the time of creation, the oldest first.
    links: Mutex<VecDeque<(Password, Instant)>>,
    /// Value of the cookie.
    cookie: Password,
    /// Key in the forms of the page.
    form: Password,
}

impl AccessKeys {
    /// Creates new secrets.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub fn new() -> io::Result<Self> {
        let word = || random::hex::<16>().map(Password::from);
        Ok(Self {
            links: Mutex::default(),
            cookie: word()?,
            form: word()?,
        })
    }

    /// Creates a link, which can be used once within an hour, and returns its path.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub fn link(&self) -> io::Result<String> {
        let word = random::hex::<16>()?;
        let path = format!("/?{PARAMETER}={word}");
        // Links may be asked for without ever being used, so the oldest makes room.
        let mut links = self.links();
        if links.len() == MAX_LINKS {
            links.pop_front();
        }

        links.push_back((Password::from(word), Instant::now()));

        Ok(path)
    }

    /// Uses up the link with this key. Returns `false` if there is no such link any more.
    pub(super) fn redeem(&self, key: &str) -> bool {
        let mut links = self.links();
        links.retain(|(_, made)| made.elapsed() < LIFETIME);
        let found = links.iter().position(|(word, _)| same(word, key));
        found.is_some_and(|index| links.remove(index).is_some())
    }

    /// Returns the value of the `Set-Cookie` header for a browser. Browsers share cookies between
    /// all ports of a machine, so the name of the cookie contains the port.
    pub(super) fn set_cookie(&self, port: u16) -> String {
        format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict",
            cookie_name(port),
            self.cookie.reveal()
        )
    }

    /// Returns true if a request carries the cookie of this daemon and port.
    pub(super) fn admit(&self, headers: &HeaderMap, port: u16) -> bool {
        let name = cookie_name(port);
        let sent = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());

        // A browser sends the cookies of all ports of this machine in one header.
        let mut values = sent
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        values.any(|(sent, value)| sent == name && same(&self.cookie, value))
    }

    /// Returns the key for the forms of the page, which no other site can know.
    pub(super) fn form(&self) -> &Password {
        &self.form
    }

    /// Returns true if `key` is the key in the forms of the page.
    pub(super) fn is_form(&self, key: &str) -> bool {
        same(&self.form, key)
    }

    fn links(&self) -> MutexGuard<'_, VecDeque<(Password, Instant)>> {
        lock(&self.links)
    }
}

/// Returns the key in the query of a link.
pub(super) fn key_in(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == PARAMETER)
        .map(|(_, key)| key.into_owned())
}

/// Returns the name of the cookie for this port.
fn cookie_name(port: u16) -> String {
    format!("mcp-ssh-sessions-{port}")
}

/// Compares a secret with a guess, in the same time for right and wrong guesses.
fn same(word: &Password, other: &str) -> bool {
    bool::from(word.reveal().as_bytes().ct_eq(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(access: &AccessKeys) -> String {
        let link = access.link().unwrap();
        key_in(link.strip_prefix("/?").unwrap()).unwrap()
    }

    #[test]
    fn a_link_works_once_and_no_other_key_does() {
        let access = AccessKeys::new().unwrap();
        let (first, second) = (key(&access), key(&access));
        assert!(
            !access.redeem("")
                && !access.redeem(first.strip_suffix(|_| true).unwrap())
                && !access.redeem(&format!("{first}0"))
        );

        assert!(!access.redeem(access.form().reveal()) && !access.redeem(access.cookie.reveal()));
        assert!(access.redeem(&second) && !access.redeem(&second));
        assert!(access.redeem(&first) && !access.redeem(&first));
        let many: Vec<String> = (0..=MAX_LINKS).map(|_| key(&access)).collect();
        let redeemed: Vec<bool> = many.iter().map(|key| access.redeem(key)).collect();
        assert!(!redeemed[0] && redeemed[1..].iter().all(|works| *works));
    }

    #[test]
    fn only_the_cookie_of_this_daemon_and_port_lets_a_browser_in() {
        let access = AccessKeys::new().unwrap();
        let set = access.set_cookie(7722);
        let (cookie, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
        let word = cookie.split_once('=').unwrap().1;

        for (sent, admitted) in [
            (vec![cookie.to_owned()], true),
            (vec![format!("a=b; {cookie};c=d")], true),
            (vec!["a=b".to_owned(), cookie.to_owned()], true),
            (vec![format!("mcp-ssh-sessions-7723={word}")], false),
            (
                vec![format!("mcp-ssh-sessions-7722={}", access.form().reveal())],
                false,
            ),
            (vec!["mcp-ssh-sessions-7722=".to_owned()], false),
            (vec![word.to_owned()], false),
            (vec![], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &sent {
                headers.append(header::COOKIE, value.parse().unwrap());
            }

            assert_eq!(access.admit(&headers, 7722), admitted, "{sent:?}");
        }

        assert!(!format!("{access:?}").contains(word));
    }
}
