//! Entry point: parses the arguments, logs to stderr, serves, and returns the exit status.

use std::{
    alloc::System,
    ffi::OsString,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{self, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser as _, ValueEnum as _, error::ErrorKind};
use mcp_ssh_sessions::{
    audit::calls::Filter,
    audit_command,
    cli::{AuditArguments, AuditCommand, Command, LogLevel, Options, SetupArguments},
    completions,
    doctor::{
        Colours, DoctorTarget,
        installation::{self, ChosenFiles, DaemonState},
    },
    explain::Explanation,
    foreign_text::escape_line,
    hook::{self, HookFiles, HookOutput},
    mcp::{
        dashboard::{
            routes::{self, AccessKeys},
            status_client::{self, StatusEndpoint, StatusFormat},
        },
        transport::{
            http::serve::Daemon,
            shared::{
                DaemonStart, daemon,
                location::{DaemonLocation, LocationError},
                stdio_proxy,
            },
            stdio,
        },
        web::{
            listen::{self, Addresses, HandedOver},
            token::{AccessTokenError, Token},
        },
    },
    session::{
        registry::{RegistryOptions, SessionRegistry},
        settings_file::SettingsFile,
    },
    setup::{self, SetupOptions},
    ssh::{command::output::default_output_folder, prompt::askpass::Askpass},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};
use zeroizing_alloc::ZeroAlloc;

/// Allocator of the program, which wipes freed memory. Passwords also pass through buffers of
/// libraries, such as the JSON of a request or data for a server.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

/// Port of the examples in the documentation.
const DOCUMENTED_PORT: u16 = 7722;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };

    // With stdio these options would have no effect, so they are more likely a mistake than a wish.
    if options.listen.is_some() && options.http.is_none() && options.command.is_none() {
        return fail("--listen says where to serve HTTP, and needs --http PORT (see --help)");
    }

    if options.open && options.http.is_none() && options.command.is_none() {
        return fail("--open opens the page of a daemon, and needs --http PORT (see --help)");
    }

    if options.shared
        && options.command.is_none()
        && (options.http.is_some() || options.socket().is_some())
    {
        return fail(
            "--shared serves standard input and output, and goes without --http and --socket (see --help)",
        );
    }

    log_to_stderr(options.log);

    // A client waits for the answer, so nothing else is started.
    if options.command == Some(Command::Hook) {
        return hook(&options);
    }

    // A user waits at the cursor.
    match &options.command {
        Some(Command::Completions { shell }) => return print(completions::script(*shell)),
        Some(Command::Complete { word, before }) => {
            return print(&completions::complete(word, before, &options));
        }
        _ => {}
    }

    // The first of two processes: it leaves the terminal, starts the second with `--serve`, and
    // ends.
    if let Some(Command::SharedDaemon { serve: false, .. }) = options.command {
        let started = DaemonStart::new(std::env::args_os().skip(1).collect())
            .and_then(|start| start.with("--serve").detach());
        return started.map_or_else(
            |error| fail(&format!("cannot start: {error}")),
            |()| ExitCode::SUCCESS,
        );
    }

    // One thread runs everything that waits. Work that computes or blocks gets threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };

    let ended = runtime.block_on(run(&options));

    // A read of stdin may still block a thread, and must not keep the process alive.
    runtime.shutdown_background();

    match ended {
        Ok(code) => code,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Runs the subcommand or server of the options, until the end or a signal.
///
/// # Errors
/// The options cannot be followed, for instance because an address is taken.
async fn run(options: &Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Some(Command::Doctor { host, json }) = &options.command {
        return match host {
            Some(host) => doctor(options, host, *json).await,
            None => examine_installation(options, *json).await,
        };
    }

    if let Some(Command::Setup(arguments)) = &options.command {
        return set_up(options, arguments).await;
    }

    if let Some(Command::Settings { host, json }) = &options.command {
        return explain(options, host, *json).await;
    }

    if let Some(Command::Audit(arguments)) = &options.command {
        return audit(options, arguments);
    }

    if let Some(Command::Status { json }) = options.command {
        let endpoint = daemon_to_ask(options)?;
        return print_status(
            options,
            &endpoint,
            if json {
                StatusFormat::Json
            } else {
                StatusFormat::Table
            },
        )
        .await;
    }

    // From here on the process serves, so a signal has to stop commands on the hosts before the
    // end.
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));

    // The daemon of --shared ends by itself, since no user has started it by hand.
    if let Some(Command::SharedDaemon { idle, .. }) = options.command {
        let location = shared_location(options)?;
        daemon::serve(
            registry(options),
            &location,
            Duration::from_millis(idle),
            stop,
        )
        .await?;
        return Ok(ExitCode::SUCCESS);
    }

    // This process only passes lines on. The sessions live in the daemon, which other terminals use
    // as well.
    if options.shared {
        stdio_proxy::serve(
            shared_location(options)?,
            DaemonStart::new(arguments_of_daemon(options)?)?,
            stop,
        )
        .await;
        return Ok(ExitCode::SUCCESS);
    }

    // Sockets of a service manager make this process a daemon, even without --http or --socket.
    let registry = registry(options);
    let handed_over = HandedOver::from_environment()?;
    if options.http.is_none() && options.socket().is_none() && handed_over.is_empty() {
        stdio::serve(registry, stop).await;
        return Ok(ExitCode::SUCCESS);
    }

    // Read before anything listens: a daemon whose token file is missing must not serve without a
    // token.
    let token = token(options)?;

    let addresses = Addresses {
        port: options.http,
        ip: options.listen,
        socket: options.socket(),
        has_token: token.is_some(),
    };

    let listeners = listen::open(&addresses, handed_over).await?;
    let places: Vec<String> = listeners.iter().map(listen::Listener::address).collect();
    say(&format!("ready on {}", places.join(" and ")));
    let access_keys = Arc::new(AccessKeys::new()?);

    // A Unix socket has no page for a browser. `status --open` opens a port for the page on demand.
    if let Some(page) = listeners.iter().find_map(listen::Listener::page) {
        let link = page + &access_keys.link()?;
        say(&format!(
            "watch at {link} (works once; for another one: mcp-ssh-sessions status --open)"
        ));

        open_if_wanted(options, &link);
    }

    let daemon = Daemon {
        registry,
        listeners,
        token,
        access: access_keys,
        shared: None,
    };
    daemon.serve(stop).await;

    Ok(ExitCode::SUCCESS)
}

/// Answers a client that is about to call a tool. With exit status 2 the client does not call it.
fn hook(options: &Options) -> ExitCode {
    let files = HookFiles {
        settings: settings_file(options),
        ssh_config: options.ssh_config.clone(),
        store: options.store_path(),
    };

    match hook::run(io::stdin().lock(), &files) {
        HookOutput::Nothing => ExitCode::SUCCESS,
        HookOutput::Answer(answer) => match writeln!(io::stdout(), "{answer}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!(
                "the answer of the hook cannot be written: {error}"
            )),
        },
        HookOutput::Blocked(reason) => fail(&reason),
    }
}

/// Prints a text on stdout, as it is.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("the output cannot be written: {error}")),
    }
}

/// Explains on stdout whether a host connects. The exit status is 1 if it does not.
///
/// # Errors
/// The report cannot be written.
async fn doctor(
    options: &Options,
    host: &str,
    json: bool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let patient = match DoctorTarget::find(host, options.ssh_config.clone(), options.store_path()) {
        Ok(patient) => patient,
        Err(error) => return Ok(fail(&format!("{error} (see --help)"))),
    };

    let report = patient.diagnose().await;
    let text = if json {
        report.json()?
    } else {
        report.text(Colours::of_stdout())
    };

    writeln!(io::stdout(), "{text}")?;

    Ok(ExitCode::from(u8::from(!report.connects())))
}

/// Adds this server to clients, or takes that back. The exit status is 1 if one of them could not be
/// changed.
///
/// # Errors
/// The home directory is not known, the record of the changes cannot be read, or the output cannot
/// be written.
async fn set_up(
    options: &Options,
    arguments: &SetupArguments,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let is_done = if arguments.undo {
        setup::undo(&arguments.clients, &mut io::stdout())?
    } else {
        let wanted = SetupOptions {
            clients: arguments.clients.clone(),
            yes: arguments.yes,
            shared: options.shared,
            hook: arguments.hook,
        };
        setup::run(&wanted, &mut io::stdout()).await?
    };

    Ok(ExitCode::from(u8::from(!is_done)))
}

/// Explains on stdout what the settings allow on a host. The exit status is 1 if the settings file
/// cannot be used.
///
/// # Errors
/// The SSH configuration is unusable, or the explanation cannot be written.
async fn explain(
    options: &Options,
    host: &str,
    json: bool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let found = DoctorTarget::find(host, options.ssh_config.clone(), options.store_path());
    let target = match &found {
        Ok(found) => found.target(),
        Err(error) => return Ok(fail(&format!("{error} (see --help)"))),
    };

    let explanation = Explanation::of(host, target, &settings_file(options)).await?;
    let text = if json {
        explanation.json()?
    } else {
        explanation.text()
    };

    writeln!(io::stdout(), "{text}")?;

    Ok(ExitCode::from(u8::from(!explanation.is_usable())))
}

/// Prints the calls of the audit log on stdout, or checks the log. The exit status is 1 if somebody
/// has changed it.
///
/// # Errors
/// The log cannot be read.
fn audit(
    options: &Options,
    arguments: &AuditArguments,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let log = audit_command::find(arguments.file.as_deref(), &settings_file(options))?;

    if let Some(AuditCommand::Verify { head }) = &arguments.command {
        let (report, is_unchanged) = audit_command::verify(&log, head.as_deref())?;
        io::stdout().write_all(report.as_bytes())?;
        return Ok(ExitCode::from(u8::from(!is_unchanged)));
    }

    let filter = Filter {
        host: arguments.host.clone(),
        tool: arguments.tool.clone(),
        since: arguments.since.clone(),
        until: arguments.until.clone(),
    };

    let calls = audit_command::show(&log, &filter, arguments.json)?;
    io::stdout().write_all(calls.as_bytes())?;

    Ok(ExitCode::SUCCESS)
}

/// Checks this installation and prints the report on stdout. The exit status is 1 if something does
/// not work.
///
/// # Errors
/// The report cannot be written.
async fn examine_installation(
    options: &Options,
    json: bool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let daemon = match shared_location(options) {
        Err(error) => DaemonState::Fails(error.to_string()),
        Ok(location) if !location.is_served() => DaemonState::Absent,
        Ok(location) => {
            let endpoint = StatusEndpoint::Socket(location.socket);
            match status_client::version(&endpoint).await {
                Ok(version) => DaemonState::Answers { version },
                Err(error) => DaemonState::Fails(error.to_string()),
            }
        }
    };

    let files = ChosenFiles {
        ssh_config: options.ssh_config.clone(),
        store: options.store_path(),
        settings: settings_file(options),
    };
    let report = installation::examine(&files, daemon).await;
    let text = if json {
        report.json()?
    } else {
        report.text(Colours::of_stdout())
    };
    writeln!(io::stdout(), "{text}")?;

    Ok(ExitCode::from(u8::from(!report.works())))
}

/// Prints the activity of a daemon. With `--open`, opens the page of the daemon and prints the link
/// instead.
///
/// # Errors
/// The daemon does not answer, or the token cannot be read.
async fn print_status(
    options: &Options,
    endpoint: &StatusEndpoint,
    form: StatusFormat,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let token = token(options)?;

    // The link is printed as well, in case no browser opens.
    let answer = if options.open {
        let link = status_client::link(endpoint, token.as_ref()).await?;
        open_if_wanted(options, &link);
        link
    } else {
        status_client::ask(endpoint, token.as_ref(), form).await?
    };

    writeln!(io::stdout(), "{answer}")?;

    Ok(ExitCode::SUCCESS)
}

/// Opens a link in the user's browser if `--open` was given. A failure is only reported.
fn open_if_wanted(options: &Options, link: &str) {
    if options.open
        && let Err(error) = routes::open(link)
    {
        say(&format!(
            "cannot open a browser ({error}); open the link in one yourself"
        ));
    }
}

/// Creates the session registry for these options.
fn registry(options: &Options) -> Arc<SessionRegistry> {
    SessionRegistry::new(RegistryOptions {
        ssh_config: options.ssh_config.clone(),
        store: options.store_path(),
        output: default_output_folder(),
        settings: Arc::new(settings_file(options)),
        own: options.token_file.clone().into_iter().collect(),
        askpass: Askpass::from_environment(),
    })
}

/// Returns the settings file of these options.
fn settings_file(options: &Options) -> SettingsFile {
    match &options.settings {
        Some(path) => SettingsFile::named(path.clone()),
        None => SettingsFile::usual(),
    }
}

/// Returns the location of the shared daemon for the files of these options.
///
/// # Errors
/// Every possible path of the daemon's socket is too long.
fn shared_location(options: &Options) -> Result<DaemonLocation, LocationError> {
    // Terminals have different working directories, but the same files have to lead to the same
    // daemon.
    let absolute = |file: PathBuf| path::absolute(&file).unwrap_or(file);
    let store = options.store_path().map(absolute);
    DaemonLocation::for_files(
        store.as_deref(),
        options.ssh_config.clone().map(absolute).as_deref(),
        settings_file(options).path(),
    )
}

/// Returns the arguments with which this program becomes the shared daemon for these options.
///
/// # Errors
/// A path cannot be made absolute.
fn arguments_of_daemon(options: &Options) -> io::Result<Vec<OsString>> {
    let level = options
        .log
        .to_possible_value()
        .map(|level| level.get_name().to_owned())
        .unwrap_or_default();

    // Paths are absolute, because the daemon has a working directory of its own.
    let mut arguments = Vec::new();
    if let Some(store) = options.store_path() {
        arguments.extend(["--store".into(), path::absolute(store)?.into()]);
    }

    if let Some(file) = &options.ssh_config {
        arguments.extend(["--ssh-config".into(), path::absolute(file)?.into()]);
    }

    if let Some(file) = &options.settings {
        arguments.extend(["--settings".into(), path::absolute(file)?.into()]);
    }

    arguments.extend(["--log".into(), level.into(), "shared-daemon".into()]);

    Ok(arguments)
}

/// Returns the daemon for `status`: at the given address, else the shared daemon if running, else
/// at the documented port.
///
/// # Errors
/// Every possible path of the shared daemon's socket is too long.
fn daemon_to_ask(options: &Options) -> Result<StatusEndpoint, LocationError> {
    let ip = options.listen.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let address = SocketAddr::new(ip, options.http.unwrap_or(DOCUMENTED_PORT));
    if let Some(path) = options.socket() {
        return Ok(StatusEndpoint::Socket(path));
    }

    if options.shared {
        return Ok(StatusEndpoint::Socket(shared_location(options)?.socket));
    }

    // An address on the command line wins over a shared daemon that runs.
    let named = options.http.is_some() || options.listen.is_some();
    let shared = shared_location(options)
        .ok()
        .filter(|shared| !named && shared.is_served());

    Ok(shared.map_or(StatusEndpoint::Tcp(address), |shared| {
        StatusEndpoint::Socket(shared.socket)
    }))
}

/// Returns the token from the given file, or else from the environment. `None` means that no token
/// is set.
///
/// # Errors
/// The file cannot be read, or the token is not valid.
fn token(options: &Options) -> Result<Option<Token>, AccessTokenError> {
    if let Some(file) = &options.token_file {
        return Token::read(file).map(Some);
    }
    std::env::var("MCP_SSH_TOKEN")
        .ok()
        .map(Token::new)
        .transpose()
}

/// Prints help and version on stdout. For a wrong option, prints a line on stderr and returns exit
/// status 2.
fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();

    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // The help shows values of environment variables, which may contain control characters.
        let lines = text.lines().map(|line| escape_line(line.as_bytes()) + "\n");
        let _ = io::stdout().write_all(lines.collect::<String>().as_bytes());
        return ExitCode::SUCCESS;
    }

    let line = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");

    fail(&format!("{line} (see --help)"))
}

/// Prints a line on stderr and returns exit status 2.
fn fail(line: &str) -> ExitCode {
    say(line);
    ExitCode::from(2)
}

/// Prints a line on stderr for the user who started the program, at every log level.
fn say(line: &str) {
    let _ = writeln!(
        io::stderr(),
        "mcp-ssh-sessions: {}",
        escape_line(line.as_bytes())
    );
}

/// Starts the log on stderr at this level. Only messages of this crate are logged: those of
/// libraries may quote requests, and so passwords.
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
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Line)
        .with_ansi(false)
        .with_filter(ours);

    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// Writer of the log, which escapes each message to a single line on stderr.
///
/// Text from elsewhere therefore moves no cursor, reverses no text, and cannot look like a line of
/// this program.
struct Line;

impl io::Write for Line {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        io::stderr().write_all((escape_line(line) + "\n").as_bytes())?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Waits for a signal to end, or for the end of npx, then cancels `stop`.
async fn cancel_on_signal(stop: CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        // Without a handler for one signal, the others must still work.
        let wait = async |kind| match signal(kind) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        };

        tokio::select! {
            _ = wait(SignalKind::terminate()) => {}
            _ = wait(SignalKind::interrupt()) => {}
            _ = wait(SignalKind::hangup()), if !hangup_is_ignored() => {}
            () = npx_has_ended() => {}
        }
    }

    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
    stop.cancel();
}

/// Returns true if the parent, such as nohup(1), had SIGHUP ignored. Only Linux tells: the lowest
/// bit of the mask `SigIgn` in `/proc/self/status` is SIGHUP (proc(5)).
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// Waits for the end of the parent, if the parent is npx. Never returns otherwise.
///
/// The shell of npx passes no signals on, so a signal to npx would not reach this process.
#[cfg(unix)]
async fn npx_has_ended() {
    use std::os::unix::process::parent_id;

    // npm sets this variable for every script that it runs, and npx sets the value `npx`.
    if std::env::var_os("npm_lifecycle_event").is_none_or(|event| event != "npx") {
        return std::future::pending().await;
    }

    // An orphan gets another parent. Not every system has a signal for that, so the parent is
    // polled.
    let parent = parent_id();
    while parent_id() == parent {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
