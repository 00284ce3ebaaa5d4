//! How a server says that a request is done, or why not (section 7 of the draft).

/// The longest that a server's own words are, in characters.
const MAX_REASON_CHARS: usize = 300;

/// What a server answers to a request that has no other answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub struct Status {
    /// The outcome.
    pub code: StatusCode,
    /// The server's own words; empty where it has none. Not to be trusted.
    pub message: String,
}

/// `SSH_FX_…`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusCode {
    /// Done.
    Ok,
    /// There is nothing more to read.
    EndOfFile,
    /// There is no such file.
    NoSuchFile,
    /// The server may not do it, or does not want to.
    PermissionDenied,
    /// Anything else.
    Failure,
    /// The request is not SFTP, or not meant.
    BadMessage,
    /// A pseudo-error of clients: there is no connection.
    NoConnection,
    /// A pseudo-error of clients: the connection was lost.
    ConnectionLost,
    /// The server does not know this request.
    Unsupported,
    /// A code that version 3 does not have.
    Other(u32),
}

impl From<u32> for StatusCode {
    fn from(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::EndOfFile,
            2 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            5 => Self::BadMessage,
            6 => Self::NoConnection,
            7 => Self::ConnectionLost,
            8 => Self::Unsupported,
            other => Self::Other(other),
        }
    }
}

impl Status {
    /// What a person reads: in plain words where the code has a meaning, else what the server said, made harmless.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.code {
            StatusCode::NoSuchFile => "no such file or directory".to_owned(),
            StatusCode::PermissionDenied => "permission denied".to_owned(),
            code if self.message.is_empty() => format!("{code:?}"),
            _ => self.message.escape_debug().take(MAX_REASON_CHARS).collect(),
        }
    }
}
