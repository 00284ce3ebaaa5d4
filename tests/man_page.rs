//! The man page: made of the command line, and compared with the file that packages ship.
#![expect(
    clippy::expect_used,
    reason = "a test may say what it takes for granted"
)]

use std::{env, fs, path::Path};

use clap::{Arg, ArgAction, Command, CommandFactory as _, builder::PossibleValue};
use mcp_ssh_sessions::cli::Options;
use roff::{Inline, Roff, bold, italic, roman};

const PROGRAM: &str = env!("CARGO_PKG_NAME");

#[test]
fn the_man_page_is_what_the_command_line_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/mcp-ssh-sessions.1");
    let page = page();

    if env::var_os("WRITE_MAN_PAGE").is_some() {
        fs::write(&file, &page).expect("a writable folder");
    }

    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == page,
        "man/mcp-ssh-sessions.1 is out of date: run WRITE_MAN_PAGE=1 cargo test --test man_page"
    );
}

/// The whole page.
fn page() -> String {
    let mut program = Options::command();
    program.build();

    let version = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control(
        "TH",
        ["MCP-SSH-SESSIONS", "1", " ", &version, "User Commands"],
    );

    page.control("SH", ["NAME"]);
    let about = env!("CARGO_PKG_DESCRIPTION");
    page.text([roman(format!("{PROGRAM} - {about}"))]);

    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(PROGRAM), roman(" ["), italic("OPTION"), roman("]...")]);
    for command in commands(&program) {
        page.control("br", []);
        page.text(usage(command));
    }

    page.control("SH", ["DESCRIPTION"]);
    let about = program.get_long_about().expect("a description");
    paragraphs(&mut page, &about.to_string());

    page.control("SH", ["OPTIONS"]);
    options(&mut page, program.get_arguments());

    page.control("SH", ["COMMANDS"]);
    for command in commands(&program) {
        describe(&mut page, command);
    }

    environment(&mut page, &program);
    endings(&mut page);

    page.to_roff()
}

/// The commands that a person gives, with those below others.
fn commands(program: &Command) -> Vec<&Command> {
    let shown = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");

    shown
        .flat_map(|command| [vec![command], commands(command)].concat())
        .collect()
}

/// The command with its arguments, as it is typed.
fn usage(command: &Command) -> Vec<Inline> {
    let name = command.get_bin_name().expect("a built command");
    let mut line = vec![bold(name)];

    for option in own_options(command) {
        line.push(roman(" ["));
        line.extend(named(option));
        line.push(roman("]"));
    }
    for argument in command.get_positionals() {
        let (before, after) = if argument.is_required_set() {
            (" ", "")
        } else {
            (" [", "]")
        };
        let is_list = matches!(argument.get_action(), ArgAction::Append);

        line.push(roman(before));
        line.push(italic(value_name(argument)));
        line.push(roman(format!(
            "{after}{}",
            if is_list { "..." } else { "" }
        )));
    }

    line
}

fn describe(page: &mut Roff, command: &Command) {
    let name = command.get_bin_name().expect("a built command");
    let name = name.strip_prefix(PROGRAM).unwrap_or(name).trim();
    page.control("SS", [name]);

    let about = command.get_long_about().or(command.get_about());
    paragraphs(page, &about.map(ToString::to_string).unwrap_or_default());
    options(page, command.get_positionals().chain(own_options(command)));
}

/// The options that only this command has.
fn own_options(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_opts()
        .chain(
            command
                .get_arguments()
                .filter(|one| !one.get_action().takes_values()),
        )
        .filter(|option| !option.is_global_set() && !option.is_hide_set())
        .filter(|option| option.get_id() != "help" && option.get_id() != "version")
}

/// Each option with its help.
fn options<'a>(page: &mut Roff, options: impl Iterator<Item = &'a Arg>) {
    for option in options.filter(|option| !option.is_hide_set()) {
        page.control("TP", []);
        page.text(named(option));

        let help = option.get_help().map(ToString::to_string);
        let mut help = help.unwrap_or_default();
        let possible = option.get_possible_values();
        let values: Vec<&str> = possible.iter().map(PossibleValue::get_name).collect();

        if option.get_action().takes_values() && !values.is_empty() {
            help = format!("{help}: {}", values.join(", "));
        }
        if let [default] = option.get_default_values()
            && option.get_action().takes_values()
        {
            help = format!("{help} [default: {}]", default.to_string_lossy());
        }
        page.text(words(&help));
    }
}

/// The option or argument with the name of its value.
fn named(option: &Arg) -> Vec<Inline> {
    if option.is_positional() {
        return vec![italic(value_name(option))];
    }

    let short = option.get_short().map(|letter| format!("-{letter}, "));
    let long = option.get_long().expect("a long name");
    let mut name = vec![bold(format!("{}--{long}", short.unwrap_or_default()))];
    if option.get_action().takes_values() {
        name.extend([roman(" "), italic(value_name(option))]);
    }

    name
}

fn value_name(option: &Arg) -> String {
    let names = option.get_value_names().expect("a named value");
    names.join(" ")
}

fn environment(page: &mut Roff, program: &Command) {
    page.control("SH", ["ENVIRONMENT"]);
    page.text([roman(
        "Each variable stands for an option, and the option wins.",
    )]);

    for option in program.get_arguments() {
        let Some(variable) = option.get_env() else {
            continue;
        };
        page.control("TP", []);
        page.text([bold(variable.to_string_lossy())]);
        page.text(named(option));
    }

    page.control("TP", []);
    page.text([bold("MCP_SSH_TOKEN")]);
    page.text(words(
        "The token itself, in place of a file with it (`--token-file`)",
    ));
}

/// The sections that the command line does not tell.
fn endings(page: &mut Roff) {
    let files = [
        (
            "~/.ssh/config, /etc/ssh/ssh_config",
            "Configuration of OpenSSH, with its keys and `known_hosts`",
        ),
        (
            "~/.ssh-mcp-sessions.json",
            "Saved sessions, without passwords",
        ),
        (
            "~/.config/mcp-ssh-sessions/settings.toml",
            "What the person allows on which host. On macOS and Windows it is in the configuration directory of that system.",
        ),
    ];
    let statuses = [
        (
            "0",
            "The command did what it is for. A server ended because its client did.",
        ),
        (
            "1",
            "It failed. For `doctor`: the host would not connect. For `settings`: the settings file cannot be used. For \
             `audit verify`: the log was changed.",
        ),
        (
            "2",
            "The command line is wrong. For `hook`: the client must not make the call.",
        ),
    ];

    for (title, rows) in [("FILES", &files), ("EXIT STATUS", &statuses)] {
        page.control("SH", [title]);
        for (name, text) in rows {
            page.control("TP", []);
            page.text([bold(*name)]);
            page.text(words(text));
        }
    }

    page.control("SH", ["EXAMPLES"]);
    for (command, text) in [
        (
            "claude mcp add ssh -- mcp-ssh-sessions --shared",
            "Adds the server to Claude Code, with one set of sessions for all terminals.",
        ),
        (
            "mcp-ssh-sessions doctor web",
            "Explains why the host `web` does or does not connect.",
        ),
        (
            "mcp-ssh-sessions audit --host web --since 2h",
            "Shows what was done on it in the last two hours.",
        ),
    ] {
        page.control("TP", []);
        page.text([bold(command)]);
        page.text(words(text));
    }

    page.control("SH", ["SEE ALSO"]);
    let others = ["ssh(1)", "ssh-agent(1)", "ssh_config(5)", "sshd(8)"];
    for (place, other) in others.into_iter().enumerate() {
        let (name, section) = other.split_once('(').expect("a section");
        let end = if place + 1 < others.len() { "," } else { "" };
        page.text([bold(name), roman(format!("({section}{end}"))]);
    }
    page.control("PP", []);
    page.text([roman(concat!(
        "The manual: ",
        env!("CARGO_PKG_REPOSITORY"),
        "/tree/main/docs"
    ))]);
}

/// The paragraphs of a text, which blank lines separate.
fn paragraphs(page: &mut Roff, text: &str) {
    for (place, paragraph) in text.split("\n\n").enumerate() {
        if place > 0 {
            page.control("PP", []);
        }
        page.text(words(paragraph));
    }
}

/// A text in which what stands between backquotes is bold.
fn words(text: &str) -> Vec<Inline> {
    let pieces = text.split('`').enumerate();
    pieces
        .map(|(place, piece)| {
            if place % 2 == 0 {
                roman(piece)
            } else {
                bold(piece)
            }
        })
        .collect()
}
