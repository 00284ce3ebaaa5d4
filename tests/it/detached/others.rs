//! Folders of detached jobs that somebody else could write to.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use mcp_ssh_sessions::framing::{
    detached::{
        DetachedStart,
        answer::{DetachedState, Refusal},
    },
    stream::Stream,
};

use super::scripts::{Machine, machines, new_id};
use crate::support::processes;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn assert_distrusted<T: std::fmt::Debug>(result: &Result<T, Refusal>, what: &str) {
    assert!(
        matches!(result, Err(Refusal::Failed(words)) if words.raw().contains("can be changed by other accounts")),
        "{what}: {result:?}"
    );
}

#[test]
fn a_job_whose_folder_others_may_write_to_is_not_believed() {
    for machine in machines() {
        let id = machine.start("read -r line; sleep 600", None);
        let folder = machine.directory(&id);

        for mode in [0o777, 0o770, 0o702] {
            allow(&folder, mode);
            assert_distrusted(&machine.wait(&id, 0, None), "wait");
            assert_distrusted(&machine.read(&id, Stream::Stdout, 0, 10), "read");
            assert_distrusted(&machine.feed(&id, b"x", false, 10), "feed");
            assert_distrusted(&machine.try_signal(&id, "INT"), "note");
            assert_distrusted(&machine.remove(&id), "remove");
            assert_eq!(machine.list(), []);
        }

        allow(&folder, 0o700);
        assert_eq!(
            machine.wait(&id, 0, None).unwrap().state,
            DetachedState::Running
        );

        let elsewhere = machine.home().join("elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        symlink(&elsewhere, &folder).unwrap();
        assert_distrusted(&machine.wait(&id, 0, None), "link");
        assert_eq!(machine.list(), []);
        fs::remove_file(&folder).unwrap();
        fs::rename(&elsewhere, &folder).unwrap();

        if rustix::process::geteuid().is_root() {
            chown(&folder, Some(12345), None).unwrap();
            assert_distrusted(&machine.wait(&id, 0, None), "another account's");
            chown(&folder, Some(0), None).unwrap();
        }

        assert_eq!(
            machine.wait(&id, 0, None).unwrap().state,
            DetachedState::Running
        );
    }
}

#[test]
fn a_folder_that_others_may_write_to_starts_and_lists_no_job() {
    for machine in machines() {
        let id = machine.start("exit 3", Some(b""));
        assert!(matches!(
            machine.end(&id),
            DetachedState::Exited { code: 3, .. }
        ));

        let ours = machine.jobs();

        for folder in [ours.as_path(), ours.parent().unwrap()] {
            allow(folder, 0o770);
            distrusts(&machine);
            allow(folder, 0o700);
            let elsewhere = machine.home().join("elsewhere");
            fs::rename(folder, &elsewhere).unwrap();
            symlink(&elsewhere, folder).unwrap();
            distrusts(&machine);
            fs::remove_file(folder).unwrap();
            fs::rename(&elsewhere, folder).unwrap();
        }

        let above = machine.home().join(".local/state");
        allow(&above, 0o777);
        distrusts(&machine);

        for mode in [0o1777, 0o775] {
            allow(&above, mode);
            assert_eq!(machine.list().len(), 1);
        }
    }
}

fn distrusts(machine: &Machine) {
    assert_distrusted(&machine.try_start(&new_id(), "echo ran", None), "start");
    assert_distrusted(&machine.try_list(), "list");

    assert!(!fs::read_dir(machine.jobs()).unwrap().any(|entry| {
        entry
            .unwrap()
            .path()
            .join("out")
            .metadata()
            .is_ok_and(|out| out.len() > 0)
    }));
}

#[test]
fn a_script_that_others_could_have_written_is_not_run() {
    for machine in machines() {
        let id = new_id();

        machine
            .begin(DetachedStart {
                limit: 3,
                ..machine.with(&id, "read -r line; exit 4")
            })
            .unwrap();

        let (folder, evidence) = (machine.directory(&id), machine.home().join("evidence"));
        allow(&folder, 0o777);
        fs::write(
            folder.join("stop.sh"),
            format!(": >'{}'\n", evidence.display()),
        )
        .unwrap();

        // The watch for the limit has a `sleep` for the time until then, and looks at the folder after it.
        let sleeps = |pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments
                .split(|byte| *byte == 0)
                .eq(["sleep", "3", ""].map(str::as_bytes))
        };

        let sleep = machine
            .processes()
            .into_iter()
            .find(sleeps)
            .expect("the watch waits for the limit");

        let stat = fs::read_to_string(format!("/proc/{sleep}/stat")).unwrap();

        let watch: u32 = stat
            .rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();

        while !processes::is_over(watch) {
            std::thread::yield_now();
        }

        allow(&folder, 0o700);
        machine.feed(&id, b"\n", true, 100).unwrap();
        assert!(matches!(
            machine.end(&id),
            DetachedState::Exited { code: 4, .. }
        ));

        assert!(!evidence.exists());
    }
}
