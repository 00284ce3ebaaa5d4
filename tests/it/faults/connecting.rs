//! Links that break, stall or drip while a connection is made.

use serde_json::json;

use super::{BreakPoint, Rig, assert_helpful, break_points, each};
use crate::support::link::Break;

/// In the greeting, the key exchange, the log-in and behind it, in percent of all bytes; up to half, nobody is logged in.
const SHARES: [u64; 6] = [0, 1, 25, 50, 75, 95];
const MANNERS: [Break; 4] = [Break::End, Break::Reset, Break::Stall, Break::HalfEnd];

#[tokio::test(flavor = "multi_thread")]
async fn a_break_while_connecting_is_an_error_and_the_next_call_works() {
    let rig = Rig::new();
    let good = rig.connected().await.passed();
    each(break_points(good, &SHARES, &MANNERS), async |at_point| {
        breaks_while_connecting(&rig, at_point, good).await;
    })
    .await;
}

async fn breaks_while_connecting(rig: &Rig, at_point: BreakPoint, good: [u64; 2]) {
    let mut line = rig.line().await;
    line.link
        .break_after(at_point.direction, at_point.after, at_point.how);
    let arguments = json!({"host": "host", "timeoutMs": 4000});
    let connected = line.call("ssh_connect", arguments).await;
    assert!(
        !connected.is_error() || line.link.has_broken(),
        "{at_point:?}: {}",
        connected.text()
    );

    if connected.is_error() {
        assert_helpful(&connected);
        assert!(
            at_point.how == Break::Stall || connected.text().contains("try again"),
            "{at_point:?}: {}",
            connected.text()
        );

        line.call("ssh_connect", json!({"host": "host"})).await.ok();
        line.works("ssh_exec").await;
    } else {
        assert!(
            at_point.after > good[at_point.direction as usize] / 2,
            "{at_point:?}: {}",
            connected.text()
        );
        // The login shell answers in a varying number of packets, so the break may come later.
        line.works_once_told("ssh_exec").await;
    }
}
