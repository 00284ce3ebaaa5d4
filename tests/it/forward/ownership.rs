//! A forward belongs to one session and one host, whatever happens at the same time.

use std::{fs, sync::Arc, time::Duration};

use mcp_ssh_sessions::{
    forward::{address::ConnectAddress, request::ForwardRequest, state::ForwardDirection},
    session::{
        caller::Caller,
        live::{ConnectOptions, forwards::ForwardError},
        registry::ConnectRequest,
        saved::SavedSession,
    },
};
use serde_json::json;

use super::{
    echo,
    remote::{Lender, client, forms, port},
};
use crate::support::{
    fixture::{TestHost, host_of},
    link::Link,
    questions::{answer_question, result},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_does_not_open_a_disconnected_session_again() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let connected = host_of(&lender.session).await;
    let disconnected = lender.registry.disconnect(Some("host"), false).await;
    disconnected.unwrap();

    let request = ForwardRequest {
        to: ConnectAddress::parse("1").unwrap(),
        listen: None,
        direction: ForwardDirection::Local,
    };
    let forwards = &lender.registry.forwards;
    let permit = lender.session.permit(request, &Caller::default()).await;
    let opened = forwards.open(&lender.session, &connected, permit.unwrap(), None);
    let error = opened.await.unwrap_err();
    assert!(matches!(error, ForwardError::Disconnected), "{error}");
    assert!(forwards.list().is_empty());
    assert!(!lender.session.is_connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_calls_at_once_open_one_forward() {
    let host = TestHost::openssh();
    let lender = Arc::new(Lender::connect(&host.config).await);
    let to = echo().await.to_string();

    for listen in [None, Some(port(&lender.lend(&to, None).await.unwrap()))] {
        lender.registry.forwards.close_all(None).await;
        let listen = listen.map(|port| port.to_string());
        let calls = (0..8).map(|_| {
            let (lender, to, listen) = (Arc::clone(&lender), to.clone(), listen.clone());
            tokio::spawn(async move { lender.lend(&to, listen.as_deref()).await.map(|f| port(&f)) })
        });
        let opened = futures_util::future::join_all(calls.collect::<Vec<_>>()).await;

        let first = *opened[0].as_ref().unwrap().as_ref().unwrap();
        for opened in opened {
            assert_eq!(opened.unwrap().unwrap(), first);
        }
        assert_eq!(lender.registry.forwards.list().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_same_name_has_no_part_in_a_forward() {
    let host = TestHost::openssh();
    let log = host.local("log");
    let command = format!("\nForceCommand tee -a {} | sh", log.display());
    let other = TestHost::openssh_with(|settings| settings.extra_config.push_str(&command));
    let both = fs::read_to_string(&host.config).unwrap()
        + &fs::read_to_string(other.sshd.write_ssh_config("other", "")).unwrap();
    fs::write(&host.config, both).unwrap();

    let lender = Lender::connect(&host.config).await;
    let at = host.remote("at");
    let listen = Some(at.to_str().unwrap());
    lender
        .lend(&echo().await.to_string(), listen)
        .await
        .unwrap();
    assert!(at.exists());

    let replacing = ConnectRequest {
        saved: SavedSession {
            host: "other".to_owned(),
            ..lender.session.saved.clone()
        },
        secrets: ConnectOptions::default(),
    };
    let caller = Caller::default();
    lender.registry.connect(replacing, &caller).await.unwrap();
    assert!(lender.registry.forwards.list().is_empty());
    assert!(!at.exists(), "its own host has removed the file");
    let log = fs::read_to_string(log).unwrap();
    assert!(!log.contains("rm -f"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lent_to_a_host_is_not_lent_to_the_next() {
    let host = TestHost::openssh();
    let mut client = client(&host, forms()).await;
    let arguments = json!({"to": echo().await, "direction": "remote"});
    let call = client.begin_call("ssh_forward", arguments.clone()).await;
    let yes = json!({"action": "accept", "content": {"allow": true}});
    answer_question(&mut client, yes).await;
    result(&mut client, call).await.ok();

    // The same name leads elsewhere from now on.
    let link = Link::to(host.port, Duration::ZERO, &[]).await;
    let elsewhere = link.options(host.port);
    let config = host.sshd.write_ssh_config("host", &elsewhere);
    fs::write(&host.config, fs::read(config).unwrap()).unwrap();
    host.sshd.kill_connections();

    let call = client.begin_call("ssh_forward", arguments).await;
    answer_question(&mut client, json!({"action": "decline"})).await;
    assert!(result(&mut client, call).await.is_error());
    let call = client.begin_call("ssh_forward", json!({})).await;
    let list = result(&mut client, call).await.text();
    assert!(list.starts_with("no forwards"), "{list}");
}
