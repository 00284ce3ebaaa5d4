//! `UpdateHostKeys`: learns the other keys of a server that has shown a trusted one.

use std::{io, sync::Arc};

use russh::{
    client::{self, Handle},
    keys::{PublicKey, PublicKeyBase64 as _},
};

use super::{HostKeyCheck, read};
use crate::openssh::known_hosts::{HostKey, KnownHostsFile, plan_update};

/// Brings the person's `known_hosts` files up to date with the keys that the server announced, once it has proved that
/// the new ones are its own. What fails changes nothing but the log, as in OpenSSH.
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

async fn try_update(
    check: &Arc<HostKeyCheck>,
    handle: &Handle<impl client::Handler>,
    announced: Vec<PublicKey>,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
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

    if !new.is_empty() {
        handle.hostkeys_prove(new).await?;
    }

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
