//! Status replies of a server (section 7 of the draft).

use crate::foreign_text::ForeignText;

/// Limit for the length of a server's own words in a message, in bytes.
const MAX_REASON_BYTES: usize = 300;

/// Status of a request: success or an error. As an error, it prints the [`reason`](Status::reason).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub struct Status {
    /// Status code.
    pub code: StatusCode,
    /// Message of the server, empty if there is none.
    pub message: ForeignText,
}

/// Status codes of SFTP (`SSH_FX_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusCode {
    /// The request succeeded.
    Ok,
    /// Nothing more is left to read.
    EndOfFile,
    /// The file does not exist.
    NoSuchFile,
    /// The server refuses the request, or the account has no permission.
    PermissionDenied,
    /// Any other failure.
    Failure,
    /// The request is malformed.
    BadMessage,
    /// A code which only clients use: there is no connection.
    NoConnection,
    /// A code which only clients use: the connection was lost.
    ConnectionLost,
    /// The server does not support the request.
    Unsupported,
    /// A code unknown to version 3.
    Other(u32),
}

impl From<u32> for StatusCode {
    fn from(code: u32) -> Self {
        // Later versions define further codes, which a server may send all the same.
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
    /// Returns the error in words for a reader. Common codes have plain words; otherwise the
    /// message of the server is quoted.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.code {
            StatusCode::NoSuchFile => "no such file or directory".to_owned(),
            StatusCode::PermissionDenied => "permission denied".to_owned(),
            // OpenSSH's server says no more of many errors, such as a full disk.
            StatusCode::Failure
                if self.message.is_empty()
                    || self.message.raw().eq_ignore_ascii_case("failure") =>
            {
                "the server reports a failure without a reason".to_owned()
            }
            code if self.message.is_empty() => format!("{code:?}"),
            _ => self.message.clone().cut(MAX_REASON_BYTES).to_string(),
        }
    }
}
