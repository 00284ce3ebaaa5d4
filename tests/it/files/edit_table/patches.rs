//! Rows of patches.

use super::row::{
    Expected, Row, becomes, beta_becomes, edited, patch, refused, row, unchanged, with,
};

pub(super) fn rows() -> Vec<Row> {
    [updates(), several(), sections(), moves(), bad_patches()]
        .into_iter()
        .flatten()
        .collect()
}

fn updates() -> Vec<Row> {
    let update = || patch("*** Update File: $D/f\n@@\n alpha\n-beta\n+BETA");
    vec![
        row(
            "patch",
            "chmod 4750 f",
            update(),
            edited().says(&["-beta", "+BETA", "+1 −1"]),
        ),
        row(
            "patch, dryRun",
            "",
            with(update(), "dryRun", true),
            unchanged().says(&["+BETA", "nothing written"]),
        ),
        row(
            "patch with CRLF in the file",
            "printf 'alpha\\r\\nbeta\\r\\n' > f",
            update(),
            becomes("f", "alpha\r\nBETA\r\n"),
        ),
        row(
            "patch of the last line without a newline",
            "printf 'alpha\\nbeta' > f",
            update(),
            becomes("f", "alpha\nBETA"),
        ),
        row(
            "patch of Latin-1",
            "printf '\\351\\nalpha\\nbeta\\n' > f",
            update(),
            becomes("f", b"\xe9\nalpha\nBETA\n"),
        ),
    ]
}

fn several() -> Vec<Row> {
    let update = || patch("*** Update File: $D/f\n@@\n alpha\n-beta\n+BETA");
    let two = "*** Update File: $D/f\n@@\n-beta\n+BETA\n*** Update File: $D/g\n@@\n-beta\n+BETA";
    vec![
        row(
            "patch of two files",
            "cp f g",
            patch(two),
            edited().and_swapped("g", "beta", "BETA").says(&["+1 −1"]),
        ),
        row(
            "patch of two files, one does not fit",
            "echo x > g",
            patch(two),
            refused(&["g", "not found"]),
        ),
        row(
            "patch of two files, one is not there",
            "",
            patch(two),
            refused(&["g does not exist"]),
        ),
        row(
            "patch of two files, one is a FIFO",
            "mkfifo g",
            patch(two),
            refused(&["FIFO"]),
        ),
        row(
            "patch of two files, one is too large",
            "{ echo beta; yes x | head -c 4194304; } > g",
            patch(two),
            refused(&["4"]),
        ),
        row(
            "patch of a file and of a link to it",
            "ln -s f g",
            patch(two),
            refused(&["not found"]),
        ),
        row(
            "patch through a link",
            "mv f g; ln -s g f",
            update(),
            beta_becomes("g"),
        ),
        row(
            "patch of a file with two names",
            "ln f g",
            update(),
            edited().and_swapped("g", "beta", "BETA"),
        ),
        row(
            "patch of two places",
            "",
            patch("*** Update File: $D/f\n@@\n-alpha\n+ALPHA\n@@\n-gamma\n+GAMMA"),
            becomes("f", "ALPHA\nbeta\nGAMMA\n"),
        ),
        row(
            "patch of a place found twice",
            "printf 'beta\\nbeta\\n' > f",
            patch("*** Update File: $D/f\n@@\n-beta\n+x"),
            refused(&["2 times", "1, 2"]),
        ),
        row(
            "patch with a path that is an option",
            "mv f ./-f",
            patch("*** Update File: $D/-f\n@@\n-beta\n+BETA"),
            beta_becomes("-f"),
        ),
        row(
            "patch with a path that is a command",
            "mv f '$(id)`id`;'",
            patch("*** Update File: $D/$(id)`id`;\n@@\n-beta\n+BETA"),
            beta_becomes("$(id)`id`;"),
        ),
        row(
            "patch of an immutable file after another",
            "cp f g; chattr +i g || exit 75",
            patch(two),
            refused(&["written before"]).and_swapped("f", "beta", "BETA"),
        )
        .only(|server| server.as_root() && server.sees_mounts)
        .finally("chattr -i g"),
    ]
}

fn sections() -> Vec<Row> {
    let add = "*** Add File: $D/new\n+one\n+two";
    let delete = "*** Delete File: $D/f";
    vec![
        row("patch adds", "", patch(add), becomes("new", "one\ntwo\n")),
        row(
            "patch adds, dryRun",
            "",
            with(patch(add), "dryRun", true),
            unchanged().says(&["nothing written"]),
        ),
        row(
            "patch adds what is there",
            "cp f new",
            patch(add),
            refused(&["new exists already"]),
        ),
        row(
            "patch adds over a dangling link",
            "ln -s gone new",
            patch(add),
            refused(&[]),
        ),
        row(
            "patch adds in a new directory",
            "",
            patch("*** Add File: $D/d/e/new\n+x"),
            refused(&["directory", "mkdir -p"]),
        ),
        row(
            "patch deletes",
            "",
            patch(delete),
            Expected::default().without("f"),
        ),
        row(
            "patch deletes, dryRun",
            "",
            with(patch(delete), "dryRun", true),
            unchanged().says(&["nothing written"]),
        ),
        row(
            "patch deletes one of two names",
            "ln f g; cp f h",
            patch("*** Delete File: $D/h"),
            Expected::default().without("h"),
        ),
        row(
            "patch deletes a directory",
            "mkdir d",
            patch("*** Delete File: $D/d"),
            refused(&["directory"]),
        ),
        row(
            "patch deletes what is not there",
            "",
            patch("*** Delete File: $D/gone"),
            refused(&["does not exist"]),
        ),
    ]
}

fn moves() -> Vec<Row> {
    let rename = "*** Update File: $D/f\n*** Move to: $D/g";
    let together = "*** Add File: $D/new\n+one\n*** Delete File: $D/old\n*** Update File: $D/f\n*** Move to: $D/g\n@@\n-beta\n+BETA";
    vec![
        row(
            "patch moves",
            "chmod 4750 f; setfattr -n user.note -v x f",
            patch(rename),
            Expected::default().moved("f", "g"),
        ),
        row(
            "patch moves over a file",
            "cp f g",
            patch(rename),
            refused(&["g exists already"]),
        ),
        row(
            "patch moves over a dangling link",
            "ln -s gone g",
            patch(rename),
            refused(&[]),
        ),
        row(
            "patch moves into a directory",
            "mkdir g",
            patch(rename),
            refused(&["g"]),
        ),
        row(
            "patch moves and changes",
            "chmod 4750 f",
            patch(&format!("{rename}\n@@\n-beta\n+BETA")),
            beta_becomes("g").moved("f", "g"),
        ),
        row(
            "patch does everything",
            "cp f old",
            patch(together),
            beta_becomes("g")
                .moved("f", "g")
                .and("new", "one\n")
                .without("old"),
        ),
        row(
            "patch does everything, but the last part does not fit",
            "cp f old; echo x > f",
            patch(together),
            refused(&["not found"]),
        ),
    ]
}

fn bad_patches() -> Vec<Row> {
    let bare = |patch: &str| serde_json::json!({"patch": patch});
    vec![
        row(
            "patch without its first line",
            "",
            bare("*** Update File: $D/f\n-beta\n+x\n*** End Patch"),
            refused(&["*** Begin Patch"]),
        ),
        row(
            "patch without its last line",
            "",
            bare("*** Begin Patch\n*** Update File: $D/f\n-beta\n+x\n"),
            refused(&["*** End Patch"]),
        ),
        row(
            "patch without a section",
            "",
            patch(""),
            refused(&["section"]),
        ),
        row(
            "patch in another format",
            "",
            bare("--- $D/f\n+++ $D/f\n@@ -1,3 +1,3 @@\n alpha\n-beta\n+BETA\n"),
            refused(&["*** Begin Patch"]),
        ),
        row(
            "patch without a path",
            "",
            patch("*** Add File:\n+x"),
            refused(&["path"]),
        ),
        row(
            "patch and another change",
            "",
            with(patch("*** Delete File: $D/f"), "content", "x"),
            refused(&["content"]),
        ),
        row(
            "patch with a line that is no section",
            "",
            patch("*** Update File: $D/f\n@@\n-beta\n+x\n*** Rename File: $D/f"),
            refused(&["line 6"]),
        ),
    ]
}
