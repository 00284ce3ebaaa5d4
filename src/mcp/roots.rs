//! Folders in which a client works (MCP roots). Deprecated by SEP-2577, but still in use.
//!
//! A client that declares the capability is asked by a request, or in revision 2026-07-28 by a
//! result that asks for input.
#![expect(deprecated, reason = "as long as clients declare it")]

use std::path::PathBuf;

use rmcp::model::{ClientCapabilities, ListRootsRequest, ListRootsResult};

/// Returns true if the client can be asked for folders.
pub(super) fn are_declared(client: &ClientCapabilities) -> bool {
    client.roots.is_some()
}

/// Returns the request for the client's folders.
pub(super) fn request() -> ListRootsRequest {
    ListRootsRequest::default()
}

/// Returns the folders in the answer of a client. Leaves out addresses that are not paths of this
/// machine.
pub(super) fn folders(answer: &ListRootsResult) -> Vec<PathBuf> {
    answer
        .roots
        .iter()
        .filter_map(|root| path_of(&root.uri))
        .collect()
}

/// Returns the path of a `file:` URI on this machine (RFC 8089). Returns `None` for other schemes,
/// other hosts and relative paths.
fn path_of(uri: &str) -> Option<PathBuf> {
    // RFC 8089 allows `localhost` for this machine. Any other host leaves a path that is not
    // absolute.
    let rest = uri.strip_prefix("file://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());

    while let Some((first, after)) = rest.split_first() {
        // An invalid escape is taken literally: a client may have left a `%` unencoded.
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok());

        if let Some(byte) = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }

    // Paths on Unix are bytes, and need not be UTF-8.
    #[cfg(unix)]
    let path = PathBuf::from(os_string(bytes));

    // On Windows, the path of `file:///C:/…` begins after the slash.
    #[cfg(not(unix))]
    let path = PathBuf::from(String::from_utf8(bytes).ok()?.trim_start_matches('/'));
    path.is_absolute().then_some(path)
}

/// Converts bytes to a string of the system, without loss.
#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_client_is_a_path_of_this_machine() {
        for (uri, path) in [
            ("file:///home/u/a%20b", Some("/home/u/a b")),
            ("file://localhost/x", Some("/x")),
            ("file:///100%25", Some("/100%")),
            ("file:///a%zz%", Some("/a%zz%")),
            ("file://elsewhere/x", None),
            ("https://example.com/x", None),
            ("/x", None),
        ] {
            assert_eq!(path_of(uri), path.map(PathBuf::from), "{uri}");
        }
    }
}
