//! `ssh_search` at its limits: endless, huge, binary, unreadable and hostile; and what ends a search.

use std::{fs, os::unix::fs::symlink, sync::Arc, time::Duration};

use mcp_ssh_sessions::{
    session::{
        caller::Caller,
        registry::{RegistryOptions, SessionRegistry},
        work::RemoteRead,
    },
    ssh::transfer::{Hits, Pattern, SearchEnd, SearchProgress, SearchRequest},
};
use serde_json::json;

use super::{
    last_line,
    search::{Programs, lines},
};
use crate::support::{
    checks::{assert_refused, counted, eventually, plain},
    fixture::TestHost,
    mcp_client::McpClient,
    processes, programs,
};

#[tokio::test]
async fn an_answer_is_short_however_much_is_found() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        host.write(
            "many",
            counted(5_000, |number| format!("needle {number}\n")),
        );
        let huge = format!("{}needle{}\n", "a".repeat(50_000), "b".repeat(3_000_000));
        host.write("huge", huge);

        let result = host.search(json!({"pattern": "needle"})).await.ok();
        assert_eq!(lines(&result).len(), 100, "{programs:?}");
        assert!(
            last_line(&result).starts_with("[100 of 5,001 matches in 2 files"),
            "{}",
            last_line(&result)
        );
        assert!(last_line(&result).contains("narrow with path or glob"));

        let all = host
            .search(json!({"pattern": "needle", "limit": 9_000_000}))
            .await
            .ok();
        assert!(all.text().chars().count() < 40_000, "{programs:?}");
        assert!(
            last_line(&all).contains(" of 5,001 matches"),
            "{}",
            last_line(&all)
        );

        let huge = host
            .found(json!({"pattern": "needle", "path": "huge"}))
            .await;
        assert!(
            huge[0].contains("aneedleb") && huge[0].chars().count() < 320,
            "{programs:?} {}",
            huge[0].len()
        );
    }
}

#[tokio::test]
async fn binary_files_are_not_poured_out() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        host.write("binary", b"needle\0\x1b[2J needle\n\0needle\n");
        host.write("latin", b"caf\xe9 needle\n");
        host.write("words", "needle \x1b]0;title\x07\n");

        let found = host.found(json!({"pattern": "needle"})).await;
        assert_eq!(
            found,
            [
                "latin:1: caf\\xe9 needle",
                "words:1: needle \\u{1b}]0;title\\u{7}"
            ],
            "{programs:?}"
        );
        let binary = host
            .search(json!({"pattern": "needle", "path": "binary"}))
            .await
            .ok();
        assert_eq!(lines(&binary).len(), 0, "{programs:?}");
        assert!(
            last_line(&binary).contains("1 binary file not shown"),
            "{programs:?} {}",
            last_line(&binary)
        );
    }
}

#[tokio::test]
async fn a_line_of_unclear_origin_is_counted() {
    let mut host = Programs::Grep.connect().await;
    host.write("d/n\nx\n./y", "needle\n");
    let result = host.search(json!({"pattern": "needle"})).await.ok();
    assert_eq!(lines(&result).len(), 0);
    assert!(
        last_line(&result).contains("1 line of unclear origin not shown"),
        "{}",
        last_line(&result)
    );
}

#[tokio::test]
async fn links_and_odd_files_do_no_harm() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        host.write("d/file", "needle\n");
        host.write("node_modules/x", "needle\n");
        for (link, to) in [
            ("d/loop", "."),
            ("d/up", ".."),
            ("d/dangling", "nothing"),
            ("link", "d"),
            ("d/self", "self"),
        ] {
            symlink(to, host.host.home.join(link)).unwrap();
        }
        let fifo = host.host.home.join("d/fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());

        let found = host.found(json!({"pattern": "needle", "path": "d"})).await;
        assert_eq!(found, ["d/file:1: needle"], "{programs:?}");
        let found = host
            .found(json!({"pattern": "needle", "path": "link"}))
            .await;
        assert_eq!(found, ["link/file:1: needle"], "{programs:?}");
        assert_refused(
            &host.search(json!({"pattern": "x", "path": "d/fifo"})).await,
            &["not a regular file"],
        );
        assert_refused(
            &host.search(json!({"pattern": "x", "path": "d/self"})).await,
            &[],
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    for programs in Programs::all() {
        // Its grep says nothing about a file that gives an error.
        if programs == Programs::Busybox {
            continue;
        }
        let mut host = programs.connect().await;
        let result = host
            .search(json!({"pattern": "^Name:", "path": "/proc/self", "glob": "{status,mem}"}))
            .await
            .ok();
        assert!(
            lines(&result)[0].starts_with("/proc/self/status:1: Name:"),
            "{programs:?} {}",
            result.text()
        );
        let words = last_line(&result);
        assert!(words.contains(" not searched: "), "{programs:?} {words}");
        assert!(
            words.contains("mem: ") || words.contains("mem'"),
            "{programs:?} {words}"
        );
        assert!(result.structured()["unreadable"].as_u64().unwrap() >= 1);
    }
}

#[tokio::test]
async fn ignored_files_are_found_by_a_glob() {
    for programs in Programs::all() {
        let mut host = programs.connect().await;
        host.write(".git/HEAD", "needle\n");
        host.write(".gitignore", "*.log\nbuilt/\n");
        host.write("a.log", "needle\n");
        host.write("built/b", "needle\n");
        host.write(".env", "needle\n");

        let found = host.found(json!({"pattern": "needle"})).await;
        let expected: &[&str] = if programs == Programs::Rg {
            &[".env:1: needle"]
        } else {
            &[".env:1: needle", "a.log:1: needle", "built/b:1: needle"]
        };
        assert_eq!(found, expected, "{programs:?}");

        let found = host
            .found(json!({"pattern": "needle", "glob": "*.log"}))
            .await;
        assert_eq!(found, ["a.log:1: needle"], "{programs:?}");
    }
}

#[tokio::test]
async fn login_shells_of_other_families_search_too() {
    for shell in ["fish", "tcsh", "zsh", "dash"] {
        let host = TestHost::dropbear(&programs::shell(shell));
        let mut host = host.connect().await;
        fs::write(host.home.join("it's"), "needle 'x'\n").unwrap();

        let parameters = json!({"pattern": "needle '", "glob": "it's"});
        let result = host.mcp.call("ssh_search", parameters).await.ok();
        assert_eq!(lines(&result), ["it's:1: needle 'x'"], "{shell}");
    }
}

#[tokio::test]
async fn a_server_for_sftp_only_is_searched() {
    let host = TestHost::openssh_with(|settings| {
        settings.extra_config =
            format!("ForceCommand {}\n{}", settings.sftp, settings.extra_config);
    });
    let mut host = host.connect().await;
    fs::create_dir(host.home.join("d")).unwrap();
    fs::write(host.home.join("d/file"), "x\nneedle\ny\n").unwrap();

    let parameters = json!({"pattern": "needle", "context": 1});
    let result = host.mcp.call("ssh_search", parameters).await.ok();
    assert_eq!(
        lines(&result),
        ["d/file-1- x", "d/file:2: needle", "d/file-3- y"]
    );
    assert!(
        last_line(&result).contains("SFTP"),
        "{}",
        last_line(&result)
    );

    let missing = json!({"pattern": "x", "path": "missing"});
    assert_refused(
        &host.mcp.call("ssh_search", missing).await,
        &["o such file"],
    );
}

/// A program that prints one match and then never ends, and leaves a word in its arguments.
const ENDLESS: &str = "#!/bin/sh\ncase $* in *'/dev/null') exit 1 ;; esac\n\
    printf './found\\0001:1:needle\\n'\nsleep 1000000.1\n";

#[tokio::test]
async fn a_search_ends_in_time_with_what_it_found() {
    let programs = programs::without_bash("dash");
    let rg = programs.path().join("rg");
    let _ = fs::remove_file(&rg);
    fs::write(&rg, ENDLESS).unwrap();
    fs::set_permissions(&rg, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = programs.path().display().to_string();
    let host = TestHost::openssh_with(|settings| {
        settings.extra_config += " PATH=";
        settings.extra_config += &path;
    });

    let registry = SessionRegistry::new(RegistryOptions {
        ssh_config: Some(host.config.clone()),
        store: Some(host.local("sessions.json")),
        output: Some(host.local("output")),
        settings: Arc::default(),
        own: Vec::new(),
        askpass: None,
    });
    let mut mcp = McpClient::with_registry(Arc::clone(&registry));
    mcp.initialize().await;
    mcp.connect(json!({"host": "host"})).await;

    // A cancelled call ends the program as well.
    let call = mcp
        .begin_call("ssh_search", json!({"pattern": "needle"}))
        .await;
    eventually("the program runs", || host.runs("1000000.1")).await;
    mcp.cancel(call).await;
    eventually("the program is gone", || !host.runs("1000000.1")).await;

    let caller = Caller::default();
    let work = RemoteRead {
        path: ".".to_owned(),
        sudo: false,
    };
    let (opened, permit) = registry.open(Some("host"), work, &caller).await.unwrap();
    let request = SearchRequest {
        path: ".".to_owned(),
        directory: Vec::new(),
        pattern: Some(Pattern::parse("needle", false).unwrap()),
        glob: None,
        context: 0,
        files_only: false,
        limit: 9,
        time_limit: Duration::from_secs(2),
        progress: SearchProgress::default(),
    };
    let result = opened
        .session
        .search(request, &permit, &caller)
        .await
        .unwrap();
    assert_eq!(result.ended, Some(SearchEnd::Time));
    let Hits::Matches(matches) = result.hits else {
        panic!("no matches");
    };
    assert_eq!(matches.text(), "found:1: needle\n");
    eventually("the program is gone", || !host.runs("1000000.1")).await;
    assert!(processes::running(host.port, "rg").is_empty());

    let alive = mcp.call("ssh_exec", json!({"command": "echo alive"})).await;
    assert_eq!(alive.ok().stdout().trim(), "alive");
}

#[tokio::test]
async fn hostile_output_stays_in_its_bounds() {
    for (script, expected) in [
        // Names outside of the tree, words that look like ours, no line ends.
        (
            "printf '/etc/passwd\\0001:1:x\\n./a\\0001:1:\\033[2Jneedle\\nnoise\\n[9 matches]\\n'",
            &["a:1: \\u{1b}[2Jneedle"][..],
        ),
        ("head -c 3000000 /dev/zero", &[]),
        ("yes | tr -d '\\n' | head -c 90000000", &[]),
        ("yes >&2", &[]),
        ("kill -9 $$", &[]),
    ] {
        let programs = programs::without_bash("dash");
        let rg = programs.path().join("rg");
        let _ = fs::remove_file(&rg);
        let text = format!("#!/bin/sh\ncase $* in *'/dev/null') exit 1 ;; esac\n{script}\n");
        fs::write(&rg, text).unwrap();
        fs::set_permissions(&rg, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = programs.path().display().to_string();
        let host = TestHost::openssh_with(|settings| {
            settings.extra_config += " PATH=";
            settings.extra_config += &path;
        });
        let mut host = host.connect().await;

        let result = host
            .mcp
            .call("ssh_search", json!({"pattern": "needle"}))
            .await
            .ok();
        assert_eq!(lines(&result), expected, "{script}");
        assert!(last_line(&result).len() < 2_000, "{script}");
        let alive = host.exec("echo alive", plain()).await;
        assert_eq!(alive.stdout().trim(), "alive", "{script}");
    }
}
