mod terminal;

use proptest::prelude::*;

use super::*;

/// Converts a whole stream, pushed in portions of the given sizes.
fn shown(style: Style, stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut renderer, mut output, mut rest) = (Renderer::new(style), Vec::new(), stream);
    let mut cuts = cuts.iter().copied().cycle();

    while !rest.is_empty() {
        let (portion, later) =
            rest.split_at(cuts.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        renderer.push(portion, &mut output);
        rest = later;
    }

    renderer.finish(&mut output);

    output
}

fn check(style: Style, table: &[(&str, &str)]) {
    for (stream, expected) in table {
        for cuts in [&[][..], &[1], &[2, 3]] {
            let output = shown(style, stream.as_bytes(), cuts);
            assert_eq!(
                String::from_utf8_lossy(&output),
                **expected,
                "{stream:?} in portions of {cuts:?}"
            );
        }
    }
}

#[test]
fn a_line_for_a_pipe_is_exact_unless_it_was_drawn_over() {
    check(
        Style::Plain,
        &[
            ("a\nb\n\nc", "a\nb\n\nc"),
            ("dos\r\nlines\r\n", "dos\r\nlines\r\n"),
            ("a \x08\x07\t \n", "a \x08\x07\t \n"),
            ("\x1b[31mred\x1b[0m \x08\x07\t \n", "red \x08\x07\t \n"),
            (
                "\x1b[1;38;5;7;48:2::1:2:3mx\x1b[K\x1b(B\x1b]8;;http://x\x1b\\link\x1b]8;;\x07\x1bM\n",
                "xlink\n",
            ),
            ("\x1b[01;34mdir\x1b[0m", "dir"),
            ("no end \x1b[31", "no end \x1b[31"),
            ("\x1b[3\n1mx\x1b]0;t\n", "\x1b[3\n1mx\x1b]0;t\n"),
            ("caf\u{e9} \x1b[32m✓\x1b[39m ok\r\n", "caf\u{e9} ✓ ok\r\n"),
            ("10%\r50%\r100%\ndone\n", "100%\ndone\n"),
            ("long line\rab\n", "abng line\n"),
            ("größer\rÄ\n", "Äröße\u{72}\n"),
            ("日本語\rab\n", "ab本語\n"),
            ("working...\r          \rdone\n", "done\n"),
            ("working...\rdone      \r\nnext", "done\r\nnext"),
            ("a\r\r\nb", "a\r\nb"),
            ("50%\r", "50%"),
            ("\rName? ", "Name? "),
            ("x\r          \r", ""),
            // git, to a pipe, where TERM is not dumb; npm's spinner.
            (
                "remote: Counting:  50%\x1b[K\rremote: Counting: 100%, done.\x1b[K\n",
                "remote: Counting: 100%, done.\n",
            ),
            ("⠙ install\r\x1b[2K⠹ install\r\x1b[2Kadded 3\n", "added 3\n"),
        ],
    );
}

#[test]
fn a_line_that_a_few_bytes_would_make_huge_is_shown_as_it_came() {
    for line in [
        "\r\x1b[60000Gx\n".to_owned(),
        format!("\r{}\n", "\x1b[65536Gxx\x0c".repeat(1000)),
    ] {
        assert_eq!(shown(Style::Plain, line.as_bytes(), &[]), line.as_bytes());
    }

    check(
        Style::Plain,
        &[("a\r\x1b[80Gok\n", &format!("a{}ok\n", " ".repeat(78)))],
    );
}

#[test]
fn bytes_that_are_no_text_are_kept_for_a_pipe() {
    let table: [(&[u8], &[u8]); 4] = [
        (b"\xff\xc3\n\xe2\x82", b"\xff\xc3\n\xe2\x82"),
        (b"abcd\rx\xffy\n", b"x\xffyd\n"),
        (b"\x7fELF\0a\rb\nc\rd\n", b"\x7fELF\0a\rb\nc\rd\n"),
        (b"1\r2\nx\ry\0z\rw", b"2\nx\ry\0z\rw"),
    ];

    for (stream, expected) in table {
        for cuts in [&[][..], &[1], &[2]] {
            assert_eq!(shown(Style::Plain, stream, cuts), expected, "{stream:?}");
        }
    }
}

#[test]
fn a_line_too_long_to_hold_is_exact_unless_redrawn_for_hours() {
    let long = [&b"x".repeat(100_000)[..], b"\ry\nz\n"].concat();
    assert_eq!(shown(Style::Plain, &long, &[4096]), long);
    let long = [&b"a\r"[..], &b"x".repeat(100_000), b"\r\ny\rz\n"].concat();
    assert_eq!(
        shown(Style::Plain, &long, &[4096]),
        [&long[..100_004], b"z\n"].concat()
    );

    let bar: String = (0..50_000).fold(String::new(), |bar, step| {
        bar + &format!("\r{step:>9} of 49999")
    });

    for style in [Style::Plain, Style::Terminal] {
        for cuts in [&[][..], &[1000], &[7]] {
            assert_eq!(shown(style, bar.as_bytes(), cuts), b"    49999 of 49999");
        }
    }
}

#[test]
fn whether_something_is_shown_otherwise_than_it_came_is_known() {
    let table: [(Style, &[u8], bool); 11] = [
        (Style::Plain, b"a\r\nb\n\xff", false),
        (Style::Plain, b"a\n\x1b[0m\xff", true),
        (Style::Plain, b"\x1b[0", false),
        (Style::Plain, b"a\rb\n", true),
        (Style::Plain, b"a\rb", true),
        (Style::Plain, b"a\rb\0", false),
        (Style::Terminal, b"a\nb\tc", false),
        (Style::Terminal, b"a\r\n", true),
        (Style::Terminal, b"\x1b[31m", true),
        (Style::Terminal, b"\xff", true),
        (Style::Terminal, b"\x7f", true),
    ];

    for (style, bytes, expected) in table {
        let mut renderer = Renderer::new(style);
        renderer.push(bytes, &mut Vec::new());
        assert_eq!(renderer.was_rewritten(), expected, "{bytes:?}");
        renderer.finish(&mut Vec::new());
        assert_eq!(renderer.was_rewritten(), expected, "{bytes:?} in the end");
    }
}

#[test]
fn complete_lines_pass_at_once_and_the_last_one_is_visible() {
    for style in [Style::Plain, Style::Terminal] {
        let (mut renderer, mut output) = (Renderer::new(style), Vec::new());
        renderer.push(b"first\nName? ", &mut output);
        assert_eq!(
            (output.as_slice(), renderer.unfinished().as_slice()),
            (&b"first\n"[..], &b"Name? "[..])
        );

        assert_eq!(
            (renderer.latest().as_str(), renderer.prompt().as_str()),
            ("Name?", "Name?")
        );

        renderer.push(b"x\n", &mut output);
        assert_eq!(
            (output.as_slice(), renderer.unfinished().as_slice()),
            (&b"first\nName? x\n"[..], &b""[..])
        );

        assert_eq!(
            (renderer.latest().as_str(), renderer.prompt().as_str()),
            ("Name? x", "")
        );

        renderer.push(
            format!("{}\x1b[1m [Y/n]\x1b[0m ", "long ".repeat(900)).as_bytes(),
            &mut output,
        );

        assert_eq!(
            (
                renderer.prompt().len(),
                renderer.prompt().ends_with("long  [Y/n]")
            ),
            (200, true)
        );
    }
}

#[test]
fn a_part_that_is_shown_by_itself_ends_within_nothing() {
    let endless = [b"\x1b]52;".as_slice(), &[b'x'; MAX_SEQUENCE_BYTES]].concat();
    let table: [(&[u8], &[u8]); 15] = [
        (b"text", b"text"),
        (b"text\r", b"text"),
        (b"\xe6\x97\xa5\xe6\x97", b"\xe6\x97\xa5"),
        (b"a\x1b", b"a"),
        (b"a\x1b[3", b"a"),
        (b"a\x1b[31m", b"a\x1b[31m"),
        (b"a\x1b[31mb", b"a\x1b[31mb"),
        (b"a\x1b]0;title", b"a"),
        (b"a\x1b]0;title\x07", b"a\x1b]0;title\x07"),
        (b"a\x1b]0;title\x1b\\", b"a\x1b]0;title\x1b\\"),
        (b"a\x1b(", b"a"),
        (b"\x1b[3", b""),
        (b"\r", b""),
        (&endless, &endless),
        (b"", b""),
    ];

    for (bytes, expected) in table {
        assert_eq!(separable(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn the_latest_line_is_short_and_has_no_control_characters() {
    let table = [
        ("one\ntwo\n\n  \n", "two"),
        ("one\n \x1b[1mbold\x1b[0m\tx\x07\u{85}", "bold x"),
        ("10%\r\x1b[K20%", "20%"),
        ("\n\n", ""),
    ];

    for (stream, expected) in table {
        let mut renderer = Renderer::new(Style::Plain);
        renderer.push(stream.as_bytes(), &mut Vec::new());
        assert_eq!(renderer.latest(), expected, "{stream:?}");
    }

    let mut renderer = Renderer::new(Style::Terminal);
    renderer.push("ü".repeat(5000).as_bytes(), &mut Vec::new());
    assert_eq!(renderer.latest(), "ü".repeat(200));
}

/// Generates streams from pieces which are likelier to find a fault than arbitrary bytes.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"\r",
        b"\n",
        b"\r\n",
        b"\x1b[",
        b"\x1b",
        b"A",
        b"12",
        b";",
        b"H",
        b"J",
        b"K",
        b"L",
        b"M",
        b"P",
        b"@",
        b"r",
        b"\x1b[2A",
        b"\x1b[3;5H",
        b"\x1b[2J",
        b"\x1b[K",
        b"\x1b[1049h",
        b"\x1b[?1049l",
        b"\x1bM",
        b"\x1b7",
        b"\x1b8",
        b"\x1b[2;5r",
        b"\x1b]0;t\x07",
        b"\x08",
        b"\t",
        b"text",
        b"a",
        "é".as_bytes(),
        "日".as_bytes(),
        b"\xff",
        b"\xe2\x82",
        b" ",
        b"\x1b[38;5;1m",
        b"\x1b(0",
        b"\x1b[99b",
    ];

    let piece = prop_oneof![
        8 => proptest::sample::select(pieces).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => Just(vec![b'x'; 130]),
    ];

    proptest::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cut_of_the_bytes_gives_the_same_text(
        stream in stream(), cuts in proptest::collection::vec(1usize..30, 1..20), terminal in any::<bool>(),
    ) {
        let style = if terminal { Style::Terminal } else { Style::Plain };
        prop_assert_eq!(shown(style, &stream, &cuts), shown(style, &stream, &[]));
    }

    #[test]
    fn what_is_settled_and_what_is_not_make_up_the_whole(stream in stream(), terminal in any::<bool>()) {
        let (mut renderer, mut output) = (Renderer::new(if terminal { Style::Terminal } else { Style::Plain }), Vec::new());
        // CAN, so that no sequence is left incomplete.
        renderer.push(&[&stream[..], b"\x18"].concat(), &mut output);
        let whole = [output.clone(), renderer.unfinished()].concat();
        renderer.finish(&mut output);
        prop_assert_eq!(output, whole);
        prop_assert!(renderer.unfinished().is_empty());
    }

    #[test]
    fn without_carriage_returns_a_pipe_is_exact(
        stream in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>().prop_filter("no CR, no ESC", |byte| !matches!(*byte, b'\r' | 0x1b))], 0..400),
        cuts in proptest::collection::vec(1usize..50, 1..20),
    ) {
        prop_assert_eq!(shown(Style::Plain, &stream, &cuts), stream);
    }

    #[test]
    fn of_a_terminal_only_text_is_left(stream in stream()) {
        let text = String::from_utf8(shown(Style::Terminal, &stream, &[]));
        let text = text.expect("UTF-8");
        prop_assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t'), "{:?}", text);
    }
}
