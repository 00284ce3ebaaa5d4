//! Trees: what is guarded in one is left out and named.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use super::{AtHome, KEY, assert_guarded, write};

fn left_out(result: &Value) -> Vec<String> {
    let mut paths: Vec<_> = result["leftOut"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|path| path.as_str().unwrap().to_owned())
        .collect();

    paths.sort();
    paths
}

#[tokio::test]
async fn what_is_guarded_in_a_tree_that_is_sent_is_left_out_and_named() {
    let mut at = AtHome::new().await;

    // Longer than what is sent in one piece.
    write(
        &at.home.join("project/long key"),
        &(KEY.to_owned() + &"x".repeat(400_000)),
    );

    let home = at.home.display().to_string();
    let result = at.upload(&format!("{home}/.")).await.ok();
    let arrived = at.bench.remote("arrived");

    for path in [
        ".ssh",
        ".aws",
        ".netrc",
        ".npmrc",
        ".kube",
        ".claude.json",
        ".codex/auth.json",
        "notes.txt",
        "project/hard",
        "project/hard netrc",
        "project/long key",
        ".ssh-mcp-sessions.json",
    ] {
        assert!(!arrived.join(path).exists(), "{path}");
        assert!(at.home.join(path).exists(), "{path}");
    }

    for path in [
        "project/readme",
        "project/.npmrc",
        "project/.git/config",
        ".dotfiles/bashrc",
        ".codex",
        "tools/there",
    ] {
        assert!(arrived.join(path).exists(), "{path}");
    }

    // A link says where it leads, no more.
    assert!(arrived.join("project/linked key").is_symlink());
    assert!(
        result.text().contains("left out, because guarded"),
        "{}",
        result.text()
    );

    assert_eq!(
        left_out(result.structured()).len(),
        10,
        "{:?}",
        result.structured()
    );

    let project = at.upload(&format!("{home}/project")).await.ok();
    assert_eq!(
        left_out(project.structured()),
        ["hard", "hard netrc", "long key"]
    );

    for part in [
        "\"hard\" (",
        "under another name",
        "a private key (OpenSSH)",
    ] {
        assert!(project.text().contains(part), "{part}: {}", project.text());
    }

    // What nobody wanted is not spoken of.
    let exclude = json!({"localPath": format!("{home}/project"), "remotePath": "third", "exclude": ["hard*", "long*"]});
    let result = at.program.call("ssh_upload", exclude).await.ok();
    assert_eq!(left_out(result.structured()), ["long key"; 0]);
    assert!(!result.text().contains("guarded"), "{}", result.text());
}

#[tokio::test]
async fn guarded_files_in_a_downloaded_tree_are_skipped_and_named() {
    let mut at = AtHome::new().await;
    let tree = at.bench.remote("tree");

    for path in [
        ".ssh/config",
        ".bashrc",
        ".config/autostart/evil.desktop",
        ".config/git/config",
        ".config/other/fine",
        "project/.git/hooks/pre-commit",
        "project/.git/config",
        "project/.git/description",
        "project/hard",
        "new/.git/hooks/post-checkout",
        "new/.git/modules/sub/config",
        "new/fine",
        "fine",
        "tools/ls",
        "tools/data/fine",
        "linked/fine",
    ] {
        write(&tree.join(path), "evil");
    }

    symlink("/tmp", tree.join(".local")).unwrap();
    symlink("fine", tree.join("link")).unwrap();
    let home = at.home.clone();
    let result = at.download("tree/.", &home.display().to_string()).await;

    // `linked` is in the way, as ever.
    assert!(result.text().contains("\"linked\""), "{}", result.text());

    for (path, content) in [
        (".ssh/config", "Host nothing\n"),
        (".bashrc", "# mine\n"),
        (".config/git/config", ""),
        ("project/.git/config", "[core]\n"),
        ("project/.git/hooks/pre-commit", "# mine\n"),
        ("project/hard", "Host nothing\n"),
        ("project/.git/description", "evil"),
        (".config/other/fine", "evil"),
        ("new/fine", "evil"),
        ("fine", "evil"),
        ("tools/data/fine", "evil"),
    ] {
        assert_eq!(
            fs::read_to_string(home.join(path)).unwrap(),
            content,
            "{path}"
        );
    }

    for path in [
        ".config/autostart",
        "new/.git/hooks",
        "new/.git/modules/sub/config",
        "tools/ls",
        ".local",
        ".ssh/fine",
    ] {
        assert!(
            !home.join(path).exists() && !home.join(path).is_symlink(),
            "{path}"
        );
    }

    assert!(home.join("link").is_symlink());

    fs::remove_dir_all(tree.join("linked")).unwrap();
    let result = at
        .download("tree/.", &home.display().to_string())
        .await
        .ok();

    assert_eq!(
        left_out(result.structured()).len(),
        10,
        "{:?}",
        result.structured()
    );

    assert!(result.text().contains("and 1 more"), "{}", result.text());
}

#[tokio::test]
async fn a_guarded_tree_is_refused_and_leaves_no_folder() {
    let mut at = AtHome::new().await;
    write(&at.bench.remote("tree/file"), "evil");
    write(&at.bench.remote(".claude/settings.json"), "evil");
    let home = at.home.display().to_string();

    for (remote, local, why, made) in [
        (
            "tree",
            "/.config/autostart",
            "by itself",
            ".config/autostart",
        ),
        ("tree/.", "/.ssh", "SSH keeps its keys", ".ssh/file"),
        ("tree", "/.claude/", "agents and their tools", ".claude"),
        (
            ".claude",
            "/project",
            "agents and their tools",
            "project/.claude",
        ),
        (
            "tree",
            "/project/.git/hooks",
            "version control",
            "project/.git/hooks/tree",
        ),
    ] {
        assert_guarded(&at.download(remote, &format!("{home}{local}")).await, why);
        assert!(!at.home.join(made).exists(), "{made}");
    }
}
