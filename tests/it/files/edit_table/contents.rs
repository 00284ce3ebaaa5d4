//! Rows of whole contents.

use super::row::{Row, Step, becomes, beta, content, edited, refused, row, unchanged, with};

pub(super) fn rows() -> Vec<Row> {
    [
        new_files(),
        new_places(),
        over_files(),
        over_changed_files(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn new_files() -> Vec<Row> {
    let new = || content("$D/new", "one\ntwo");
    vec![
        row(
            "a new file",
            "",
            new(),
            becomes("new", "one\ntwo").says(&["created ", "+2"]),
        ),
        row(
            "a new file in a private directory",
            "chmod 700 .",
            new(),
            becomes("new", "one\ntwo").mode("new", 0o600),
        ),
        row(
            "a new file, dryRun",
            "",
            with(new(), "dryRun", true),
            unchanged().says(&["+2", "nothing written"]),
        ),
        row(
            "a new file without content",
            "",
            content("$D/new", ""),
            becomes("new", ""),
        ),
        row(
            "a new file of any bytes",
            "",
            content("$D/new", "\u{feff}a\r\nb\rc\td\u{1}\n\n"),
            becomes("new", "\u{feff}a\r\nb\rc\td\u{1}\n\n"),
        ),
    ]
}

fn new_places() -> Vec<Row> {
    vec![
        row(
            "new directories",
            "",
            content("$D/d/e/new", "x\n"),
            becomes("d/e/new", "x\n")
                .directory("d")
                .directory("d/e")
                .says(&["director"]),
        ),
        row(
            "new directories in a private one",
            "chmod 700 .",
            content("$D/d/new", "x\n"),
            becomes("d/new", "x\n")
                .directory("d")
                .mode("d", 0o700)
                .mode("d/new", 0o600),
        ),
        row(
            "new directories, dryRun",
            "",
            with(content("$D/d/new", "x"), "dryRun", true),
            unchanged(),
        ),
        row(
            "a new file named -rf",
            "",
            content("$D/-rf", "x\n"),
            becomes("-rf", "x\n"),
        ),
        row(
            "a new file of the longest name",
            "",
            content(&format!("$D/{}", "n".repeat(255)), "x\n"),
            becomes("n".repeat(255).leak(), "x\n"),
        ),
        row(
            "a name that is too long",
            "",
            content(&format!("$D/{}", "n".repeat(256)), "x\n"),
            refused(&[]),
        ),
        row(
            "a new file through a linked directory",
            "mkdir d; ln -s d l",
            content("$D/l/new", "x\n"),
            becomes("d/new", "x\n"),
        ),
        row(
            "a new file through a dangling link",
            "ln -s gone l",
            content("$D/l", "x"),
            refused(&["link", "gone"]),
        ),
        row(
            "a new file below a file",
            "",
            content("$D/f/new", "x"),
            refused(&[]),
        ),
        row(
            "a new file with a slash",
            "",
            content("$D/new/", "x"),
            refused(&[]),
        ),
        row(
            "content for a directory",
            "mkdir d",
            content("$D/d", "x"),
            refused(&["directory"]),
        ),
        row(
            "content for a FIFO",
            "mkfifo g",
            content("$D/g", "x"),
            refused(&["FIFO"]),
        ),
    ]
}

fn over_files() -> Vec<Row> {
    let over = || content("$D/f", "x\r\ny");
    let read = || [Step::Read("$D/f")];
    vec![
        row(
            "over a file that was not read",
            "",
            over(),
            refused(&["ssh_read"]),
        ),
        row(
            "over a file that was not read, dryRun",
            "",
            with(over(), "dryRun", true),
            refused(&["ssh_read"]),
        ),
        row(
            "over a file that was read",
            "chmod 4750 f",
            over(),
            becomes("f", "x\r\ny"),
        )
        .after(read()),
        row(
            "over another file than was read",
            "cp f g",
            content("$D/g", "x"),
            refused(&["ssh_read"]),
        )
        .after(read()),
        row(
            "over a link to a file that was read",
            "ln -s f l",
            content("$D/l", "x\n"),
            becomes("f", "x\n"),
        )
        .after(read()),
        row(
            "over two names of a file that was read",
            "ln f g",
            over(),
            becomes("f", "x\r\ny").and("g", "x\r\ny"),
        )
        .after(read()),
        row(
            "over an empty file that was read",
            ": > f",
            over(),
            becomes("f", "x\r\ny"),
        )
        .after(read()),
        row(
            "over a file that was edited",
            "",
            over(),
            becomes("f", "x\r\ny"),
        )
        .after([Step::Read("$D/f"), Step::Edit(beta())]),
        row(
            "over a file that was created",
            "",
            content("$D/new", "y\n"),
            becomes("new", "y\n"),
        )
        .after([Step::Edit(content("$D/new", "x\n"))]),
        row(
            "nothing instead of a file that was read",
            "",
            content("$D/f", ""),
            becomes("f", ""),
        )
        .after(read()),
        row(
            "the same content",
            "",
            content("$D/f", "alpha\nbeta\ngamma\n"),
            unchanged().or_refused(&["same"]),
        )
        .after(read()),
    ]
}

fn over_changed_files() -> Vec<Row> {
    let over = || content("$D/f", "x\r\ny");
    let then = |commands| [Step::Read("$D/f"), Step::Here(commands)];
    vec![
        row(
            "over a file that others changed",
            "",
            over(),
            refused(&["changed", "ssh_read"]),
        )
        .after(then("echo delta >> f")),
        row(
            "over a file that others replaced",
            "",
            over(),
            refused(&["changed", "ssh_read"]),
        )
        .after(then("cp f g; echo delta >> g; mv g f")),
        row(
            "over a file that others changed without another size or time",
            "",
            over(),
            refused(&["changed", "ssh_read"]),
        )
        .after(then(
            "cp -p f g; printf 'alpha\\nBETA\\ngamma\\n' > f; touch -r g f",
        )),
        row(
            "a text of a file that others changed",
            "",
            beta(),
            edited().says(&["changed"]),
        )
        .after(then("echo delta >> f")),
        row(
            "a text that others changed",
            "",
            beta(),
            refused(&["not found"]),
        )
        .after(then("sed -i s/beta/theirs/ f")),
        row(
            "a file that others deleted",
            "",
            beta(),
            refused(&["not exist"]),
        )
        .after(then("rm f")),
        row(
            "over binary content that was read",
            "printf '\\0\\1' > f",
            over(),
            refused(&["no text"]),
        )
        .after([Step::Read("$D/f")]),
    ]
}
