//! What this machine trusts: transfers neither send it nor replace it without the person.

mod attacks;
mod places;
mod question;
mod trees;

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::support::{
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
    program::Program,
};

/// What a stolen key would be.
pub(crate) const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n";

/// A person's home with what is in one, the program at home there, and a server with another home.
pub(crate) struct AtHome {
    pub(crate) program: Program,
    pub(crate) bench: ConnectedHost<OpenSshd>,
    pub(crate) home: PathBuf,
}

impl AtHome {
    /// With these options on top of the usual ones, made of the folder of the test.
    pub(crate) async fn new() -> Self {
        let bench = TestHost::openssh().connect().await;
        let home = bench.local("person");

        for (path, content) in [
            (".ssh/config", "Host nothing\n"),
            (".ssh/id_ed25519", KEY),
            (".ssh/known_hosts", "example ssh-ed25519 AAAA\n"),
            (".aws/credentials", "secret"),
            (".netrc", "secret"),
            (".npmrc", "secret"),
            (".claude.json", "{}"),
            (".codex/auth.json", "{}"),
            (".kube/config", "secret"),
            (".dotfiles/bashrc", "# mine\n"),
            ("tools/there", ""),
            ("notes.txt", KEY),
            ("project/readme", "text"),
            (".config/git/config", ""),
            ("project/.npmrc", "registry=https://example.com\n"),
            ("project/.git/config", "[core]\n"),
            ("project/.git/hooks/pre-commit", "# mine\n"),
        ] {
            write(&home.join(path), content);
        }

        symlink(".dotfiles/bashrc", home.join(".bashrc")).unwrap();
        symlink(".ssh", home.join("linked")).unwrap();
        symlink("../.ssh/id_ed25519", home.join("project/linked key")).unwrap();
        fs::hard_link(home.join(".ssh/config"), home.join("project/hard")).unwrap();
        fs::hard_link(home.join(".netrc"), home.join("project/hard netrc")).unwrap();
        write(&bench.remote("payload"), "payload");

        // The configuration in use, with another file that it takes in.
        let mut config = fs::read_to_string(&bench.config).unwrap();
        config.insert_str(
            0,
            &format!("Include {}/*.conf\n", bench.local("more").display()),
        );

        fs::write(&bench.config, config).unwrap();
        fs::create_dir(bench.local("more")).unwrap();
        symlink(&bench.config, bench.local("linked config")).unwrap();
        write(
            &bench.local("token"),
            "a token of more than sixteen letters",
        );

        let tools = home.join("tools").into_os_string();
        let path = [tools.as_os_str(), OsStr::new(":/usr/bin:/bin")]
            .into_iter()
            .collect::<std::ffi::OsString>();
        let token = bench.local("token").into_os_string();
        let environment = [
            ("PATH", path.as_os_str()),
            ("MCP_SSH_TOKEN_FILE", token.as_os_str()),
        ];

        let mut program = Program::start_with(Some(&bench.config), &home, &environment).await;
        program
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();

        Self {
            program,
            bench,
            home,
        }
    }

    pub(crate) async fn upload(&mut self, local: &str) -> ToolResult {
        self.program
            .call(
                "ssh_upload",
                json!({"localPath": local, "remotePath": "arrived"}),
            )
            .await
    }

    pub(crate) async fn download(&mut self, remote: &str, local: &str) -> ToolResult {
        self.program
            .call(
                "ssh_download",
                json!({"remotePath": remote, "localPath": local}),
            )
            .await
    }
}

/// Writes a file, with the folders that it is in.
pub(crate) fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Panics unless the call was refused for this reason, and says how to go on.
pub(crate) fn assert_guarded(result: &ToolResult, why: &str) {
    let text = result.text();
    assert!(result.is_error(), "not refused ({why}): {text}");
    for part in ["guarded", why, "\nhint: "] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}
