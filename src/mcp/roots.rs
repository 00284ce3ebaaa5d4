//! The folders that a client works in (MCP roots). Deprecated (SEP-2577), in use all the same: a client that declares it is
//! asked, by a request or, in revision 2026-07-28, by a result that asks for input.
#![expect(deprecated, reason = "as long as clients declare it")]

use std::path::PathBuf;

use rmcp::model::{ClientCapabilities, ListRootsRequest, ListRootsResult};

/// Whether a client can be asked.
pub(super) fn are_declared(client: &ClientCapabilities) -> bool {
    client.roots.is_some()
}

/// What it is asked.
pub(super) fn request() -> ListRootsRequest {
    ListRootsRequest::default()
}

/// What it has answered, as far as these are folders of this machine.
pub(super) fn folders(answer: &ListRootsResult) -> Vec<PathBuf> {
    answer
        .roots
        .iter()
        .filter_map(|root| path_of(&root.uri))
        .collect()
}

/// The path of a `file:` URI on this machine (RFC 8089).
fn path_of(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());

    while let Some((first, after)) = rest.split_first() {
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

    #[cfg(unix)]
    let path = PathBuf::from(os_string(bytes));

    // file:///C:/…
    #[cfg(not(unix))]
    let path = PathBuf::from(String::from_utf8(bytes).ok()?.trim_start_matches('/'));
    path.is_absolute().then_some(path)
}

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
