//! The bearer token of RFC 6750: who knows it may use the daemon.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{local::LocalName, password::Password};

/// The fewest characters of a token: fewer could be guessed.
const MIN_TOKEN_CHARS: usize = 16;

/// Of a longer file, in bytes, the rest is not read: it would be longer than any header.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A secret shared with the clients.
#[derive(Debug)]
pub struct Token(Password);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {source}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("the token file {} can be read by other users; run: chmod 600 {}", .0.display(), .0.display())]
    Open(PathBuf),
    /// It is too short, or holds what a header cannot.
    #[error(
        "a token needs at least {MIN_TOKEN_CHARS} characters, all printable ASCII without spaces; make one with: openssl rand -hex 32"
    )]
    Unfit,
}

impl Token {
    /// The token in `file`, without the white space around it; the file must be readable by its owner alone.
    ///
    /// # Errors
    /// The file cannot be read or others can read it, or the token is unfit.
    pub fn read(file: &Path) -> Result<Self, AccessTokenError> {
        let unread = |source| AccessTokenError::Read {
            file: file.to_owned(),
            source,
        };

        // A descriptor of the shell that started us, such as `<(pass show token)`, may be a pipe and is read as it is.
        let opened = if file.starts_with("/dev/fd") {
            File::open(file)
        } else {
            LocalName::resolve(file).and_then(|place| place.open())
        };

        let opened = opened.map_err(unread)?;

        #[cfg(unix)]
        {
            // Of the very file that is read.
            use std::os::unix::fs::PermissionsExt as _;
            if opened.metadata().map_err(unread)?.permissions().mode() & 0o077 != 0 {
                return Err(AccessTokenError::Open(file.to_owned()));
            }
        }

        let mut text = String::new();
        opened
            .take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(unread)?;

        let text = Password::from(text);
        Self::new(text.reveal().trim().to_owned())
    }

    /// This very token.
    ///
    /// # Errors
    /// It is shorter than 16 characters or holds others than printable ASCII.
    pub fn new(token: String) -> Result<Self, AccessTokenError> {
        let token = Password::from(token);
        let fit = token.reveal().len() >= MIN_TOKEN_CHARS
            && token.reveal().bytes().all(|byte| byte.is_ascii_graphic());
        if fit {
            Ok(Self(token))
        } else {
            Err(AccessTokenError::Unfit)
        }
    }

    /// What a client sends in its `Authorization` header.
    pub(in crate::mcp) fn header(&self) -> Option<header::HeaderValue> {
        let mut value =
            header::HeaderValue::try_from(format!("Bearer {}", self.0.reveal())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether a request carries this token, and only this one. Takes as long for a wrong one as for the right one.
    pub(in crate::mcp) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (sent.next(), sent.next()) else {
            return false;
        };

        let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.split_once(' '))
        else {
            return false;
        };

        // Of the digests, so that the length shows neither.
        let same = Sha256::digest(token.trim()).ct_eq(&Sha256::digest(self.0.reveal()));
        scheme.eq_ignore_ascii_case("bearer") && bool::from(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn only_the_very_token_is_taken() {
        let token = Token::new(SECRET.into()).unwrap();
        for (sent, taken) in [
            (vec!["Bearer 0123456789abcdef"], true),
            (vec!["bearer 0123456789abcdef"], true),
            (vec!["Bearer 0123456789abcdeF"], false),
            (vec!["Bearer 0123456789abcde"], false),
            (vec!["Bearer 0123456789abcdef0"], false),
            (vec!["Bearer "], false),
            (vec!["Basic 0123456789abcdef"], false),
            (vec!["0123456789abcdef"], false),
            (vec!["Bearer 0123456789abcdef", "Bearer x"], false),
            (vec![], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &sent {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }

            assert_eq!(token.is_in(&headers), taken, "{sent:?}");
        }
    }

    #[test]
    fn a_weak_token_is_refused() {
        for weak in [
            "",
            "short",
            "with space in it all",
            "0123456789abcde\n",
            "ключключключключ",
        ] {
            assert!(
                matches!(Token::new(weak.into()), Err(AccessTokenError::Unfit)),
                "{weak}"
            );
        }

        assert!(!format!("{:?}", Token::new(SECRET.into())).contains(SECRET));
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(matches!(
            Token::read(&file),
            Err(AccessTokenError::Read { .. })
        ));

        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Token::read(&file), Err(AccessTokenError::Open(_))));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            Token::read(&file).unwrap().header().unwrap(),
            "Bearer 0123456789abcdef"
        );

        // A pipe is not waited for.
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(
            Token::read(&pipe),
            Err(AccessTokenError::Read { .. })
        ));

        let shared = crate::local::folder::others::sticky();

        if crate::local::folder::others::plant(&file, &shared.path().join("token")) {
            assert!(matches!(
                Token::read(&shared.path().join("token")),
                Err(AccessTokenError::Read { .. })
            ));
        }
    }
}
