//! Rows of what is in a file, and of what is to be replaced there.

use serde_json::json;

use super::row::{Row, becomes, beta, edited, refused, replace, row, unchanged, with};

/// The largest file that is edited, whose last line is `beta`.
const LARGEST: &str = "yes 'a line of a large file' | head -c 4194299 > f; echo beta >> f";

pub(super) fn rows() -> Vec<Row> {
    [
        bytes(),
        line_ends(),
        places(),
        refusals(),
        files_that_are_refused(),
        answers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn bytes() -> Vec<Row> {
    vec![
        row("UTF-8, LF", "", beta(), edited()),
        row(
            "no newline at the end",
            "printf 'alpha\\nbeta' > f",
            beta(),
            becomes("f", "alpha\nBETA"),
        ),
        row(
            "a Latin-1 byte elsewhere",
            "printf 'caf\\351\\nbeta\\n' > f",
            beta(),
            becomes("f", b"caf\xe9\nBETA\n"),
        ),
        row(
            "bytes of no encoding beside the place",
            "printf '\\377\\200 beta \\303\\n' > f",
            replace("a \u{fffd}", "x"),
            refused(&["not found"]),
        ),
        row(
            "BOM",
            "printf '\\357\\273\\277alpha\\nbeta\\n' > f",
            beta(),
            becomes("f", b"\xef\xbb\xbfalpha\nBETA\n"),
        ),
        row(
            "BOM before the place",
            "printf '\\357\\273\\277beta\\n' > f",
            beta(),
            becomes("f", b"\xef\xbb\xbfBETA\n"),
        ),
        row(
            "UTF-16 with BOM",
            "printf '\\377\\376b\\0e\\0t\\0a\\0\\n\\0' > f",
            beta(),
            becomes("f", b"\xff\xfeB\0E\0T\0A\0\n\0").or_refused(&["UTF-16"]),
        ),
        row(
            "a long line",
            "{ yes x | head -c 2000000 | tr '\\n' ' '; printf 'beta end\\n'; } > f",
            beta(),
            edited(),
        ),
        row("just as large as allowed", LARGEST, beta(), edited()),
        row(
            "NFD stays NFD",
            "printf 'cafe\\314\\201 beta\\n' > f",
            replace("cafe\u{301} beta", "cafe\u{301} BETA"),
            becomes("f", "cafe\u{301} BETA\n"),
        ),
        row(
            "NFC is not NFD",
            "printf 'cafe\\314\\201 au lait\\n' > f",
            replace("caf\u{e9} au lait", "x"),
            refused(&["not found", "U+00E9"]),
        ),
        row(
            "what means something to sed, sh and printf",
            "printf 'a.*[b]\\\\1 & /x/ $HOME `id` %%s\\n' > f",
            replace(
                "a.*[b]\\1 & /x/ $HOME `id` %s",
                "&\\0\\n$(touch gone)`touch gone`'\"%s\u{1}",
            ),
            becomes("f", b"&\\0\\n$(touch gone)`touch gone`'\"%s\x01\n"),
        ),
        row(
            "text that looks like the marks of a script",
            "printf 'EOF\\n\\\\\\n.\\nbeta\\n-- \\n' > f",
            replace("beta\n-- ", "EOF\n'EOF'\n.\n\\"),
            becomes("f", "EOF\n\\\n.\nEOF\n'EOF'\n.\n\\\n"),
        ),
    ]
}

fn line_ends() -> Vec<Row> {
    let crlf = "printf 'alpha\\r\\nbeta\\r\\ngamma\\r\\n' > f";
    vec![
        row(
            "CRLF kept",
            crlf,
            beta(),
            becomes("f", "alpha\r\nBETA\r\ngamma\r\n"),
        ),
        row(
            "LF of the call matches CRLF",
            crlf,
            replace("alpha\nbeta\n", "alpha\nBETA\nnew\n"),
            becomes("f", "alpha\r\nBETA\r\nnew\r\ngamma\r\n"),
        ),
        row(
            "CRLF of the call is exact",
            crlf,
            replace("beta\r\n", "BETA\n"),
            becomes("f", "alpha\r\nBETA\ngamma\r\n"),
        ),
        row(
            "CRLF of the call is not LF",
            "",
            replace("beta\r\n", "BETA\r\n"),
            refused(&["not found"]),
        ),
        row(
            "one LF among CRLF",
            "printf 'one\\r\\ntwo\\nbeta\\r\\nfour\\r\\n' > f",
            beta(),
            becomes("f", "one\r\ntwo\nBETA\r\nfour\r\n"),
        ),
        row(
            "across one LF among CRLF",
            "printf 'one\\r\\ntwo\\nbeta\\r\\nfour\\r\\n' > f",
            replace("one\ntwo\nbeta\nfour", "one\ntwo\nBETA\nfour"),
            becomes("f", "one\r\ntwo\nBETA\r\nfour\r\n"),
        ),
        row(
            "CR alone",
            "printf 'alpha\\rbeta\\rgamma\\r' > f",
            beta(),
            becomes("f", "alpha\rBETA\rgamma\r"),
        ),
        row(
            "a line goes with its end",
            "",
            replace("beta\n", ""),
            becomes("f", "alpha\ngamma\n"),
        ),
        row(
            "everything goes",
            "",
            replace("alpha\nbeta\ngamma\n", ""),
            becomes("f", ""),
        ),
    ]
}

fn places() -> Vec<Row> {
    let twice = "printf 'beta\\nx\\nbeta\\n' > f";
    let all = |call| with(call, "replaceAll", true);
    vec![
        row("found twice", twice, beta(), refused(&["2 times", "1, 3"])),
        row(
            "found twice, all",
            twice,
            all(beta()),
            becomes("f", "BETA\nx\nBETA\n"),
        ),
        row(
            "found 30,000 times",
            "yes beta | head -n 30000 > f",
            beta(),
            refused(&["30000 times", "1, 2, 3"]),
        ),
        row("found once, all", "", all(beta()), edited()),
        row(
            "found nowhere, all",
            "",
            all(replace("delta", "x")),
            refused(&["not found"]),
        ),
        row(
            "overlapping places",
            "echo aXaXa > f",
            replace("aXa", "b"),
            refused(&["2 times"]),
        ),
        row(
            "overlapping places, all",
            "echo aaaaa > f",
            all(replace("aa", "b")),
            becomes("f", "bba\n"),
        ),
        row(
            "replaceAll as a text",
            twice,
            with(beta(), "replaceAll", "true"),
            becomes("f", "BETA\nx\nBETA\n"),
        ),
        row(
            "the new text has the old one",
            "",
            replace("beta", "beta beta"),
            becomes("f", "alpha\nbeta beta\ngamma\n"),
        ),
    ]
}

fn refusals() -> Vec<Row> {
    vec![
        row(
            "not found, similar",
            "printf 'if x:\\n\\tgo(1)\\n' > f",
            replace("if x:\n    go(1)\n", "x"),
            refused(&["not found", "line 2", "→go(1)"]),
        ),
        row(
            "not found in an empty file",
            ": > f",
            beta(),
            refused(&["not found"]),
        ),
        row(
            "old is new",
            "",
            replace("beta", "beta"),
            refused(&["same"]),
        ),
        row(
            "old is empty",
            "",
            replace("", "x"),
            refused(&["old", "empty"]),
        ),
        row(
            "no new text",
            "",
            json!({"path": "$D/f", "oldText": "beta"}),
            refused(&["newText"]),
        ),
        row(
            "no old text",
            "",
            json!({"path": "$D/f", "newText": "x"}),
            refused(&["oldText"]),
        ),
        row(
            "no change at all",
            "",
            json!({"path": "$D/f"}),
            refused(&["oldText", "content", "patch"]),
        ),
        row(
            "two changes",
            "",
            with(beta(), "content", "x"),
            refused(&["content"]),
        ),
        row(
            "empty texts for what is not used",
            "",
            with(with(beta(), "content", ""), "patch", ""),
            edited(),
        ),
        row(
            "empty texts and nothing else",
            "",
            with(with(replace("", ""), "content", ""), "patch", ""),
            refused(&["oldText"]),
        ),
        row(
            "an unknown parameter",
            "",
            with(beta(), "force", true),
            refused(&["force"]),
        ),
        row(
            "NUL bytes",
            "printf 'beta\\0\\n' > f",
            beta(),
            refused(&["no text"]),
        ),
        row(
            "NUL bytes, all",
            "printf 'beta\\0beta\\n' > f",
            with(beta(), "replaceAll", true),
            refused(&["no text"]),
        ),
        row(
            "an image",
            "printf '\\211PNG\\r\\n\\032\\nbeta' > f",
            beta(),
            refused(&["no text"]),
        ),
    ]
}

fn files_that_are_refused() -> Vec<Row> {
    vec![
        row(
            "gzip",
            "echo beta | gzip > f; echo beta >> f",
            beta(),
            refused(&["no text"]),
        ),
        row(
            "a million lines",
            "seq 1000000 > f",
            replace("999999", "x"),
            refused(&["4"]),
        ),
        row(
            "a byte too large",
            "yes x | head -c 4194305 > f",
            replace("x\nx\n", "y"),
            refused(&["4"]),
        ),
    ]
}

fn answers() -> Vec<Row> {
    vec![
        row(
            "a diff",
            "",
            beta(),
            edited().says(&["-beta", "+BETA", " alpha", "[edited ", "+1 −1"]),
        ),
        row(
            "dryRun",
            "",
            with(beta(), "dryRun", true),
            unchanged().says(&["-beta", "+BETA", "nothing written"]),
        ),
        row(
            "dryRun of what does not fit",
            "",
            with(replace("delta", "x"), "dryRun", true),
            refused(&["not found"]),
        ),
        row(
            "a diff does not obey",
            "printf 'beta \\033[2J\\n' > f",
            beta(),
            becomes("f", b"BETA \x1b[2J\n").says(&["\\u{1b}[2J"]),
        ),
        row(
            "another spelling of the parameters",
            "",
            json!({"path": "$D/f", "old_text": "beta", "new_text": "BETA"}),
            edited(),
        ),
        row(
            "a longer text",
            "",
            replace("gamma\n", &"delta\n".repeat(9)),
            becomes("f", format!("alpha\nbeta\n{}", "delta\n".repeat(9))).says(&["+9 −1"]),
        ),
    ]
}
