//! Paths of Windows hosts, such as `C:\x`, as callers type them.

use super::{Grant, LiveSession};
use crate::{
    framing::exec::windows::{may_be_windows_path, sftp_path},
    session::{caller::Caller, error::SessionError},
    ssh::transfer::{EditAction, TransferError},
};

impl LiveSession {
    /// Returns a typed path of the host as SFTP takes it.
    ///
    /// # Errors
    /// The error of connecting.
    pub(super) async fn remote_path(
        &self,
        typed: String,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<String, SessionError> {
        if self
            .are_of_windows([typed.as_bytes()], grant, caller)
            .await?
        {
            Ok(sftp_path(&typed))
        } else {
            Ok(typed)
        }
    }

    /// Returns an action with its typed paths as SFTP takes them.
    ///
    /// # Errors
    /// The error of connecting, or a path cannot be used.
    pub(super) async fn remote_paths(
        &self,
        action: EditAction,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<EditAction, SessionError> {
        if !self.are_of_windows(action.paths(), grant, caller).await? {
            return Ok(action);
        }

        let convert = |path: &str| Ok::<_, TransferError>(sftp_path(path).into_bytes());
        action
            .with_paths(convert)
            .map_err(|error| self.transfer(error))
    }

    /// Returns true if a path is one of Windows. Connects only for a path that may be one: a file of
    /// another system may have such a name.
    async fn are_of_windows<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a [u8]>,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<bool, SessionError> {
        let may_be = |path: &[u8]| std::str::from_utf8(path).is_ok_and(may_be_windows_path);
        Ok(paths.into_iter().any(may_be) && self.host(grant, caller).await?.runs_windows().await)
    }
}
