//! `ssh_read` of texts: pages, both ends, line ends, encodings, and what a file cannot make of its lines.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use serde_json::{Value, json};

use super::last_line;
use crate::support::{
    checks::{assert_refused, counted, plain},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
};

impl<S> ConnectedHost<S> {
    /// `ssh_read` with further parameters, which may fail.
    pub(crate) async fn read(&mut self, path: &str, mut more: Value) -> ToolResult {
        more["path"] = path.into();
        self.mcp.call("ssh_read", more).await
    }

    /// `ssh_read` of a file in the home of the log-ins, which gets this content before.
    async fn read_content(&mut self, content: &[u8], more: Value) -> ToolResult {
        fs::write(self.remote("file"), content).unwrap();
        fs::set_permissions(self.remote("file"), fs::Permissions::from_mode(0o640)).unwrap();
        self.read("file", more).await.ok()
    }
}

/// The lines before the last one of a text.
fn lines(result: &ToolResult) -> Vec<String> {
    let text = result.text();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

/// User and group of a file of whoever runs the tests, by their names.
async fn owner<S>(bench: &mut ConnectedHost<S>) -> String {
    let names = bench.exec("id -un; id -gn", plain()).await.stdout();
    names.trim().replace('\n', ":")
}

#[tokio::test]
async fn a_file_is_numbered_lines_and_a_line_about_them() {
    let mut bench = TestHost::openssh().connect().await;
    let owner = owner(&mut bench).await;
    let result = bench.read_content(b"one\n\ttwo\n", plain()).await;
    let path = bench.remote("file").display().to_string();

    assert_eq!(
        result.text(),
        format!("1\tone\n2\t\ttwo\n[{path} · lines 1–2 of 2 · 9 B · 0640 {owner}]")
    );
    assert_eq!(
        result.structured(),
        &json!({"path": path, "kind": "text", "bytes": 9, "mode": "0640", "owner": owner, "first": 1, "shown": 2, "total": 2})
    );
}

#[tokio::test]
async fn what_matters_for_an_edit_stands_in_the_status_line() {
    let mut bench = TestHost::openssh().connect().await;
    for (content, text, words) in [
        (&b""[..], &[][..], "empty · 0 B"),
        (b"a\r\nb\r\n", &["1\ta", "2\tb"], "CRLF]"),
        (
            b"a\r\nb\n",
            &["1\ta", "2\tb"],
            "mixed line ends: 1 CRLF, 1 LF]",
        ),
        (b"a\nb", &["1\ta", "2\tb"], "no newline at end]"),
        (
            b"caf\xe9\n",
            &["1\tcaf\\xe9"],
            "bytes that are not UTF-8 are escaped]",
        ),
        (b"\xef\xbb\xbfa\n", &["1\ta"], "UTF-8 with BOM]"),
        (b"\xff\xfea\0\xe9\0\n\0", &["1\taé"], "UTF-16 LE with BOM]"),
        (b"\xfe\xff\0a\0\n", &["1\ta"], "UTF-16 BE with BOM]"),
        (b"\x1b[2J\r[x]\n", &["1\t\\u{1b}[2J\\r[x]"], "line 1 of 1"),
    ] {
        let result = bench.read_content(content, plain()).await;
        assert_eq!(lines(&result), text, "{result:?}");
        assert!(last_line(&result).contains(words), "{}", last_line(&result));
    }
}

#[tokio::test]
async fn pages_follow_one_another_to_the_end() {
    let mut bench = TestHost::openssh().connect().await;
    let content = counted(4_500, |number| format!("line {}\n", number + 1));
    fs::write(bench.remote("file"), &content).unwrap();

    let (mut seen, mut offset) = (String::new(), json!(1));
    while offset.is_i64() {
        let page = bench.read("file", json!({"offset": offset})).await.ok();
        assert!(page.text().chars().count() <= 37_000);
        seen.extend(
            lines(&page)
                .iter()
                .map(|line| line.split_once('\t').unwrap().1.to_owned() + "\n"),
        );

        offset = page.structured()["nextOffset"].clone();
        let goes_on = format!("offset {offset} continues");
        assert_eq!(last_line(&page).contains(&goes_on), offset.is_i64());
        assert!(last_line(&page).contains("of 4500"), "{}", last_line(&page));
    }

    assert!(seen == content, "{} bytes of {}", seen.len(), content.len());
}

#[tokio::test]
async fn either_end_of_a_file_is_read() {
    let mut bench = TestHost::openssh().connect().await;
    for (more, first, last, range) in [
        (
            json!({"offset": 3, "limit": 2}),
            "3\tc",
            "4\td",
            "lines 3–4 of 5",
        ),
        (json!({"offset": "-2"}), "4\td", "5\te", "lines 4–5 of 5"),
        (
            json!({"start_line": -9, "limit": 1}),
            "1\ta",
            "1\ta",
            "line 1 of 5",
        ),
        (
            json!({"offset": 0, "limit": 9_999}),
            "1\ta",
            "5\te",
            "lines 1–5 of 5",
        ),
    ] {
        let result = bench.read_content(b"a\nb\nc\nd\ne\n", more).await;
        let lines = lines(&result);
        assert_eq!(
            (lines[0].as_str(), lines.last().unwrap().as_str()),
            (first, last)
        );
        assert!(last_line(&result).contains(range), "{}", last_line(&result));
    }

    let beyond = bench.read_content(b"a\n", json!({"offset": 7})).await;
    assert!(
        beyond.text().contains("no line 7, the file has 1"),
        "{}",
        beyond.text()
    );
    assert_refused(
        &bench.read("file", json!({"limit": 0})).await,
        &["limit must be 1"],
    );
    assert_refused(
        &bench.read("file", json!({"limit": -1})).await,
        &["limit", "0 or more"],
    );
    assert_refused(
        &bench.read("file", json!({"offset": 1.5})).await,
        &["offset", "whole number"],
    );
}

#[tokio::test]
async fn only_the_end_of_a_large_file_is_read() {
    let mut bench = TestHost::openssh().connect().await;
    let large = bench.remote("large");

    // A hole of 10 GB, which takes no room and would take minutes to read.
    let file = fs::File::create(&large).unwrap();
    file.set_len(10_000_000_000).unwrap();
    let end = counted(3_000, |number| format!("{number}\n"));
    let text = format!("{}\n{end}", "x".repeat(9_000));
    std::os::unix::fs::FileExt::write_all_at(&file, b"begin\n", 0).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, "t".repeat(9_000).as_bytes(), 6).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 10_000_000_000).unwrap();

    let result = bench.read("large", json!({"offset": -3})).await.ok();
    assert_eq!(lines(&result), ["-3\t2997", "-2\t2998", "-1\t2999"]);
    assert!(
        last_line(&result).contains("lines -3 to -1 from the end · 10.00 GB"),
        "{}",
        last_line(&result)
    );

    let many = bench
        .read("large", json!({"offset": -2_500, "limit": 500}))
        .await
        .ok();
    assert_eq!(
        (lines(&many)[0].as_str(), lines(&many).len()),
        ("-2500\t500", 500)
    );
    assert_eq!(many.structured()["nextOffset"], -2_000);

    // The line before is the hole itself.
    let hole = bench
        .read("large", json!({"offset": -3_002, "limit": 1}))
        .await
        .ok();
    assert!(
        last_line(&hole).contains("from the end"),
        "{}",
        last_line(&hole)
    );
    assert!(hole.text().len() < 40_000);

    let first = bench.read("large", json!({"limit": 1})).await.ok();
    assert_eq!(lines(&first), ["1\tbegin"]);
    assert!(
        last_line(&first).contains("line 1 ·"),
        "{}",
        last_line(&first)
    );

    let far = bench.read("large", json!({"offset": 5})).await;
    assert_refused(
        &far,
        &["line 5 is more than 256 MiB from the beginning", "tail"],
    );
}

#[tokio::test]
async fn a_file_whose_size_reads_zero_is_read_whole() {
    let mut bench = TestHost::openssh().connect().await;
    let expected = bench
        .exec(
            "cat /proc/cpuinfo | wc -l; head -1 /proc/cpuinfo; tail -2 /proc/meminfo | cut -d: -f1",
            plain(),
        )
        .await
        .stdout();
    let expected: Vec<&str> = expected.lines().collect();

    let whole = bench.read("/proc/cpuinfo", plain()).await.ok();
    assert_eq!(lines(&whole)[0], format!("1\t{}", expected[1]));
    assert_eq!(whole.structured()["total"].to_string(), expected[0]);

    let end = bench
        .read("/proc/meminfo", json!({"offset": -2}))
        .await
        .ok();
    let names: Vec<String> = lines(&end)
        .iter()
        .map(|line| {
            line.split('\t')
                .nth(1)
                .unwrap()
                .split(':')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(names, expected[2..4]);

    // Files of `/sys` have the size of a page.
    let page = bench
        .read(
            "/sys/kernel/mm/transparent_hugepage/enabled",
            json!({"offset": -1}),
        )
        .await;
    assert!(
        page.is_error() || lines(&page).len() == 1,
        "{}",
        page.text()
    );
}

#[tokio::test]
async fn long_lines_and_wide_pages_are_cut() {
    let mut bench = TestHost::openssh().connect().await;
    let long = bench
        .read_content(&[&b"y".repeat(5_000)[..], b"\nz\n"].concat(), plain())
        .await;
    assert!(lines(&long)[0].ends_with("yyy… [3,000 more characters]"));
    assert_eq!(lines(&long)[1], "2\tz");

    let wide = bench
        .read_content(
            &[&b"w".repeat(999)[..], b"\n"].concat().repeat(100),
            plain(),
        )
        .await;
    assert_eq!(wide.structured()["nextOffset"], 36);
    assert!(
        last_line(&wide).contains("lines 1–35 of 100"),
        "{}",
        last_line(&wide)
    );
}

#[tokio::test]
async fn a_relative_path_starts_where_the_shell_stands() {
    let mut bench = TestHost::openssh().connect().await;
    fs::create_dir_all(bench.remote("a/b")).unwrap();
    for (name, content) in [("note", "home\n"), ("a/note", "a\n"), ("a/b/note", "b\n")] {
        fs::write(bench.remote(name), content).unwrap();
    }

    assert_eq!(lines(&bench.read("note", plain()).await), ["1\thome"]);
    bench.shell("cd ~/a/b", plain()).await;
    for (path, line) in [
        ("note", "1\tb"),
        ("./note", "1\tb"),
        ("../note", "1\ta"),
        ("~/note", "1\thome"),
        ("~/a/note", "1\ta"),
    ] {
        assert_eq!(lines(&bench.read(path, plain()).await), [line], "{path}");
    }

    // Another shell's directory does not count.
    bench.shell("cd ~/a", json!({"shell": "other"})).await;
    assert_eq!(lines(&bench.read("note", plain()).await), ["1\tb"]);
    let listed = bench.read(".", plain()).await.ok();
    let place = bench.remote("a/b").canonicalize().unwrap();
    assert!(
        last_line(&listed).starts_with(&format!("[{} · 1 entry", place.display())),
        "{}",
        listed.text()
    );
}

#[tokio::test]
async fn any_name_is_only_a_name() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let mut bench = TestHost::openssh().connect().await;
    for (name, typed) in [
        (&b"-n"[..], "-n"),
        (b"two\nlines", "two\nlines"),
        (b"$(touch gone); `x` * ?", "$(touch gone); `x` * ?"),
        (b"caf\xe9", "caf\\xe9"),
        (b"plain\\xe9", "plain\\xe9"),
        ("é 漢".as_bytes(), "é 漢"),
        (b"[exit 0]", "[exit 0]"),
        (b"~tilde", "./~tilde"),
    ] {
        fs::write(bench.home.join(OsStr::from_bytes(name)), "content\n").unwrap();
        let result = bench.read(typed, plain()).await.ok();
        assert_eq!(lines(&result), ["1\tcontent"], "{typed}");
        assert_eq!(result.text().lines().count(), 2, "{typed}");
    }

    assert!(!bench.remote("gone").exists());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_next_step() {
    let mut bench = TestHost::openssh().connect().await;
    bench
        .exec(
            "cd; mkfifo fifo; ln -s nothing dangling; ln -s loop loop",
            plain(),
        )
        .await;
    for (path, parts) in [
        ("missing", &["no such file", "ssh_read"][..]),
        ("dangling", &["no such file"]),
        ("loop", &["loop"]),
        ("fifo", &["not a regular file", "ssh_exec"]),
        ("/dev/zero", &["not a regular file"]),
        ("", &["path is empty"]),
        ("a\0b", &["NUL"]),
        ("~nobody/x", &["home directory of", "./~nobody/x"]),
        ("file/inside", &[]),
    ] {
        assert_refused(&bench.read(path, plain()).await, parts);
    }

    // Nothing hangs in the channel afterwards.
    assert_eq!(lines(&bench.read_content(b"x\n", plain()).await), ["1\tx"]);
}

#[tokio::test]
async fn reading_changes_nothing() {
    let mut bench = TestHost::openssh().connect().await;
    bench.read_content(b"x\n", plain()).await;
    let before = fs::metadata(bench.remote("file")).unwrap();
    bench.read("file", json!({"offset": -1})).await.ok();
    let after = fs::metadata(bench.remote("file")).unwrap();
    assert_eq!(
        (
            before.mtime_nsec(),
            before.ino(),
            before.mode(),
            before.size()
        ),
        (after.mtime_nsec(), after.ino(), after.mode(), after.size())
    );
}
