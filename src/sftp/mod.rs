//! SFTP version 3 (draft-ietf-secsh-filexfer-02) with the extensions of OpenSSH's `PROTOCOL` file
//! that a client needs. The module is pure: it turns requests into bytes and bytes into replies.
//! Names, paths and handles are bytes, never text.
//!
//! [`request`] encodes requests, and [`content`] encodes writes without copying the file's content.
//! [`frames`] splits the received bytes into packets, which [`reply`] decodes.

pub mod attributes;
pub mod content;
mod fields;
pub mod frames;
pub mod handle;
pub mod reply;
pub mod request;
pub mod status;
