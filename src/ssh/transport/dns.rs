//! Looks up the addresses of a host name.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    process::Stdio,
};

use tokio::net::lookup_host;

use crate::child;

/// Looks up the addresses of `host`: by the built-in resolver first, then by `getent ahosts`. A
/// statically linked program knows neither multicast DNS (`.local`) nor other sources of
/// nsswitch.conf(5), but `getent` does.
///
/// # Errors
/// The error of the built-in resolver, if neither finds an address.
pub(in crate::ssh) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // musl's resolver waits several seconds for an answer to such a name, which cannot come.
    let multicast = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("local"));

    if multicast && cfg!(target_env = "musl") {
        let found = query_getent(host, port).await;
        if !found.is_empty() {
            return Ok(found);
        }
    }

    let error = match lookup_host((host, port)).await {
        Ok(found) => return Ok(found.collect()),
        Err(error) => error,
    };

    let found = query_getent(host, port).await;
    if found.is_empty() {
        Err(error)
    } else {
        Ok(found)
    }
}

/// Asks `getent ahosts`; returns nothing if there is no such program.
async fn query_getent(host: &str, port: u16) -> Vec<SocketAddr> {
    // A name like an option is not passed on, since some versions of `getent` do not know `--`.
    if cfg!(not(unix)) || host.starts_with('-') {
        return Vec::new();
    }

    let output = child::command("getent")
        .args(["ahosts", host])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;

    output
        .map(|answer| read(&String::from_utf8_lossy(&answer.stdout), port))
        .unwrap_or_default()
}

/// Parses lines of the form `address socktype name`. Each address appears once per socket type, but
/// is returned once.
fn read(answer: &str, port: u16) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for line in answer.lines() {
        let address = line
            .split_whitespace()
            .next()
            .and_then(|address| address.parse::<IpAddr>().ok());

        if let Some(address) = address.map(|address| SocketAddr::new(address, port))
            && !found.contains(&address)
        {
            found.push(address);
        }
    }

    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_of_the_answer_is_taken_once() {
        let answer = "fe80::1 STREAM box.local\nfe80::1 DGRAM\n192.0.2.7   STREAM\n192.0.2.7 RAW\nnonsense\n\n";
        assert_eq!(
            read(answer, 22),
            [
                "[fe80::1]:22".parse().unwrap(),
                "192.0.2.7:22".parse().unwrap()
            ]
        );
    }

    #[tokio::test]
    async fn an_address_needs_no_resolver_and_nonsense_has_none() {
        assert_eq!(
            addresses("127.0.0.1", 7).await.unwrap(),
            ["127.0.0.1:7".parse().unwrap()]
        );
        assert!(addresses("no-such-host.invalid", 7).await.is_err());
    }
}
