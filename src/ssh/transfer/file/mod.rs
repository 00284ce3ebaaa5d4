//! The transfer of a single file, in either direction.

pub(super) mod download;
pub(super) mod early_flush;
pub(super) mod finish_write;
pub(super) mod growing_digest;
pub(super) mod local_temp;
pub(super) mod origin_file;
pub(super) mod receive;
pub(super) mod remote_digest;
pub(super) mod remote_temp;
pub(super) mod send;
pub(super) mod source;
pub(super) mod upload;
