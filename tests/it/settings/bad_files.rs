//! Settings files that cannot be used.

use std::{fs, os::unix::fs::symlink};

use super::{Person, chmod};

#[tokio::test]
async fn a_file_that_cannot_be_used_is_explained() {
    let person = Person::new("");
    let file = person.file();
    let shown = file.display().to_string();
    let long = "#".repeat(1_000_000);

    for (content, words) in [
        (
            "[host.a]\nacess = 'read'\n",
            "line 2: the key `acess` in [host.a] is unknown; did you mean `access`?",
        ),
        (
            "[host.a]\nrun = 3\n",
            "line 2: the value of `run` in [host.a]",
        ),
        ("[host.a]\r\nrun\r\n", "line 2: this is not TOML"),
        ("# \0", "line 1: this is not TOML"),
        ("", "it is empty"),
        (&long, "it is longer than 256 KiB"),
    ] {
        fs::write(&file, content).unwrap();
        person.settings("a").await.has(
            1,
            &[
                &format!("the settings file {shown} cannot be used, so nothing is done on any host: {words}"),
                &format!("next: correct {shown}"),
            ],
        );

        let told = person.json("a").await;
        assert!(told["error"].as_str().unwrap().contains(words), "{told}");
        assert!(told["work"].is_null());
    }

    // What a Windows editor writes is the same file.
    fs::write(&file, "\u{feff}[host.a]\r\nrun = 'ask'\r\n").unwrap();
    person
        .settings("a")
        .await
        .has(0, &["run = \"ask\": [host.a]"]);
}

#[tokio::test]
async fn a_file_that_others_could_change_is_refused() {
    let person = Person::new("");
    person.write("[host.a]\nrun = 'ask'");
    let file = person.file();
    let folder = file.parent().unwrap().to_owned();
    let above = folder.parent().unwrap().to_owned();

    for (path, mode) in [
        (&file, 0o620),
        (&file, 0o602),
        (&folder, 0o770),
        (&above, 0o777),
    ] {
        let usual = fs::metadata(path).unwrap().permissions();
        chmod(path, mode);
        let remedy = format!(
            "other users may write to {}; run: chmod go-w",
            path.display()
        );
        person.settings("a").await.has(1, &[&remedy]);
        fs::set_permissions(path, usual).unwrap();
    }

    // In a folder such as /tmp nobody can exchange the files of others.
    chmod(&above, 0o1777);
    person.settings("a").await.has(0, &["run = \"ask\""]);
}

#[tokio::test]
async fn links_lead_through_folders_of_their_own() {
    let person = Person::new("");
    let file = person.file();
    let elsewhere = person.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("rules"), "[host.a]\nrun = 'ask'").unwrap();
    symlink(elsewhere.join("rules"), &file).unwrap();

    person.settings("a").await.has(0, &["run = \"ask\""]);
    chmod(&elsewhere, 0o777);
    person
        .settings("a")
        .await
        .has(1, &["elsewhere; run: chmod go-w"]);
    chmod(&elsewhere, 0o755);

    fs::remove_file(&file).unwrap();
    symlink("nowhere", &file).unwrap();
    person.settings("a").await.has(1, &["cannot be examined"]);

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    person
        .settings("a")
        .await
        .has(1, &["it is not a regular file"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_of_another_user_is_refused() {
    use std::os::unix::fs::chown;

    use crate::support::{checks::skipped, other_user::OTHER};

    if !nix::unistd::geteuid().is_root() {
        skipped("only root can give a file away; run the tests as root to see such a file refused");
        return;
    }

    let person = Person::new("");
    let file = person.file();
    person.write("[host.a]\nrun = 'ask'");

    for path in [file.as_path(), file.parent().unwrap()] {
        chown(path, Some(OTHER), None).unwrap();
        let words = format!("{} belongs to another user", path.display());
        person.settings("a").await.has(1, &[&words]);
        chown(path, Some(0), None).unwrap();
    }
}
