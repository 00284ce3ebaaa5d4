//! The addresses of a host name.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    process::Stdio,
};

use tokio::net::lookup_host;

use crate::child;

/// Asks the resolver that this program was built with, then, where that finds nothing, the system's own through
/// `getent ahosts`: a statically linked program knows neither multicast DNS (`.local`) nor other sources that
/// nsswitch.conf(5) names.
///
/// # Errors
/// What the first resolver said, if neither finds an address.
pub(in crate::ssh) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    // musl waits seconds for an answer that it cannot get.
    let multicast = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.eq_ignore_ascii_case("local"));

    if multicast && cfg!(target_env = "musl") {
        let found = ask_system(host, port).await;
        if !found.is_empty() {
            return Ok(found);
        }
    }

    let error = match lookup_host((host, port)).await {
        Ok(found) => return Ok(found.collect()),
        Err(error) => error,
    };

    let found = ask_system(host, port).await;
    if found.is_empty() {
        Err(error)
    } else {
        Ok(found)
    }
}

/// The answer of `getent ahosts`; nothing where there is no such program.
async fn ask_system(host: &str, port: u16) -> Vec<SocketAddr> {
    // Not every `getent` knows `--`.
    if cfg!(not(unix)) || host.starts_with('-') {
        return Vec::new();
    }

    let asked = child::command("getent")
        .args(["ahosts", host])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;

    asked
        .map(|answer| read(&String::from_utf8_lossy(&answer.stdout), port))
        .unwrap_or_default()
}

/// `address socktype name` a line; each address comes once for each type of socket.
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
