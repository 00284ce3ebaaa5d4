//! Who may look at the page: whoever was given a link, once, and has the cookie that it was exchanged for.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use crate::{mcp::prompt::secret_page::random_word, password::Password};

/// How long a link can be used.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How many links may wait to be used; the oldest goes.
const MAX_LINKS: usize = 16;

/// The parameter of a link.
const PARAMETER: &str = "key";

/// The keys of a daemon, made when it starts and gone when it ends.
#[derive(Debug)]
pub struct AccessKeys {
    links: Mutex<VecDeque<(Password, Instant)>>,
    cookie: Password,
    form: Password,
}

impl AccessKeys {
    /// New ones.
    ///
    /// # Errors
    /// No random number is to be had.
    pub fn new() -> io::Result<Self> {
        let word = || random_word().map(Password::from);
        Ok(Self {
            links: Mutex::default(),
            cookie: word()?,
            form: word()?,
        })
    }

    /// The path of a new link, which can be used once, within an hour.
    ///
    /// # Errors
    /// No random number is to be had.
    pub fn link(&self) -> io::Result<String> {
        let word = random_word()?;
        let path = format!("/?{PARAMETER}={word}");
        let mut links = self.links();
        if links.len() == MAX_LINKS {
            links.pop_front();
        }

        links.push_back((Password::from(word), Instant::now()));

        Ok(path)
    }

    /// Takes the link of this key; `false` if there is none any more.
    pub(super) fn redeem(&self, key: &str) -> bool {
        let mut links = self.links();
        links.retain(|(_, made)| made.elapsed() < LIFETIME);
        let found = links.iter().position(|(word, _)| same(word, key));
        found.is_some_and(|index| links.remove(index).is_some())
    }

    /// The cookie that a browser is to send from now on. A browser has the same cookies for all ports of a machine, so the
    /// port is in the name.
    pub(super) fn set_cookie(&self, port: u16) -> String {
        format!(
            "{}={}; Path=/; HttpOnly; SameSite=Strict",
            cookie_name(port),
            self.cookie.reveal()
        )
    }

    /// Whether it sends that.
    pub(super) fn admit(&self, headers: &HeaderMap, port: u16) -> bool {
        let name = cookie_name(port);
        let sent = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());

        let mut values = sent
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        values.any(|(sent, value)| sent == name && same(&self.cookie, value))
    }

    /// What a form of the page holds, and that of no other site can.
    pub(super) fn form(&self) -> &Password {
        &self.form
    }

    /// Whether a form holds it.
    pub(super) fn is_form(&self, key: &str) -> bool {
        same(&self.form, key)
    }

    fn links(&self) -> MutexGuard<'_, VecDeque<(Password, Instant)>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key in the query of a link.
pub(super) fn key_in(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == PARAMETER)
        .map(|(_, key)| key.into_owned())
}

fn cookie_name(port: u16) -> String {
    format!("mcp-ssh-sessions-{port}")
}

/// Takes as long for a wrong one as for the right one.
fn same(word: &Password, other: &str) -> bool {
    bool::from(word.reveal().as_bytes().ct_eq(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(keys: &AccessKeys) -> String {
        let link = keys.link().unwrap();
        key_in(link.strip_prefix("/?").unwrap()).unwrap()
    }

    #[test]
    fn a_link_works_once_and_no_other_key_does() {
        let keys = AccessKeys::new().unwrap();
        let (first, second) = (key(&keys), key(&keys));
        assert!(
            !keys.redeem("")
                && !keys.redeem(first.strip_suffix(|_| true).unwrap())
                && !keys.redeem(&format!("{first}0"))
        );

        assert!(!keys.redeem(keys.form().reveal()) && !keys.redeem(keys.cookie.reveal()));
        assert!(keys.redeem(&second) && !keys.redeem(&second));
        assert!(keys.redeem(&first) && !keys.redeem(&first));
        let many: Vec<String> = (0..=MAX_LINKS).map(|_| key(&keys)).collect();
        let redeemed: Vec<bool> = many.iter().map(|key| keys.redeem(key)).collect();
        assert!(!redeemed[0] && redeemed[1..].iter().all(|works| *works));
    }

    #[test]
    fn only_the_cookie_of_this_daemon_and_port_lets_a_browser_in() {
        let keys = AccessKeys::new().unwrap();
        let set = keys.set_cookie(7722);
        let (cookie, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
        let word = cookie.split_once('=').unwrap().1;

        for (sent, admitted) in [
            (vec![cookie.to_owned()], true),
            (vec![format!("a=b; {cookie};c=d")], true),
            (vec!["a=b".to_owned(), cookie.to_owned()], true),
            (vec![format!("mcp-ssh-sessions-7723={word}")], false),
            (
                vec![format!("mcp-ssh-sessions-7722={}", keys.form().reveal())],
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

            assert_eq!(keys.admit(&headers, 7722), admitted, "{sent:?}");
        }

        assert!(!format!("{keys:?}").contains(word));
    }
}
