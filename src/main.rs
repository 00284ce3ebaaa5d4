//! Parses the arguments, logs to stderr, serves, and returns the exit status.

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
    cli::{Command, LogLevel, Options},
    doctor::{Colours, DoctorTarget},
    mcp::{
        dashboard::{
            routes::{self, AccessKeys},
            status_client::{self, StatusEndpoint, StatusFormat},
        },
        transport::{
            http::serve,
            shared::{
                DaemonStart, daemon,
                location::{DaemonLocation as SharedPlace, PlaceError},
                stdio_proxy,
            },
            stdio,
        },
        web::{
            listen::{self, Addresses, HandedOver},
            token::{AccessTokenError, Token},
        },
    },
    render::escape_line,
    session::registry::{RegistryOptions, SessionRegistry},
    ssh::{command::output::default_output_folder, prompt::askpass::Askpass},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};
use zeroizing_alloc::ZeroAlloc;

/// Wipes what it frees: passwords pass through the buffers of others too, such as the JSON of a request and what goes to a
/// server.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

/// The port of the documentation's examples.
const DOCUMENTED_PORT: u16 = 7722;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };

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

    if let Some(Command::SharedDaemon { serve: false, .. }) = options.command {
        let started = DaemonStart::new(std::env::args_os().skip(1).collect())
            .and_then(|start| start.with("--serve").detach());
        return started.map_or_else(
            |error| fail(&format!("cannot start: {error}")),
            |()| ExitCode::SUCCESS,
        );
    }

    // One thread for everything that waits; what computes or blocks gets threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };

    let ended = runtime.block_on(run(&options));

    // A read of stdin that still blocks a thread must not hold the process up.
    runtime.shutdown_background();

    match ended {
        Ok(code) => code,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if let Some(Command::Doctor { host, json }) = &options.command {
        return doctor(options, host, *json).await;
    }

    if let Some(Command::Status { json }) = options.command {
        let place = daemon_to_ask(options)?;
        return print_status(
            options,
            &place,
            if json {
                StatusFormat::Json
            } else {
                StatusFormat::Table
            },
        )
        .await;
    }

    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));

    if let Some(Command::SharedDaemon { idle, .. }) = options.command {
        let place = shared_place(options)?;
        daemon::serve(registry(options), &place, Duration::from_millis(idle), stop).await?;
        return Ok(ExitCode::SUCCESS);
    }

    if options.shared {
        stdio_proxy::serve(
            shared_place(options)?,
            DaemonStart::new(arguments_of_daemon(options)?)?,
            stop,
        )
        .await;
        return Ok(ExitCode::SUCCESS);
    }

    let registry = registry(options);
    let handed_over = HandedOver::take()?;
    if options.http.is_none() && options.socket().is_none() && handed_over.is_empty() {
        stdio::serve(registry, stop).await;
        return Ok(ExitCode::SUCCESS);
    }

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
    let keys = Arc::new(AccessKeys::new()?);

    if let Some(page) = listeners.iter().find_map(listen::Listener::page) {
        let link = page + &keys.link()?;
        say(&format!(
            "watch at {link} (works once; for another one: mcp-ssh-sessions status --open)"
        ));

        open_if_wanted(options, &link);
    }

    serve::serve(registry, listeners, token, keys, stop).await;

    Ok(ExitCode::SUCCESS)
}

/// Explains a host on stdout.
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

/// Prints what goes on in the daemon there; with `--open` opens its page, and prints the link to that.
async fn print_status(
    options: &Options,
    place: &StatusEndpoint,
    form: StatusFormat,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let token = token(options)?;

    let told = if options.open {
        let link = status_client::link(place, token.as_ref()).await?;
        open_if_wanted(options, &link);
        link
    } else {
        status_client::ask(place, token.as_ref(), form).await?
    };

    writeln!(io::stdout(), "{told}")?;

    Ok(ExitCode::SUCCESS)
}

fn open_if_wanted(options: &Options, link: &str) {
    if options.open
        && let Err(error) = routes::open(link)
    {
        say(&format!(
            "cannot open a browser ({error}); open the link in one yourself"
        ));
    }
}

fn registry(options: &Options) -> Arc<SessionRegistry> {
    SessionRegistry::new(RegistryOptions {
        ssh_config: options.ssh_config.clone(),
        store: options.store_path(),
        output: default_output_folder(),
        own: options.token_file.clone().into_iter().collect(),
        askpass: Askpass::from_environment(),
    })
}

/// Where the shared daemon for the store and the configuration of these options is.
fn shared_place(options: &Options) -> Result<SharedPlace, PlaceError> {
    let absolute = |file: PathBuf| path::absolute(&file).unwrap_or(file);
    let store = options.store_path().map(absolute);
    SharedPlace::of(
        store.as_deref(),
        options.ssh_config.clone().map(absolute).as_deref(),
    )
}

/// What makes this program the daemon of a front with these options. It has a working directory of its own.
fn arguments_of_daemon(options: &Options) -> io::Result<Vec<OsString>> {
    let level = options
        .log
        .to_possible_value()
        .map(|level| level.get_name().to_owned())
        .unwrap_or_default();

    let mut arguments = Vec::new();
    if let Some(store) = options.store_path() {
        arguments.extend(["--store".into(), path::absolute(store)?.into()]);
    }

    if let Some(file) = &options.ssh_config {
        arguments.extend(["--ssh-config".into(), path::absolute(file)?.into()]);
    }

    arguments.extend(["--log".into(), level.into(), "shared-daemon".into()]);

    Ok(arguments)
}

/// The daemon that `status` asks: the one whose address is given, else the shared one, if it runs, else the documented.
fn daemon_to_ask(options: &Options) -> Result<StatusEndpoint, PlaceError> {
    let ip = options.listen.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let address = SocketAddr::new(ip, options.http.unwrap_or(DOCUMENTED_PORT));
    if let Some(path) = options.socket() {
        return Ok(StatusEndpoint::Socket(path));
    }

    if options.shared {
        return Ok(StatusEndpoint::Socket(shared_place(options)?.socket));
    }

    let named = options.http.is_some() || options.listen.is_some();
    let shared = shared_place(options)
        .ok()
        .filter(|shared| !named && shared.is_served());

    Ok(shared.map_or(StatusEndpoint::Tcp(address), |shared| {
        StatusEndpoint::Socket(shared.socket)
    }))
}

/// The token in the file that was named, else the one in the environment.
fn token(options: &Options) -> Result<Option<Token>, AccessTokenError> {
    if let Some(file) = &options.token_file {
        return Token::read(file).map(Some);
    }
    std::env::var("MCP_SSH_TOKEN")
        .ok()
        .map(Token::new)
        .transpose()
}

/// Prints help and version on stdout; of a wrong option one line on stderr, with exit status 2.
fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();

    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // The help shows what the environment holds.
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

fn fail(line: &str) -> ExitCode {
    say(line);
    ExitCode::from(2)
}

/// One line for the person who started the program, whatever the log level.
fn say(line: &str) {
    let _ = writeln!(
        io::stderr(),
        "mcp-ssh-sessions: {}",
        escape_line(line.as_bytes())
    );
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
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Line)
        .with_ansi(false)
        .with_filter(ours);

    let _ = tracing_subscriber::registry().with(lines).try_init();
}

/// Stderr, to which each message is written in one line: what others have put into it moves no cursor, turns no text
/// around, and makes no line that looks like one of ours.
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
            _ = wait(SignalKind::hangup()), if !hangup_is_ignored() => {}
            () = npx_has_ended() => {}
        }
    }

    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
    stop.cancel();
}

/// Whether whoever started this process, such as nohup(1), told it to outlive the terminal. Known on Linux alone
/// (`SigIgn` of proc(5): a mask, the lowest bit of which is SIGHUP).
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
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
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
