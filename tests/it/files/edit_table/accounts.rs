//! Rows for a user who may not do everything: foreign files and foreign directories.

use super::{
    row::{Row, Step, becomes, beta, beta_in, content, edited, refused, row},
    server::Server,
};

pub(super) fn rows() -> Vec<Row> {
    let rows = vec![
        row(
            "a foreign file that all may write",
            "chown 1234:2345 f; chmod 666 f",
            beta(),
            edited(),
        ),
        row(
            "a foreign group",
            "chgrp 2345 f; chmod 660 f",
            beta(),
            edited(),
        ),
        row(
            "a foreign group, setgid",
            "chgrp 2345 f; chmod 2755 f",
            beta(),
            edited().mode("f", 0o755).says(&["not kept", "mode"]),
        ),
        row(
            "a foreign file that all may read",
            "chown 1234:2345 f; chmod 644 f",
            beta(),
            refused(&["permission denied", "sudo"]),
        ),
        row(
            "a foreign file that nobody may read",
            "chown 1234:2345 f; chmod 600 f",
            beta(),
            refused(&["permission denied", "sudo"]),
        ),
        row(
            "a foreign file that all may write, but not read",
            "chown 1234:2345 f; chmod 622 f",
            beta(),
            refused(&["permission denied"]),
        ),
        row(
            "an own file without a right to read",
            "chmod 200 f",
            beta(),
            refused(&["permission denied"]),
        ),
        row("a foreign directory", "chown 1234:2345 .", beta(), edited()),
        row(
            "a foreign directory with a sticky bit",
            "chown 1234:2345 . ; chmod 1777 .",
            beta(),
            edited(),
        ),
        row(
            "a foreign file in a directory with a sticky bit",
            "chown 1234:2345 . f; chmod 1777 .; chmod 666 f",
            beta(),
            edited(),
        ),
        row(
            "two names in a foreign directory",
            "ln f g; chown 1234:2345 .",
            beta(),
            edited().and_swapped("g", "beta", "BETA"),
        ),
        row(
            "an ACL that lets us write",
            "chown 1234:2345 f; setfacl -m u:64321:rw f",
            beta(),
            edited(),
        ),
        row(
            "a directory without a right to search",
            "mkdir d; mv f d; chmod 644 d",
            beta_in("$D/d/f"),
            refused(&["permission denied"]),
        ),
        row(
            "a new file in a foreign directory",
            "chown 1234:2345 .",
            content("$D/new", "x"),
            refused(&["permission denied", "sudo"]),
        ),
        row(
            "content over a foreign file that all may write",
            "chown 1234:2345 f; chmod 666 f",
            content("$D/f", "x\n"),
            becomes("f", "x\n"),
        )
        .after([Step::Read("$D/f")]),
    ];

    let only: fn(&Server) -> bool = |server| !server.as_root();
    rows.into_iter().map(|row| row.only(only)).collect()
}
