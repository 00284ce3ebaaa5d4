//! The folders of this machine that the settings name for transfers.

use std::fs;

use serde_json::json;

use super::{World, call, forms, write};

#[tokio::test]
async fn outside_the_roots_every_local_path_is_a_question() {
    let world = World::new("");
    let (inside, outside) = (world.host.local("in"), world.host.local("out"));
    write(&inside.join("deep/file"), "inside");
    write(&outside.join("file"), "outside");
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    write(&world.host.remote("there"), "there");
    world.settings(&format!("[local]\nroots = ['{}']", inside.display()));

    let mut client = world.client(forms()).await;
    let no = json!({"action": "decline"});
    for (path, asked) in [
        (inside.join("deep/file"), 0),
        (inside.join("deep"), 0),
        (inside.join("../out/file"), 1),
        (inside.join("link/file"), 1),
        (outside.join("file"), 1),
        (outside.clone(), 1),
    ] {
        let remote = if path.is_dir() { "tree" } else { "copy" };
        let arguments = json!({"session": "host", "localPath": path, "remotePath": remote});
        let (questions, moved) = call(&mut client, "ssh_upload", arguments, &no).await;
        assert_eq!(questions.len(), asked, "{path:?}: {questions:?}");
        assert_eq!(moved.is_error(), asked == 1, "{path:?}: {}", moved.text());
        if let [question] = questions.as_slice() {
            assert!(
                question.contains("the folders that the settings name"),
                "{question}"
            );
        }
    }

    for (path, asked) in [(inside.join("new"), 0), (outside.join("new"), 1)] {
        let arguments = json!({"session": "host", "remotePath": "there", "localPath": path});
        let (questions, _) = call(&mut client, "ssh_download", arguments, &no).await;
        assert_eq!(questions.len(), asked, "{path:?}");
        assert_eq!(fs::exists(&path).unwrap(), asked == 0, "{path:?}");
    }

    // Nobody can be asked.
    let mut client = world.client(json!({})).await;
    let arguments =
        json!({"session": "host", "localPath": outside.join("file"), "remotePath": "x"});
    let refused = client.call("ssh_upload", arguments).await;
    assert!(
        refused.text().contains("cannot be asked"),
        "{}",
        refused.text()
    );
}
