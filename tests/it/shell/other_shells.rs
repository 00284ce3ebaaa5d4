//! Accounts without bash, and accounts that may not start a shell.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::commands::{Bench, assert_stopped, code, fake, plain, running, skipped};
use crate::support::fake_sshd::FakeSshd;

/// A login shell that runs each command with `prepare` done before.
fn login_shell(folder: &Path, prepare: &str) -> String {
    let path = folder.join("login-shell");
    fs::write(&path, format!("#!/bin/sh\n{prepare}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// A folder of programs without bash.
fn without_bash(folder: &Path) -> PathBuf {
    let programs = folder.join("bin");
    fs::create_dir(&programs).unwrap();
    for place in ["/usr/bin", "/bin"] {
        for entry in fs::read_dir(place).unwrap().flatten() {
            let name = entry.file_name();
            if !name.to_string_lossy().contains("bash") {
                let _ = symlink(entry.path(), programs.join(name));
            }
        }
    }
    programs
}

/// A server whose log-ins find no bash, if its `/bin/sh` is none either.
async fn bash_less(folder: &Path) -> Option<Bench<FakeSshd>> {
    let programs = without_bash(folder).display().to_string();
    let mut bench = fake(&login_shell(folder, &format!("PATH='{programs}'; export PATH; exec /bin/sh \"$@\""))).await;
    let bash = bench.exec("echo ${BASH_VERSION:+bash}", plain()).await;
    if bash.stdout() == "\n" {
        return Some(bench);
    }
    skipped("/bin/sh is bash here");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_is_not_bash_keeps_its_state_and_stays_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut bench) = bash_less(folder.path()).await else { return };
    for (command, stdout, exit) in [
        ("cd /usr/lib; V='a b'; f() { echo \"f:$1\"; }; export E=1", "", 0),
        ("pwd; echo \"$V\"; f x; sh -c 'echo $E'", "/usr/lib\na b\nf:x\n1\n", 0),
        ("(exit 7)", "", 7),
        ("echo $?", "7\n", 0),
        ("", "", 0),
        ("# comment", "", 0),
        ("cat; read x; head -c 10; echo after", "after\n", 0),
        ("cat <<END\n$((1+1))\nEND", "2\n", 0),
        ("printf abc", "abc", 0),
        ("exec >/dev/null; echo hidden", "", 0),
        ("exec 8>&- 9>&-; echo a", "a\n", 0),
        ("i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i", "3\n", 0),
        ("alias eval=false command=false unset=false", "", 0),
        ("echo \"$V\"; unalias -a", "a b\n", 0),
        ("IFS=0123456789", "", 0),
        ("echo ok; unset IFS", "ok\n", 0),
        ("command() { :; }; printf() { :; }", "", 0),
        ("(exit 5)", "", 5),
        ("set -e; unset -f printf", "", 0),
        ("set +e", "", 0),
        ("OP=$PATH; unset PATH", "", 0),
        ("PATH=$OP", "", 0),
        ("readonly __mcp_c=3 __mcp_x=4; readonly __mcp_r", "", 0),
        ("(exit 6)", "", 6),
        ("readonly PWD IFS", "", 0),
        ("echo $?", "0\n", 0),
    ] {
        let result = bench.shell(command, json!({"timeoutMs": 20_000})).await;
        assert_eq!((result.stdout().as_str(), result.stderr().as_str()), (stdout, ""), "{command}: {result:?}");
        assert_eq!(code(&result), Some(exit), "{command}");
        assert_eq!(result.outcome()["cwd"], "/usr/lib", "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_do_not_throw_a_shell_that_is_not_bash_out_of_step() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut bench) = bash_less(folder.path()).await else { return };
    bench.shell("cd /usr/lib; V=kept", plain()).await;
    for command in [
        "echo 'abc",
        "echo \"abc",
        "echo $(abc",
        "if true; then",
        ")",
        "}",
        "done",
        "echo ${NOPE:?boom}; echo no",
        "set -u; echo $NOPE",
        "set +u; readonly RO=1; RO=2",
        "exec /no/such",
        "cat <<EOF\nline",
        "set -x; true",
        "set +x",
        ". /no/such",
        "shift 99",
        "break; continue",
        "return 5",
        "command -v no-such-program",
    ] {
        bench.shell(command, json!({"timeoutMs": 20_000})).await;
        let result = bench.shell("echo $V $PWD; echo e >&2", json!({"timeoutMs": 20_000})).await;
        assert!(result.stdout().ends_with("/usr/lib\n") && result.stderr().ends_with("e\n"), "{command}: {result:?}");
    }
    for command in ["exit 3", "exec true", "kill -9 $$", "set -e; false"] {
        let result = bench.shell(&format!("cd /usr/lib; {command}"), json!({"timeoutMs": 20_000})).await;
        assert!(result.status_line().contains("the shell itself has ended"), "{command}: {result:?}");
        assert_eq!(bench.shell("pwd", plain()).await.stdout(), "/usr/lib\n", "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_is_not_bash_takes_stdin_and_long_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut bench) = bash_less(folder.path()).await else { return };
    // A here-document is all there is, and its last line has an end.
    for (stdin, end) in [("", ""), ("\n", ""), ("text", "\n"), ("it's \\n %s $x `id`\r\né日\n\n", ""), ("-n\n", "")] {
        let result = bench.shell("cat", json!({"stdin": stdin})).await;
        assert_eq!((result.stdout(), result.stderr()), (format!("{stdin}{end}"), String::new()), "{stdin:?}");
    }
    let refused = bench.mcp.call("ssh_shell", json!({"command": "cat", "stdin": "a\0b"})).await;
    assert!(refused.is_error() && refused.text().contains("NUL"), "{refused:?}");
    let long = format!("x='{}'; echo ${{#x}}", "y".repeat(3_000_000));
    assert_eq!(bench.shell(&long, plain()).await.stdout(), "3000000\n");
    let result = bench.shell("yes | head -c 3000000; yes | head -c 3000000 >&2", plain()).await;
    assert_eq!(result.outcome()["stdoutBytes"], 3_000_000);
    assert_eq!(bench.shell("echo in step", plain()).await.stdout(), "in step\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_works_in_a_shell_that_is_not_bash() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut bench) = bash_less(folder.path()).await else { return };
    let port = bench.sshd.port();
    bench.shell("cd /usr/lib; sleep 7601 & true", plain()).await;
    for command in [
        "sleep 7600; echo no",
        "sleep 7600 | cat; echo no",
        "while :; do :; done",
        "(trap '' INT TERM; sleep 7600; sleep 7600)",
    ] {
        let result = bench.shell(command, json!({"timeoutMs": 400})).await;
        assert_stopped(&result, "timedOut", port, "7600");
        assert_eq!(result.stdout(), "", "{command}");
        assert_eq!(bench.shell("pwd", plain()).await.stdout(), "/usr/lib\n", "{command}");
        assert_eq!(running(port, "7601").len(), 1, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_shell_gets_a_clear_error_and_exec_still_works() {
    let Some(rbash) = ["/bin/rbash", "/usr/bin/rbash"].into_iter().find(|path| Path::new(path).exists()) else {
        skipped("rbash is not installed");
        return;
    };
    let mut bench = fake(rbash).await;
    let result = bench.mcp.call("ssh_shell", json!({"command": "pwd"})).await;
    assert!(
        result.is_error() && result.text().contains("restricted") && result.text().contains("ssh_exec"),
        "{result:?}"
    );
    assert_eq!(bench.exec("echo works", plain()).await.stdout(), "works\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_shell_gets_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let nologin = login_shell(folder.path(), "echo 'This account is currently not available.'; exit 1");
    let mut bench = fake(&nologin).await;
    let result = bench.mcp.call("ssh_shell", json!({"command": "pwd"})).await;
    assert!(result.is_error() && result.text().contains("ended at once"), "{result:?}");
    let result = bench.exec("pwd", plain()).await;
    assert_eq!((code(&result), result.stdout().as_str()), (Some(1), "This account is currently not available.\n"));
}
