//! `UpdateHostKeys`: learns further keys of a server which has shown a trusted key.

use std::{io, sync::Arc};

use russh::{
    client::{self, Handle},
    keys::{PublicKey, PublicKeyBase64 as _},
};

use super::{HostKeyCheck, read};
use crate::openssh::known_hosts::{HostKey, KnownHostsFile, plan_update};

/// Updates the user's `known_hosts` files with the keys announced by the server. New keys are added
/// only after the server has proved that they are its own. As in OpenSSH, a failure only appears in
/// the log.
pub(in crate::ssh) async fn update(
    check: &Arc<HostKeyCheck>,
    handle: &Handle<impl client::Handler>,
    announced: Vec<PublicKey>,
) {
    let host = check.host.as_str();

    match try_update(check, handle, announced).await {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!("known_hosts now has the keys that {host} announced (UpdateHostKeys)");
        }
        Err(error) => tracing::warn!("UpdateHostKeys for {host}: {error}"),
    }
}

/// Does the work of [`update`], and returns true if there were changes to write.
async fn try_update(
    check: &Arc<HostKeyCheck>,
    handle: &Handle<impl client::Handler>,
    announced: Vec<PublicKey>,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    // As in OpenSSH, keys of a type which `HostKeyAlgorithms` does not allow are ignored.
    let announced: Vec<(HostKey, PublicKey)> = announced
        .into_iter()
        .filter_map(|key| {
            Some((
                HostKey::parse(&key.public_key_bytes()).filter(|key| check.allows(key))?,
                key,
            ))
        })
        .collect();

    let keys: Vec<HostKey> = announced.iter().map(|(key, _)| key.clone()).collect();
    // The files may have changed since the check was loaded.
    let mut files = Vec::new();
    for path in &check.user_files {
        files.extend(read(path)?.map(|text| (path.clone(), text)));
    }

    let view: Vec<_> = files
        .iter()
        .map(|(path, text)| KnownHostsFile { path, text })
        .collect();

    let Some(plan) = plan_update(&view, &check.host, &keys) else {
        return Ok(false);
    };

    let new: Vec<PublicKey> = announced
        .into_iter()
        .filter(|(key, _)| plan.new.contains(key))
        .map(|(_, key)| key)
        .collect();

    // Known keys need no proof, because the files list them for this host already.
    if !new.is_empty() {
        handle.hostkeys_prove(new).await?;
    }

    // Writing waits for a file lock, which must not block the async threads.
    let check = Arc::clone(check);
    let written = move || {
        files
            .iter()
            .try_for_each(|(path, _)| check.rewrite(path, &plan))
    };

    let written: io::Result<()> = tokio::task::spawn_blocking(written).await?;
    written?;

    Ok(true)
}
