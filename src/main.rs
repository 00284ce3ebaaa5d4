//! Parses the arguments, logs to stderr, serves, and returns the exit status.

use std::{io::Write as _, process::ExitCode};

use clap::{Parser as _, error::ErrorKind};
use mcp_ssh_sessions::{
    cli::{LogLevel, Options},
    mcp::transport::stdio,
    session::registry::{RegistryOptions, SessionRegistry},
    ssh::connection::default_output_folder,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };
    log_to_stderr(options.log);
    // One thread for everything that waits; what computes or blocks gets threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        let registry = SessionRegistry::new(RegistryOptions {
            ssh_config: options.ssh_config.clone(),
            store: options.store_path(),
            output: default_output_folder(),
        });
        stdio::serve(registry, stop).await;
    });
    // A read of stdin that still blocks a thread must not hold the process up.
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

/// Prints help and version on stdout; of a wrong option one line on stderr, with exit status 2.
fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    fail(&format!("{line} (see --help)"))
}

fn fail(line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "mcp-ssh-sessions: {line}");
    ExitCode::from(2)
}

/// Only our own messages: those of libraries may quote requests, and so passwords.
fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Off => return,
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let ours = Targets::new().with_target("mcp_ssh_sessions", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(ours);
    let _ = tracing_subscriber::registry().with(lines).try_init();
}

async fn cancel_on_signal(stop: CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let wait = async |kind| match signal(kind) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        };
        tokio::select! {
            _ = wait(SignalKind::terminate()) => {}
            _ = wait(SignalKind::interrupt()) => {}
            _ = wait(SignalKind::hangup()) => {}
            () = npx_has_ended() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
    stop.cancel();
}

/// Waits for the end of the npx that started this program, if one did: its shell passes no signal on.
#[cfg(unix)]
async fn npx_has_ended() {
    use std::os::unix::process::parent_id;
    if std::env::var_os("npm_lifecycle_event").is_none_or(|event| event != "npx") {
        return std::future::pending().await;
    }
    let parent = parent_id();
    while parent_id() == parent {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
