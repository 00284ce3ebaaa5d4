//! Rows of paths: kinds of file, names, and ways to a file.

use super::{
    row::{Row, Step, beta_becomes, beta_in, edited, refused, replace_in, row},
    server::Server,
};

pub(super) fn rows() -> Vec<Row> {
    [kinds(), names(), paths()].into_iter().flatten().collect()
}

fn kinds() -> Vec<Row> {
    let device = "mknod g c 1 3 || exit 75";
    vec![
        row(
            "directory",
            "mkdir d",
            beta_in("$D/d"),
            refused(&["directory"]),
        ),
        row("FIFO", "mkfifo g", beta_in("$D/g"), refused(&["FIFO"])),
        row("device", device, beta_in("$D/g"), refused(&["device"])).only(Server::as_root),
        row(
            "a link to a FIFO",
            "mkfifo g; ln -s g l",
            beta_in("$D/l"),
            refused(&["FIFO"]),
        ),
        row(
            "/proc",
            "",
            replace_in("/proc/version", "Linux", "x"),
            refused(&[]),
        )
        .only(|server| server.sees_mounts),
        row(
            "not there",
            "",
            beta_in("$D/gone"),
            refused(&["does not exist"]),
        ),
        row("a file as a directory", "", beta_in("$D/f/g"), refused(&[])),
        row("a slash after a file", "", beta_in("$D/f/"), refused(&[])),
        row(
            "in a directory that is not there",
            "",
            beta_in("$D/no/f"),
            refused(&["not exist"]),
        ),
    ]
}

fn names() -> Vec<Row> {
    let long = "n=$(printf %255s | tr ' ' n); mv f $n";
    let name = "n".repeat(255);
    vec![
        row("-f", "mv f ./-f", beta_in("$D/-f"), beta_becomes("-f")),
        row(
            "--help",
            "mv f ./--help",
            beta_in("$D/--help"),
            beta_becomes("--help"),
        ),
        row(
            "newline",
            "mv f 'a\nb'",
            beta_in("$D/a\nb"),
            beta_becomes("a\\nb"),
        ),
        row(
            "a newline at the end",
            "mv f 'a\n'",
            beta_in("$D/a\n"),
            beta_becomes("a\\n"),
        ),
        row(
            "a space at both ends",
            "mv f ' a '",
            beta_in("$D/ a "),
            beta_becomes(" a "),
        ),
        row(
            "commands",
            "mv f '$(touch gone);`touch gone`'",
            beta_in("$D/$(touch gone);`touch gone`"),
            beta_becomes("$(touch gone);`touch gone`"),
        ),
        row(
            "quotes",
            "mv f \"it's\\\"\"",
            beta_in("$D/it's\""),
            beta_becomes("it\\'s\\\""),
        ),
        row(
            "wildcards",
            "cp f g; mv f '[fg]*?'",
            beta_in("$D/[fg]*?"),
            beta_becomes("[fg]*?"),
        ),
        row(
            "not UTF-8",
            "mv f \"$(printf 'caf\\351')\"",
            beta_in("$D/caf\\xe9"),
            beta_becomes("caf\\xe9"),
        ),
        row(
            "an escape that is a name",
            "mv f 'caf\\xe9'; cp other \"$(printf 'caf\\351')\"",
            beta_in("$D/caf\\xe9"),
            beta_becomes("caf\\\\xe9"),
        ),
        row(
            "NFC beside NFD",
            "mv f \"$(printf 'caf\\303\\251')\"; cp other \"$(printf 'cafe\\314\\201')\"",
            beta_in("$D/caf\u{e9}"),
            beta_becomes("caf\\xc3\\xa9"),
        ),
        row(
            "a tilde",
            "mv f '~root'",
            beta_in("$D/~root"),
            beta_becomes("~root"),
        ),
        row(
            "a hidden file",
            "mv f .f",
            beta_in("$D/.f"),
            beta_becomes(".f"),
        ),
        row(
            "the longest name",
            long,
            beta_in(&format!("$D/{name}")),
            beta_becomes(name.leak()),
        ),
        row(
            "a backslash at the end",
            "mv f 'f\\'",
            beta_in("$D/f\\"),
            beta_becomes("f\\\\"),
        ),
    ]
}

fn paths() -> Vec<Row> {
    vec![
        row("no path", "", beta_in(""), refused(&["path"])),
        row("NUL in the path", "", beta_in("$D/f\0g"), refused(&["NUL"])),
        row(
            "a foreign home",
            "",
            beta_in("~nobody/f"),
            refused(&["home directory", "./~nobody/f"]),
        ),
        row(
            "dots and slashes",
            "mkdir d",
            beta_in("$D//d/.././/f"),
            edited(),
        ),
        row("relative, after cd", "", beta_in("f"), edited())
            .after([Step::Shell("cd \"$D\"")])
            .only(|server| server.has_shell),
        row(
            "relative and upwards, after cd",
            "mkdir d",
            beta_in("../f"),
            edited(),
        )
        .after([Step::Shell("cd \"$D/d\"")])
        .only(|server| server.has_shell),
        row(
            "-f, after cd",
            "mv f ./-f",
            beta_in("-f"),
            beta_becomes("-f"),
        )
        .after([Step::Shell("cd \"$D\"")])
        .only(|server| server.has_shell),
        row(
            "in a directory that is gone, after cd",
            "mkdir d",
            beta_in("f"),
            refused(&[]),
        )
        .after([Step::Shell("cd \"$D/d\""), Step::Here("rmdir d")])
        .only(|server| server.has_shell),
        row(
            "at home, after cd",
            "",
            beta_in("~/none/f"),
            refused(&["not exist"]),
        )
        .after([Step::Shell("cd \"$D\"")])
        .only(|server| server.has_shell),
    ]
}
