//! The bearer token of RFC 6750, which admits clients to the daemon.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{local::LocalName, password::Password};

/// Minimum length of a token, in characters. A shorter token could be guessed.
const MIN_TOKEN_CHARS: usize = 16;

/// Limit of bytes read from a token file. A longer token would not fit into a header.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Secret shared between the daemon and all clients: at least 16 printable ASCII characters.
#[derive(Debug)]
pub struct Token(Password);

/// Reason why there is no valid token.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {source}", file.display())]
    Read {
        /// Path of the file.
        file: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// Other users have access to the file.
    #[error("the token file {} can be read by other users; run: chmod 600 {}", .0.display(), .0.display())]
    Open(PathBuf),
    /// The token is too short, or contains characters which no header can carry.
    #[error(
        "a token needs at least {MIN_TOKEN_CHARS} characters, all printable ASCII without spaces; make one with: openssl rand -hex 32"
    )]
    Unfit,
}

impl Token {
    /// Reads the token from `file` and removes white space around the token. Only the owner may
    /// have access to the file.
    ///
    /// # Errors
    /// The file cannot be read, other users have access to it, or the token is not valid.
    pub fn read(file: &Path) -> Result<Self, AccessTokenError> {
        let unread = |source| AccessTokenError::Read {
            file: file.to_owned(),
            source,
        };

        // The shell may pass a descriptor, as for `<(pass show token)`; it may be a pipe and is
        // read as it is.
        let opened = if file.starts_with("/dev/fd") {
            File::open(file)
        } else {
            LocalName::resolve(file).and_then(|name| name.open())
        };

        let opened = opened.map_err(unread)?;

        #[cfg(unix)]
        {
            // Asked of the opened file, which nobody can exchange any more.
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

        // The whole text is secret: as a `Password` it is wiped after use.
        let text = Password::from(text);
        Self::new(text.reveal().trim().to_owned())
    }

    /// Creates a token from text.
    ///
    /// # Errors
    /// The text is shorter than 16 characters, or contains other characters than printable ASCII
    /// without spaces.
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

    /// Returns the value of a client's `Authorization` header, which is marked as sensitive.
    pub(in crate::mcp) fn header(&self) -> Option<header::HeaderValue> {
        let mut value =
            header::HeaderValue::try_from(format!("Bearer {}", self.0.reveal())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Returns true if a request carries this token and no other. The comparison takes the same
    /// time for right and wrong tokens.
    pub(in crate::mcp) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (sent.next(), sent.next()) else {
            return false;
        };

        let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.split_once(' '))
        else {
            return false;
        };

        // Digests have the same length, so that the time does not tell the length of the token.
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
