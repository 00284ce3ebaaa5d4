//! The fixture of the tests: a server, a folder, and a client's configuration in which the server has aliases.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use mcp_ssh_sessions::{
    session::{
        caller::Caller,
        live::LiveSession,
        registry::{RegistryOptions, SessionRegistry},
        work::Connecting,
    },
    ssh::command::remote_host::RemoteHost,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    daemon::Daemon,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    keys,
    mcp_client::{McpClient, ToolResult},
    open_sshd::{OpenSshd, OpenSshdSettings},
    processes, ssh_config,
    sudo_host::{BY_PASSWORD, PASSWORD, SudoHost, SudoHostSettings},
};
#[cfg(target_os = "linux")]
use super::{
    dropbear::Dropbear,
    other_sshd::{Make, OtherSshd},
};

/// A registry with this configuration that saves nothing, for tests that need no MCP client.
pub(crate) fn registry(ssh_config: &Path) -> Arc<SessionRegistry> {
    SessionRegistry::new(RegistryOptions {
        ssh_config: Some(ssh_config.to_owned()),
        store: None,
        output: None,
        settings: Arc::default(),
        own: Vec::new(),
        askpass: None,
    })
}

/// The session of this name, for tests that need no MCP client.
pub(crate) async fn session(registry: &SessionRegistry, name: &str) -> Arc<LiveSession> {
    let opened = registry
        .open(Some(name), Connecting, &Caller::default())
        .await;
    opened.unwrap().0.session
}

/// The host of a session, connected if need be.
pub(crate) async fn host_of(session: &LiveSession) -> Arc<RemoteHost> {
    let caller = Caller::default();
    let permit = session.permit(Connecting, &caller).await.unwrap();
    let connecting = session.connect(&permit, session.connect_limit(), &caller);
    connecting.await.unwrap()
}

/// A test server and a folder for one test. Dropping it stops the server and deletes the folder.
///
/// Every client of the host keeps its store and its output in the folder, as the processes of one person do.
pub(crate) struct TestHost<S> {
    /// Before the folder, so that the server stops first.
    pub(crate) sshd: S,
    pub(crate) port: u16,
    /// The client's `ssh_config`, in which the server is `host`.
    pub(crate) config: PathBuf,
    /// The home of the log-ins, apart from the home of whoever runs the tests.
    pub(crate) home: PathBuf,
    folder: TempDir,
}

impl TestHost<OpenSshd> {
    /// Starts OpenSSH's server with a limit of channels that no test reaches by accident.
    pub(crate) fn openssh() -> Self {
        Self::openssh_with(|_| {})
    }

    /// Starts OpenSSH's server after `change` has had the settings.
    pub(crate) fn openssh_with(change: impl FnOnce(&mut OpenSshdSettings)) -> Self {
        Self::openssh_at(|settings, _| change(settings))
    }

    /// Does the same. `change` has the home of the log-ins, too.
    pub(crate) fn openssh_at(change: impl FnOnce(&mut OpenSshdSettings, &Path)) -> Self {
        let (folder, home) = folder_with_home();
        let mut settings = OpenSshdSettings {
            max_sessions: 300,
            sftp: format!("internal-sftp -d {}", home.display()),
            extra_config: format!("SetEnv HOME={}", home.display()),
            ..OpenSshdSettings::default()
        };

        change(&mut settings, &home);
        let sshd = OpenSshd::start(&settings);

        Self {
            port: sshd.port(),
            config: sshd.write_ssh_config("host", ""),
            sshd,
            home,
            folder,
        }
    }
}

impl TestHost<FakeSshd> {
    /// Starts the in-process server with its usual settings.
    pub(crate) fn fake() -> Self {
        Self::fake_with(FakeSshdSettings::default(), "")
    }

    /// Starts the in-process server with this login shell and room for many sessions.
    pub(crate) fn fake_with_shell(login_shell: &str) -> Self {
        let settings = FakeSshdSettings {
            login_shell: login_shell.to_owned(),
            max_sessions: 300,
            ..FakeSshdSettings::default()
        };

        Self::fake_with(settings, "")
    }

    /// Starts the in-process server, which accepts this password and not the client's key.
    pub(crate) fn fake_with_password(password: &str) -> Self {
        let settings = FakeSshdSettings {
            password: Some(password.to_owned()),
            ..FakeSshdSettings::default()
        };

        let host = Self::fake_with(settings, "");
        keys::write_private_key(&host.key(), &keys::ed25519(), None);

        host
    }

    /// Starts the in-process server with these settings. The `extra` lines come first in the `ssh_config`, so that they
    /// win. The server also has the aliases `box`, `other` and `third`.
    pub(crate) fn fake_with(settings: FakeSshdSettings, extra: &str) -> Self {
        let (folder, home) = folder_with_home();
        let (secret, key) = (keys::ed25519(), folder.path().join("id_ed25519"));
        keys::write_private_key(&key, &secret, None);
        let mut authorized_keys = settings.authorized_keys.clone();
        authorized_keys.push(secret.public_key().clone());

        let sshd = FakeSshd::start(FakeSshdSettings {
            authorized_keys,
            home: Some(home.clone()),
            ..settings
        });

        let known_hosts = folder.path().join("known_hosts");
        fs::write(&known_hosts, sshd.known_hosts_line()).unwrap();

        let blocks = format!(
            "{extra}\nHost host box other third\nHostName 127.0.0.1\nPort {}\nUser agent\nIdentityFile {}\nHost *\n\
             IdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile \"{}\"\nGlobalKnownHostsFile /dev/null\n\
             StrictHostKeyChecking yes\n",
            sshd.port(),
            key.display(),
            known_hosts.display()
        );

        Self {
            port: sshd.port(),
            config: ssh_config::write(folder.path(), "host", &blocks),
            sshd,
            home,
            folder,
        }
    }

    /// The client's private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.local("id_ed25519")
    }

    /// Counts the commands with this text that the server has received.
    pub(crate) fn received(&self, text: &str) -> usize {
        let commands = self.sshd.commands();
        commands
            .iter()
            .filter(|command| command.contains(text))
            .count()
    }
}

#[cfg(target_os = "linux")]
impl TestHost<Dropbear> {
    /// Starts Dropbear with this login shell.
    pub(crate) fn dropbear(login_shell: &Path) -> Self {
        Self::dropbear_after(&[], login_shell)
    }

    /// Does the same, with these words before the command of the server.
    pub(crate) fn dropbear_after(before: &[String], login_shell: &Path) -> Self {
        let (folder, home) = folder_with_home();
        let sshd = Dropbear::start(&home, login_shell, before);

        Self {
            port: sshd.port(),
            config: sshd.write_ssh_config("host"),
            sshd,
            home,
            folder,
        }
    }
}

#[cfg(target_os = "linux")]
impl TestHost<OtherSshd> {
    /// Starts a server of another make. Relative paths begin at its home.
    pub(crate) fn other(make: &Make) -> Self {
        let (folder, home) = folder_with_home();
        let sshd = OtherSshd::start(make, &home);

        Self {
            port: sshd.port(),
            config: sshd.write_ssh_config("host", ""),
            sshd,
            home,
            folder,
        }
    }
}

impl TestHost<SudoHost> {
    /// Starts a server with a real sudo, which logs its account in with a key. Returns `None`, and prints why, where this
    /// user cannot.
    pub(crate) fn sudo(settings: &SudoHostSettings) -> Option<Self> {
        let sshd = SudoHost::start(settings)?;

        Some(Self {
            port: sshd.sshd.port(),
            config: sshd.sshd.write_ssh_config("host", ""),
            home: sshd.home(),
            sshd,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// Starts such a server and connects to it with the account's password.
    pub(crate) async fn sudo_with_password(
        settings: SudoHostSettings,
    ) -> Option<ConnectedHost<SudoHost>> {
        let host = Self::sudo(&SudoHostSettings {
            extra_config: BY_PASSWORD,
            ..settings
        })?;

        Some(host.connect_with(json!({"password": PASSWORD})).await)
    }
}

impl<S> TestHost<S> {
    /// Starts a client, which shares nothing but the store with other clients of the host.
    pub(crate) async fn client(&self) -> McpClient {
        McpClient::start(&self.config, self.folder()).await
    }

    /// Starts a client and connects its session `host`.
    pub(crate) async fn connect(self) -> ConnectedHost<S> {
        self.connect_with(json!({})).await
    }

    /// Starts a client and connects its session `host` with further parameters.
    pub(crate) async fn connect_with(self, mut more: Value) -> ConnectedHost<S> {
        let mut mcp = self.client().await;
        more["host"] = "host".into();
        mcp.connect(more).await;
        ConnectedHost { mcp, host: self }
    }

    /// Starts a daemon with further arguments.
    pub(crate) async fn daemon(&self, arguments: &[&str]) -> Daemon {
        Daemon::start(&self.config, self.folder(), arguments).await
    }

    /// The folder with the store and with all that the test writes on this machine.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub(crate) fn local(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A path in the home of the log-ins.
    pub(crate) fn remote(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// The content of the store.
    pub(crate) fn store(&self) -> Value {
        serde_json::from_slice(&fs::read(self.local("sessions.json")).unwrap()).unwrap()
    }

    /// Reports whether a process with this argument runs on the server.
    pub(crate) fn runs(&self, argument: &str) -> bool {
        !processes::running(self.port, argument).is_empty()
    }
}

/// A host and a client whose session `host` was connected when this was made.
pub(crate) struct ConnectedHost<S> {
    /// Before the host, so that the client stops first.
    pub(crate) mcp: McpClient,
    pub(crate) host: TestHost<S>,
}

impl<S> ConnectedHost<S> {
    /// Calls `ssh_exec` with a command and further parameters.
    pub(crate) async fn exec(&mut self, command: &str, more: Value) -> ToolResult {
        self.mcp
            .call("ssh_exec", with_command(command, more))
            .await
            .ok()
    }

    /// Calls `ssh_shell` with a command and further parameters.
    pub(crate) async fn shell(&mut self, command: &str, more: Value) -> ToolResult {
        self.mcp
            .call("ssh_shell", with_command(command, more))
            .await
            .ok()
    }

    /// Begins a call of `tool` with a command and further parameters.
    pub(crate) async fn begin(&mut self, tool: &str, command: &str, more: Value) -> u64 {
        self.mcp.begin_call(tool, with_command(command, more)).await
    }
}

impl ConnectedHost<SudoHost> {
    /// Calls `ssh_exec` as root with a command and further parameters.
    pub(crate) async fn root(&mut self, command: &str, mut more: Value) -> ToolResult {
        more["sudo"] = true.into();
        self.mcp.call("ssh_exec", with_command(command, more)).await
    }
}

impl<S> Deref for ConnectedHost<S> {
    type Target = TestHost<S>;

    fn deref(&self) -> &TestHost<S> {
        &self.host
    }
}

fn folder_with_home() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    (folder, home)
}

fn with_command(command: &str, mut more: Value) -> Value {
    more["command"] = command.into();
    more
}
