//! Output that is no text, or not in UTF-8, and colours where there is no terminal.

use serde_json::json;

use crate::support::{
    checks::{plain, whole_output},
    fixture::TestHost,
};

#[tokio::test]
async fn binary_output_is_named_and_kept_and_not_shown() {
    let mut bench = TestHost::openssh().connect().await;

    for (tool, command, kind, begins) in [
        ("ssh_exec", "cat /bin/ls", "ELF program", "7f 45 4c 46"),
        ("ssh_shell", "cat /bin/ls", "ELF program", "7f 45 4c 46"),
        ("ssh_exec", "printf x | gzip -c", "gzip data", "1f 8b 08"),
        (
            "ssh_exec",
            "cd /etc && tar c passwd",
            "tar archive",
            "70 61 73 73 77 64",
        ),
        ("ssh_exec", "head -c 5000 /dev/urandom", "data", ""),
        (
            "ssh_exec",
            "echo header; head -c 5000 /dev/urandom",
            "data",
            "",
        ),
        (
            "ssh_exec",
            "cat /bin/ls | head -c 30000 >&2",
            "ELF program",
            "7f 45 4c 46",
        ),
    ] {
        let result = bench.mcp.call(tool, json!({"command": command})).await.ok();
        let text = result.text();
        assert!(text.len() < 1000, "{command}: {} bytes", text.len());
        assert!(
            text.contains(&format!("binary {kind}, ")) && text.contains(begins),
            "{command}: {text}"
        );

        assert!(
            text.contains("is binary,") && !text.contains("by the command"),
            "{command}: {text}"
        );

        assert_eq!(result.outcome()["truncated"], true, "{command}");
        assert_eq!(
            text.starts_with("header\n"),
            command.starts_with("echo"),
            "{command}: {text}"
        );

        let stdout = result.outcome()["stdoutBytes"].as_u64().unwrap();
        let whole = whole_output(&result);
        assert_eq!(
            whole.len() as u64,
            stdout + result.outcome()["stderrBytes"].as_u64().unwrap(),
            "{command}"
        );

        if command == "cat /bin/ls" {
            assert!(
                whole == std::fs::read("/bin/ls").unwrap(),
                "{tool}: the file has every byte"
            );
        }
    }

    let job = bench
        .start(
            "cat /bin/ls; sleep 30",
            json!({"background": true, "waitMs": 2000}),
        )
        .await;

    let part = bench.job(&job, json!({"offset": 0})).await;
    assert!(
        part.text().len() < 1000 && part.text().contains("binary ELF program"),
        "{}",
        part.text()
    );

    bench.job(&job, json!({"signal": "KILL"})).await;
}

#[tokio::test]
async fn text_in_another_encoding_is_marked_and_its_bytes_are_kept() {
    let mut bench = TestHost::openssh().connect().await;
    for (tool, command, shown, bytes) in [
        (
            "ssh_exec",
            "printf 'Gr\\374\\337e\\n'",
            "Gr\u{fffd}\u{fffd}e\n",
            &b"Gr\xfc\xdfe\n"[..],
        ),
        (
            "ssh_shell",
            "printf 'Gr\\374\\337e\\n'",
            "Gr\u{fffd}\u{fffd}e\n",
            b"Gr\xfc\xdfe\n",
        ),
        (
            "ssh_exec",
            "printf 'caf\\351 au lait, s il vous plait\\n'",
            "caf\u{fffd} au lait, s il vous plait\n",
            b"caf\xe9 au lait, s il vous plait\n",
        ),
        ("ssh_exec", "printf '\\377'", "\u{fffd}", b"\xff"),
    ] {
        let result = bench.mcp.call(tool, json!({"command": command})).await.ok();
        assert_eq!(result.stdout(), shown, "{command}");

        assert!(
            result
                .status_line()
                .contains("stdout is not UTF-8, as it came in "),
            "{}",
            result.text()
        );

        assert_eq!(whole_output(&result), bytes, "{command}");
    }

    for command in [
        "printf 'Größe 日本\\n'",
        "printf 'a\\0b\\0'",
        "tr '\\0' '\\n' < /proc/self/environ | head -3",
    ] {
        let result = bench.exec(command, plain()).await;
        assert!(
            result.outcome().get("outputFile").is_none(),
            "{command}: {}",
            result.text()
        );
    }
}

#[tokio::test]
async fn colours_are_removed_without_a_terminal_as_with_one() {
    let mut bench = TestHost::openssh().connect().await;
    std::fs::create_dir(bench.home.join("folder")).unwrap();

    for (tool, command, shown) in [
        (
            "ssh_exec",
            "cd && TERM=xterm ls --color=always -d folder",
            "folder\n",
        ),
        (
            "ssh_shell",
            "cd && TERM=xterm ls --color=always -d folder",
            "folder\n",
        ),
        ("ssh_exec", "echo match | grep --color=always at", "match\n"),
        (
            "ssh_exec",
            "printf '\\033[1mbold\\033[0m \\033]8;;http://x\\033\\\\link\\033]8;;\\033\\\\\\n'",
            "bold link\n",
        ),
        ("ssh_exec", "printf 'no end \\033[3'", "no end \u{1b}[3"),
    ] {
        let result = bench.mcp.call(tool, json!({"command": command})).await.ok();
        assert_eq!(result.stdout(), shown, "{command}");

        if !command.contains("no end") {
            assert!(
                whole_output(&result).contains(&0x1b),
                "{command}: the file has it as it came"
            );
        }
    }
}
