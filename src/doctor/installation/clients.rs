//! The AI clients: which of them have this server, and whether the command works.

use std::{collections::HashMap, fs, path::Path, process::Stdio, time::Duration};

use super::InstallationCheck;
use crate::{
    child,
    client_config::{
        client::Client,
        hook,
        launch::Launch,
        servers::{self, Presence},
    },
    setup::machine::UserMachine,
};

/// Time limit of a server's command. `npx` may download the package first.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How a command ended: with the version, or with a reason why there is none.
type StartResult = Result<String, String>;

/// Checks all clients that are installed.
pub(super) async fn all(machine: &UserMachine) -> Vec<InstallationCheck> {
    let installed: Vec<Client> = Client::ALL
        .into_iter()
        .filter(|client| machine.has(*client))
        .collect();
    if installed.is_empty() {
        return vec![InstallationCheck::absent(
            "clients",
            "none of the known ones is installed",
            None,
        )];
    }

    // Most clients have the same command, which is tried once.
    let mut tried = HashMap::new();
    let mut checks = Vec::new();
    for client in installed {
        checks.push(check(machine, client, &mut tried).await);
        checks.extend(hook(machine, client));
    }
    checks
}

/// Checks one client.
async fn check(
    machine: &UserMachine,
    client: Client,
    tried: &mut HashMap<Launch, StartResult>,
) -> InstallationCheck {
    let file = machine.folders.servers_file(client);
    let set_up = format!("run: npx -y mcp-ssh-sessions setup {}", client.id());
    let text = match read(&file) {
        Ok(text) => text,
        Err(reason) => {
            return InstallationCheck::bad(client.name(), reason, "make the file readable");
        }
    };

    let launch = match servers::presence(client, &text) {
        Err(error) => {
            return InstallationCheck::bad(
                client.name(),
                format!("{}: {error}", file.display()),
                "correct the file; the client cannot read it either",
            );
        }
        Ok(Presence::Absent) => {
            return InstallationCheck::absent(
                client.name(),
                "does not have this server",
                Some(&set_up),
            );
        }
        Ok(Presence::Taken) => {
            return InstallationCheck::absent(
                client.name(),
                "does not have this server; another one is called ssh there",
                Some("rename that one, then run setup"),
            );
        }
        Ok(Presence::Ours { launch, .. }) => launch,
    };

    if machine.find_command(&launch.command).is_none() {
        return InstallationCheck::bad(
            client.name(),
            format!("starts {}, which is not there", launch.command),
            &set_up,
        );
    }

    let version = match tried.get(&launch) {
        Some(version) => version.clone(),
        None => version_of(machine, &launch).await,
    };
    tried.insert(launch.clone(), version.clone());

    judge(client, &launch.shell_line(), version)
}

/// Judges the command by which a client starts the server.
fn judge(client: Client, line: &str, version: StartResult) -> InstallationCheck {
    match version {
        Ok(version) if version == env!("CARGO_PKG_VERSION") => {
            InstallationCheck::good(client.name(), format!("starts `{line}`"))
        }
        Ok(version) => InstallationCheck::good(
            client.name(),
            format!("starts `{line}`, which has version {version}"),
        ),
        Err(reason) => InstallationCheck::bad(
            client.name(),
            format!("starts `{line}`, which fails: {reason}"),
            "run that command in a terminal and correct what it says",
        ),
    }
}

/// Checks the program of a client's hook, if it has ours.
fn hook(machine: &UserMachine, client: Client) -> Option<InstallationCheck> {
    let text = read(&machine.folders.hooks_file(client)?).ok()?;
    let command = hook::find(client, &text).ok()??;
    let program = hook::program(&command);
    if machine.find_command(program).is_some() {
        return None;
    }

    Some(InstallationCheck::bad(
        client.name(),
        format!("runs the hook {program}, which is not there"),
        &format!("run: npx -y mcp-ssh-sessions setup {} --hook", client.id()),
    ))
}

/// Returns the text of a file; an empty one if there is no file.
fn read(file: &Path) -> Result<String, String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("cannot read {}: {error}", file.display())),
    }
}

/// Starts the server as the client does, only to tell its version.
async fn version_of(machine: &UserMachine, launch: &Launch) -> StartResult {
    let program = machine
        .find_command(&launch.command)
        .unwrap_or_else(|| launch.command.clone().into());
    let running = child::command(program)
        .args(&launch.args)
        .arg("--version")
        .current_dir(&machine.folders.home)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(START_LIMIT, running)
        .await
        .map_err(|_| "it did not end within a minute".to_owned())?
        .map_err(|error| error.to_string())?;

    let output = String::from_utf8_lossy(&ended.stdout);
    let version = output.trim().strip_prefix("mcp-ssh-sessions ");
    match version {
        Some(version) if ended.status.success() => Ok(version.to_owned()),
        _ => {
            let words = String::from_utf8_lossy(&ended.stderr);
            let last = words.lines().rfind(|line| !line.trim().is_empty());
            Err(last.map_or_else(|| ended.status.to_string(), |line| line.trim().to_owned()))
        }
    }
}
