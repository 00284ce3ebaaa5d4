//! `ssh_read` of what is no text, of other servers, and when something goes wrong on the way.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use super::last_line;
use crate::support::{
    checks::{assert_refused, counted, eventually, plain},
    fixture::TestHost,
};

/// The smallest PNG.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

#[tokio::test]
async fn a_directory_is_one_line_an_entry() {
    let mut bench = TestHost::openssh().connect().await;
    let folder = bench.remote("folder");
    fs::create_dir_all(folder.join("b dir")).unwrap();
    fs::write(folder.join("a\nfile"), "1234567").unwrap();
    symlink("a\nfile", folder.join("link")).unwrap();
    bench.exec("cd ~/folder; mkfifo pipe; touch -h -d '2024-02-29 12:34:56 UTC' * .; chmod 4711 a*; chmod 1777 b*; chmod 600 pipe", plain()).await;

    let owner = bench.exec("id -un; id -gn", plain()).await.stdout();
    let owner = owner.trim().replace('\n', ":");
    let result = bench.read("folder", plain()).await.ok();
    let text = result.text();
    let lines: Vec<&str> = text.lines().collect();

    assert_eq!(
        lines[0],
        format!("- 4711 {owner} 7 2024-02-29 12:34 a\\nfile")
    );
    assert!(
        lines[1].starts_with(&format!("d 1777 {owner} "))
            && lines[1].ends_with(" 2024-02-29 12:34 b dir"),
        "{text}"
    );
    assert_eq!(
        lines[2],
        format!("l 0777 {owner} 6 2024-02-29 12:34 link -> a\\nfile")
    );
    assert_eq!(lines[3], format!("p 0600 {owner} 0 2024-02-29 12:34 pipe"));
    assert!(
        lines[4].starts_with('[') && lines[4].contains("folder · 4 entries · 0755"),
        "{text}"
    );
    assert_eq!(
        (lines.len(), &result.structured()["kind"]),
        (5, &json!("directory"))
    );

    fs::create_dir(bench.remote("empty")).unwrap();
    let empty = bench.read("empty", plain()).await.ok();
    assert_eq!(empty.text(), last_line(&empty));
    assert!(empty.text().contains("empty directory"), "{}", empty.text());
}

#[tokio::test]
async fn a_large_directory_is_read_by_pages() {
    let mut bench = TestHost::openssh().connect().await;
    fs::create_dir(bench.remote("many")).unwrap();
    for number in 0..2_500 {
        fs::write(bench.remote(&format!("many/file {number:04}")), "").unwrap();
    }

    let first = bench.read("many", plain()).await.ok();
    assert!(
        first.text().starts_with("file 0000\nfile 0001\n"),
        "{}",
        first.text()
    );
    assert!(
        last_line(&first).contains("entries 1–2000 of 2500")
            && last_line(&first).contains("names only"),
        "{}",
        last_line(&first)
    );

    let rest = bench
        .read(
            "many",
            json!({"offset": first.structured()["nextOffset"], "limit": 3}),
        )
        .await
        .ok();
    assert!(
        rest.text().lines().next().unwrap().ends_with(" file 2000"),
        "{}",
        rest.text()
    );
    assert_eq!(rest.text().lines().count(), 4);
    let last = bench.read("many", json!({"offset": -1})).await.ok();
    assert!(
        last.text().lines().next().unwrap().ends_with(" file 2499"),
        "{}",
        last.text()
    );
}

#[tokio::test]
async fn an_image_is_shown_as_one() {
    let mut bench = TestHost::openssh().connect().await;
    for (name, content, kind) in [
        ("a", PNG, "image/png"),
        ("b", b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        ("c", b"GIF89a\x01\0\x01\0", "image/gif"),
        ("d", b"RIFF\x1a\0\0\0WEBPVP8L", "image/webp"),
    ] {
        fs::write(bench.remote(name), content).unwrap();
        let result = bench.read(name, json!({"offset": -3})).await.ok();
        let block = &result.0["content"][0];
        assert_eq!(
            (&block["type"], &block["mimeType"]),
            (&json!("image"), &json!(kind))
        );
        assert_eq!(block["data"].as_str().map(base64), Some(content.to_vec()));
        assert_eq!(result.structured()["kind"], "image");
        let status = result.0["content"][1]["text"].as_str().unwrap();
        assert!(status.contains(kind), "{status}");
    }

    let large = [PNG, &vec![0; 3_750_000]].concat();
    fs::write(bench.remote("large"), &large[..3_750_000]).unwrap();
    let largest = bench.read("large", plain()).await.ok();
    assert_eq!(
        largest.0["content"][0]["data"].as_str().map(str::len),
        Some(5_000_000)
    );
    fs::write(bench.remote("large"), &large[..3_750_001]).unwrap();
    let result = bench.read("large", plain()).await.ok();
    assert!(
        result.text().contains("too large") && result.text().contains("ssh_download"),
        "{}",
        result.text()
    );
    assert_eq!(result.blocks().len(), 1);
}

fn base64(text: &str) -> Vec<u8> {
    use ::base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.decode(text).unwrap()
}

#[tokio::test]
async fn of_another_binary_file_the_beginning_is_shown() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(
        bench.remote("file.gz"),
        [&b"\x1f\x8b\x08\0"[..], &[7; 9_000]].concat(),
    )
    .unwrap();
    for more in [plain(), json!({"offset": -5})] {
        let result = bench.read("file.gz", more).await.ok();
        let text = result.text();
        assert!(text.starts_with("0000  1f 8b 08 00 07 07"), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(
            last_line(&result).contains("binary: gzip data · 9.0 kB")
                && last_line(&result).contains("ssh_download fetches it"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_tool_that_only_reads_leaves_an_unknown_host_alone() {
    let host = TestHost::openssh();
    let mut client = host.client().await;
    let refused = client
        .call(
            "ssh_read",
            json!({"path": "/etc/hosts", "session": "nowhere"}),
        )
        .await;
    assert_refused(&refused, &["there is no session \"nowhere\""]);
    let listed = client
        .call(
            "ssh_read",
            json!({"path": "/etc", "session": "host", "limit": 1}),
        )
        .await
        .ok();
    assert!(
        last_line(&listed).starts_with("[/etc · entry 1 of "),
        "{}",
        listed.text()
    );
}

#[tokio::test]
async fn a_lost_channel_or_connection_is_made_again() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.remote("file"), "x\n").unwrap();
    for what in ["first", "after the server closed it", "after another loss"] {
        let result = bench.read("file", plain()).await.ok();
        assert!(
            result.text().starts_with("1\tx\n"),
            "{what}: {}",
            result.text()
        );
        // Ends every connection of the server.
        bench.exec("kill -9 $PPID", plain()).await;
    }
}

#[tokio::test]
async fn many_reads_at_once_each_get_their_file() {
    let mut bench = TestHost::openssh_with(|settings| settings.max_sessions = 4)
        .connect()
        .await;
    for number in 0..30 {
        let content = counted(100, |line| format!("{number} {line}\n"));
        fs::write(bench.remote(&format!("file{number}")), content).unwrap();
    }

    let mut calls = Vec::new();
    for number in 0..30 {
        let arguments = json!({"path": format!("file{number}"), "offset": 50, "limit": 1});
        calls.push(bench.mcp.begin_call("ssh_read", arguments).await);
    }

    for (number, call) in calls.into_iter().enumerate() {
        let result = bench.mcp.finish(call).await.ok();
        assert!(
            result.text().starts_with(&format!("50\t{number} 49\n")),
            "{}",
            result.text()
        );
    }

    // The channel that waits for the next call does not keep a command from running.
    let port = bench.port;
    let calls = [bench.begin("ssh_exec", "sleep 7301", plain()).await];
    eventually("it runs", || {
        !crate::support::processes::running(port, "7301").is_empty()
    })
    .await;
    bench.mcp.cancel(calls[0]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dropbear_with_the_sftp_server_of_openssh_is_read() {
    use std::path::Path;

    let mut bench = TestHost::dropbear(Path::new("/bin/sh")).connect().await;
    fs::write(bench.remote("file"), "x\ny\n").unwrap();
    for _ in 0..2 {
        let result = bench.read("file", json!({"offset": -1})).await.ok();
        assert!(result.text().starts_with("2\ty\n["), "{}", result.text());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn servers_of_other_makes_are_read() {
    use crate::support::other_sshd::Make;

    for make in [
        Make::Asyncssh(&[]),
        Make::Ssh2,
        Make::Erlang,
        Make::Proftpd,
        Make::Rclone("off", "5m"),
    ] {
        let mut bench = TestHost::other(&make).connect().await;
        let path = bench.remote("file").to_str().unwrap().to_owned();
        let content = counted(60_000, |number| format!("line {number}\n"));
        fs::write(&path, content).unwrap();
        let path = if matches!(make, Make::Rclone(..)) {
            "file".to_owned()
        } else {
            path
        };

        for (offset, first) in [
            (1, "1\tline 0\n"),
            (59_000, "59000\tline 58999\n"),
            (-2, "line 59998\n"),
        ] {
            let more = json!({"offset": offset, "limit": 2});
            let result = bench.read(&path, more).await.ok();
            let text = result.text();
            assert!(
                text.contains(first) && text.lines().count() == 3,
                "{make:?}: {text}"
            );
        }

        let listed = bench.read(".", plain()).await.ok();
        assert!(
            listed.text().contains(" file\n"),
            "{make:?}: {}",
            listed.text()
        );
    }
}
