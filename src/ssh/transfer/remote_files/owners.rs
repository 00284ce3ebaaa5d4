//! Names of the users and groups to which files belong.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::{RemoteFiles, TransferError};
use crate::{foreign_text::escape_line, sftp::attributes::Attributes};

/// Number of ids in a request, so that it fits into a packet.
const MAX_IDS: usize = 1_000;

/// Names of users and groups by number.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Owners {
    /// Returns user and group of a file, such as `root:root`. A number stands for an unknown name.
    pub(super) fn of(&self, attributes: &Attributes) -> Option<String> {
        let (user, group) = attributes.owner?;
        let name = |names: &HashMap<u32, String>, id: u32| {
            names.get(&id).cloned().unwrap_or_else(|| id.to_string())
        };

        Some(format!(
            "{}:{}",
            name(&self.users, user),
            name(&self.groups, group)
        ))
    }
}

impl RemoteFiles {
    /// Returns user and group of a file, such as `root:root`.
    ///
    /// # Errors
    /// None; the result suits a caller that joins it with another request.
    pub(super) async fn owner(
        &self,
        attributes: &Attributes,
    ) -> Result<Option<String>, TransferError> {
        Ok(self.owners([attributes]).await.of(attributes))
    }

    /// Asks for the names of the owners of these files. Without names, numbers are shown.
    pub(super) async fn owners(&self, files: impl IntoIterator<Item = &Attributes>) -> Owners {
        let (users, groups): (BTreeSet<u32>, BTreeSet<u32>) =
            files.into_iter().filter_map(|file| file.owner).unzip();
        let [users, groups] =
            [users, groups].map(|ids| ids.into_iter().take(MAX_IDS).collect::<Vec<_>>());
        if users.is_empty() {
            return Owners::default();
        }

        let Ok(names) = self.client.account_names(&users, &groups).await else {
            return Owners::default();
        };

        Owners {
            users: by_id(&users, names.users),
            groups: by_id(&groups, names.groups),
        }
    }
}

/// Maps ids to names that fit on a line.
fn by_id(ids: &[u32], names: Vec<Bytes>) -> HashMap<u32, String> {
    let is_name = |name: &Bytes| (1..=64).contains(&name.len());
    ids.iter()
        .zip(names)
        .filter(|(_, name)| is_name(name))
        .map(|(id, name)| (*id, escape_line(&name)))
        .collect()
}
