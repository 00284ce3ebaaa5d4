//! Files of this machine: where the person's own are, and how others are kept from having us read or write elsewhere.
//!
//! A path that the person named is walked once, to a [`LocalName`]: an open directory and a name in it. From then on all is
//! done relative to that directory ([`Folder`]), so that nothing that is exchanged meanwhile leads anywhere else.

pub(crate) mod folder;
pub(crate) mod home;
pub(super) mod local_name;

pub(crate) use self::{folder::Folder, local_name::LocalName};
pub(crate) use crate::tree::entry::EntryKind;
