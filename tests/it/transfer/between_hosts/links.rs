//! A copy whose link to either host is lost goes on over the next one.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{
    TwoHosts, text,
    trees::{make_tree, snapshot},
};
use crate::support::{
    checks::{eventually, random},
    disk::{names, part},
    fixture::TestHost,
    link::{Break, Direction, Link},
    open_sshd::OpenSshd,
};

/// Bytes of the file that is copied: several times what may be in flight.
const LENGTH: usize = 60_000_000;
/// Bytes after which a link is cut.
const CUT: u64 = 25_000_000;
/// Bytes that may be sent more than once for each cut.
const IN_FLIGHT: u64 = 20_000_000;

/// Two hosts behind links which are cut after these numbers of bytes.
async fn behind(web_cuts: &[u64], db_cuts: &[u64]) -> (TwoHosts<OpenSshd, OpenSshd>, Link, Link) {
    let (mut web, mut db) = (TestHost::openssh(), TestHost::openssh());
    let web_link = over_link(&mut web, web_cuts).await;
    let db_link = over_link(&mut db, db_cuts).await;

    (TwoHosts::of(web, db).await, web_link, db_link)
}

async fn over_link(host: &mut TestHost<OpenSshd>, cuts: &[u64]) -> Link {
    let link = Link::to(host.port, Duration::ZERO, cuts).await;
    let through = link.options(host.port);
    host.config = host.sshd.write_ssh_config("host", &through);
    link
}

#[tokio::test]
async fn a_file_goes_on_where_it_stood_whichever_link_is_cut() {
    for (web_cuts, db_cuts) in [
        (&[CUT, CUT][..], &[][..]),
        (&[], &[CUT, CUT]),
        (&[CUT], &[CUT]),
    ] {
        let (mut bench, web_link, db_link) = behind(web_cuts, db_cuts).await;
        let content = random(LENGTH);
        fs::write(bench.web.remote("file"), &content).unwrap();
        fs::write(bench.db.remote("target"), "old").unwrap();
        let result = bench.up("~/file", "target", json!({})).await.ok();
        assert!(fs::read(bench.db.remote("target")).unwrap() == content);

        let seen = result.structured();
        assert_eq!(
            (&seen["verified"], &seen["bytes"]),
            (&json!(true), &json!(LENGTH)),
            "{}",
            result.text()
        );
        assert_eq!(names(&bench.db.home), ["target"]);

        for (host, link, cuts) in [
            (&bench.web, &web_link, web_cuts),
            (&bench.db, &db_link, db_cuts),
        ] {
            let log_ins = host.sshd.log().matches("Accepted publickey").count();
            assert!(log_ins > cuts.len(), "{}", host.sshd.log());
            let most = LENGTH as u64 + 3 * IN_FLIGHT;
            assert!(link.passed() < most, "{} bytes", link.passed());
        }
    }
}

#[tokio::test]
async fn a_tree_goes_on_whichever_link_is_cut() {
    for (web_cuts, db_cuts) in [
        (&[3_000_000, 3_000_000][..], &[][..]),
        (&[], &[3_000_000, 3_000_000]),
        (&[2_000_000], &[5_000_000]),
    ] {
        let (mut bench, _web_link, _db_link) = behind(web_cuts, db_cuts).await;
        let (from, to) = (bench.web.remote("tree"), bench.db.remote("copy"));
        make_tree(&from, 1_000);
        let result = bench.up(text(&from), text(&to), json!({})).await.ok();
        assert_eq!(result.structured()["files"], json!(1_006));
        let contents = |root| {
            let found = snapshot(root).into_iter();
            found
                .map(|(path, (mode, _, content))| (path, mode, content))
                .collect::<Vec<_>>()
        };
        assert!(contents(&from) == contents(&to));
    }
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_not_a_mixture() {
    let (mut bench, web_link, _db_link) = behind(&[CUT], &[]).await;
    let (old, new) = (random(LENGTH), random(LENGTH + 10));
    let source = bench.web.remote("file");
    fs::write(&source, &old).unwrap();
    let call = bench.begin_up("~/file", "target", json!({})).await;
    let home = bench.db.home.clone();
    eventually("the copy is under way", || part(&home).is_some()).await;
    web_link.hold(true);
    eventually("the link is cut", || web_link.waiting() > 0).await;
    fs::write(&source, &new).unwrap();
    web_link.hold(false);
    bench.mcp.finish(call).await.ok();
    assert!(fs::read(bench.db.remote("target")).unwrap() == new);
}

#[tokio::test]
async fn what_a_lost_link_leaves_goes_with_the_next_connection() {
    let (mut bench, _web_link, db_link) = behind(&[], &[]).await;
    fs::write(bench.web.remote("file"), random(LENGTH)).unwrap();
    fs::write(bench.db.remote("target"), "old").unwrap();
    bench.up("~/file", "first", json!({})).await.ok();

    db_link.break_after(Direction::Up, 30_000_000, Break::Reset);
    db_link.hold(true);
    let call = bench.begin_up("~/file", "target", json!({})).await;
    eventually("the link is cut", || db_link.waiting() > 0).await;
    bench.mcp.cancel(call).await;
    assert!(part(&bench.db.home).is_some());

    db_link.hold(false);
    let connect = json!({"session": "db"});
    bench.mcp.call("ssh_reconnect", connect).await.ok();
    let home = bench.db.home.clone();
    eventually("nothing is left of it", || {
        names(&home) == ["first", "target"]
    })
    .await;
    assert_eq!(fs::read(bench.db.remote("target")).unwrap(), b"old");
}
