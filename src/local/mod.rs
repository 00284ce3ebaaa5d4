//! Access to files of this machine, safe against redirection by other users.
//!
//! A path given by the user is walked once, to a [`LocalName`]: an open directory and a name in it.
//! All later operations are relative to that directory ([`Folder`]), so nothing exchanged meanwhile
//! can lead elsewhere.

pub(crate) mod folder;
pub(crate) mod home;
pub(super) mod local_name;
mod lock_file;
pub(crate) mod trust;

pub(crate) use self::{
    folder::{Folder, only_ours},
    local_name::LocalName,
    lock_file::lock_file,
};
pub(crate) use crate::tree::entry::EntryKind;
