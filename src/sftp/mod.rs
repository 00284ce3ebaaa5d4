//! SFTP version 3 (draft-ietf-secsh-filexfer-02) with the extensions of OpenSSH's `PROTOCOL` file that a client needs.
//! Pure: requests to bytes, bytes to replies. Names, paths and handles are bytes, never text.
//!
//! [`request`] writes a packet, [`content`] one that carries a file's content without copying it, [`frames`] cuts what
//! arrives into packets, whose meaning is a [`reply`].

pub mod attributes;
pub mod content;
mod fields;
pub mod frames;
pub mod handle;
pub mod reply;
pub mod request;
pub mod status;
