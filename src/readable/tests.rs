use proptest::prelude::*;

use super::*;

/// What is shown of the whole stream, pushed in portions of the given sizes.
fn shown(style: Style, stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut readable, mut output, mut rest) = (Readable::new(style), Vec::new(), stream);
    let mut cuts = cuts.iter().copied().cycle();
    while !rest.is_empty() {
        let (portion, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        readable.push(portion, &mut output);
        rest = later;
    }
    readable.finish(&mut output);
    output
}

fn check(style: Style, table: &[(&str, &str)]) {
    for (stream, expected) in table {
        for cuts in [&[][..], &[1], &[2, 3]] {
            let output = shown(style, stream.as_bytes(), cuts);
            assert_eq!(String::from_utf8_lossy(&output), **expected, "{stream:?} in portions of {cuts:?}");
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
            ("\x1b[31mred\x1b[0m \x08\x07\t \n", "\x1b[31mred\x1b[0m \x08\x07\t \n"),
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
            ("remote: Counting:  50%\x1b[K\rremote: Counting: 100%, done.\x1b[K\n", "remote: Counting: 100%, done.\n"),
            ("⠙ install\r\x1b[2K⠹ install\r\x1b[2Kadded 3\n", "added 3\n"),
        ],
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
fn a_line_too_long_to_be_held_is_exact_and_one_drawn_over_for_hours_is_not() {
    let long = [&b"x".repeat(100_000)[..], b"\ry\nz\n"].concat();
    assert_eq!(shown(Style::Plain, &long, &[4096]), long);
    let long = [&b"a\r"[..], &b"x".repeat(100_000), b"\r\ny\rz\n"].concat();
    assert_eq!(shown(Style::Plain, &long, &[4096]), [&long[..100_004], b"z\n"].concat());
    let bar: String = (0..50_000).fold(String::new(), |bar, step| bar + &format!("\r{step:>9} of 49999"));
    for style in [Style::Plain, Style::Terminal] {
        for cuts in [&[][..], &[1000], &[7]] {
            assert_eq!(shown(style, bar.as_bytes(), cuts), b"    49999 of 49999");
        }
    }
}

#[test]
fn whether_something_is_shown_otherwise_than_it_came_is_known() {
    let table: [(Style, &[u8], bool); 9] = [
        (Style::Plain, b"a\r\nb\n\x1b[0m\xff", false),
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
        let mut readable = Readable::new(style);
        readable.push(bytes, &mut Vec::new());
        assert_eq!(readable.altered(), expected, "{bytes:?}");
        readable.finish(&mut Vec::new());
        assert_eq!(readable.altered(), expected, "{bytes:?} in the end");
    }
}

#[test]
fn complete_lines_are_passed_on_at_once_and_the_unfinished_one_can_be_seen() {
    for style in [Style::Plain, Style::Terminal] {
        let (mut readable, mut output) = (Readable::new(style), Vec::new());
        readable.push(b"first\nName? ", &mut output);
        assert_eq!((output.as_slice(), readable.unfinished().as_slice()), (&b"first\n"[..], &b"Name? "[..]));
        assert_eq!((readable.latest().as_str(), readable.prompt().as_str()), ("Name?", "Name?"));
        readable.push(b"x\n", &mut output);
        assert_eq!((output.as_slice(), readable.unfinished().as_slice()), (&b"first\nName? x\n"[..], &b""[..]));
        assert_eq!((readable.latest().as_str(), readable.prompt().as_str()), ("Name? x", ""));
        readable.push(format!("{}\x1b[1m [Y/n]\x1b[0m ", "long ".repeat(900)).as_bytes(), &mut output);
        assert_eq!((readable.prompt().len(), readable.prompt().ends_with("long  [Y/n]")), (200, true));
    }
}

#[test]
fn a_part_that_is_shown_by_itself_ends_within_nothing() {
    let table: [(&[u8], &[u8]); 13] = [
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
        (b"\x1b[3", b"\x1b[3"),
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
        let mut readable = Readable::new(Style::Plain);
        readable.push(stream.as_bytes(), &mut Vec::new());
        assert_eq!(readable.latest(), expected, "{stream:?}");
    }
    let mut readable = Readable::new(Style::Terminal);
    readable.push("ü".repeat(5000).as_bytes(), &mut Vec::new());
    assert_eq!(readable.latest(), "ü".repeat(200));
}

#[test]
fn a_terminal_shows_what_stands_on_a_line_in_the_end() {
    check(
        Style::Terminal,
        &[
            ("a\r\nb\r\n\r\nc", "a\nb\n\nc"),
            ("a\nb\n", "a\nb\n"),
            ("abc\rx\r\n", "xbc\n"),
            ("abc\x08\x08X\r\n", "aXc\n"),
            ("abc\x08 \x08\r\n", "ab\n"),
            ("abcdef\x1b[3D\x1b[P\r\n", "abcef\n"),
            ("abcdef\x1b[4D\x1b[2XY\r\n", "abY ef\n"),
            ("abc\x1b[2D\x1b[@X\r\n", "aXbc\n"),
            ("abc\x1b[10Gx\x1b[3Cy\x1b[1K\r\n", "\n"),
            ("abc\x1b[10Gx\x1b[3Cy\r\n", "abc      x   y\n"),
            ("abc\x1b[2Gx\x1b[K\r\n", "ax\n"),
            ("-\x1b[4b|\r\n", "-----|\n"),
            ("a\tb\tc\r\n", "a\tb\tc\n"),
            ("a\tb\rxxx\r\n", "xxx     b\n"),
            ("日本\x08\x08\x1b[K語\r\n", "日語\n"),
            ("日本\rx\r\n", "x 本\n"),
            ("beep\x07\x00\x0e\x0f\x7f!\r\n", "beep!\n"),
            ("\x1b[1;31mred\x1b[0;38;5;196m!\x1b[m \x1b[38:2::1:2:3mx\r\n", "red! x\n"),
            ("\x1b]0;user@host: ~\x07$ \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "$ link"),
            ("\x1bP+q544e\x1b\\a\x1b_hidden\x1b\\b\x1b^x\x1b\\c\x1bXy\x1b\\d", "abcd"),
            ("\x1b(0lqqk\x1b(B ok\x1b)0\x1b=\x1b>\x1b#8", "┌──┐ ok"),
            ("\x1bOA^[OB\x1b[?2004h\x1b[?25l\x1b[6n\x1b[>c\x1b[4 q", "^[OB"),
            ("\x1b[31", ""),
            ("ok\x1b]0;never ended", "ok"),
            (
                "\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23;24;25;26;27;28;29;30;31;32;33;34mx",
                "x",
            ),
        ],
    );
}

#[test]
fn a_long_line_stays_one_line_although_the_terminal_wraps_it() {
    let (x, wide) = ("x".repeat(120), "字".repeat(61));
    let digits = |tens| "0123456789".repeat(tens);
    let endless = digits(1000);
    check(
        Style::Terminal,
        &[
            (&format!("{x}\r\ny"), &format!("{x}\ny")),
            (&format!("{x}y\r\nz"), &format!("{x}y\nz")),
            (&format!("{x}\rab"), &format!("ab{}", "x".repeat(118))),
            (&format!("{x}yyy\rab"), &format!("{x}aby")),
            (&format!("{x}yyy\x1b[A\rab\r\n"), &format!("ab{}yyy", "x".repeat(118))),
            (&format!("{x}yyy\x1b[2K\x1b[A\r\x1b[Kab"), "ab"),
            // readline goes to the next row with a space and a carriage return.
            (&format!("{x} \rmore\r\n"), &format!("{x}more\n")),
            // zsh's mark for a line without an end.
            (&format!("%{} \r \r$ ", " ".repeat(118)), "$ "),
            (&format!("abc%{} \r \r\r\x1b[J$ ", " ".repeat(118)), "abc%\n$ "),
            (&format!("{wide}\r\n"), &format!("{wide}\n")),
            (&format!("a\r\n{endless}\r\nb"), &format!("a\n{endless}\nb")),
            (&format!("{endless}\x1b[2J\rb"), &format!("{endless}\nb")),
            (&format!("{endless}\x1b[H\x1b[Kb"), &format!("{}\nb\n{}", digits(528), digits(460))),
        ],
    );
}

#[test]
fn progress_bars_are_shown_in_their_last_state() {
    check(
        Style::Terminal,
        &[
            // curl
            (
                "  % Total    % Received % Xferd\r\n\r  0     0    0     0    0     0\r 43  100M   43 43.1M\r100  100M  100  100M\r\n",
                "  % Total    % Received % Xferd\n100  100M  100  100M    0     0\n",
            ),
            (
                "\r#                     1.2%\r########             50.0%\r################### 100.0%\r\n",
                "################### 100.0%\n",
            ),
            // wget
            (
                "\rx.iso    0%[          ]       0  --.-KB/s               \rx.iso  100%[=========>]  10.00M  98.1MB/s    in 0.1s    \r\n\r\n",
                "x.iso  100%[=========>]  10.00M  98.1MB/s    in 0.1s\n\n",
            ),
            // pip (rich)
            (
                "\x1b[?25l   \x1b[38;5;237m━━━━\x1b[0m 0.0/1.2 MB \x1b[31m?\x1b[0m eta -:--:--\r\x1b[2K   \x1b[32m━━━━\x1b[0m 1.2/1.2 MB eta 0:00:00\r\n\x1b[?25hdone\r\n",
                "   ━━━━ 1.2/1.2 MB eta 0:00:00\ndone\n",
            ),
            // One that is drawn in the first rows, as those of JavaScript programs are
            ("⠋ a\r\n⠋ b\x1b[1A\r\x1b[J⠙ a\r\n⠙ b\x1b[1A\r\x1b[J✔ a\r\n✔ b\r\n", "⠋ a\n✔ a\n✔ b\n"),
            // tqdm
            ("\r  0%|          | 0/2\r 50%|█████     | 1/2\r100%|██████████| 2/2\r\n", "100%|██████████| 2/2\n"),
            // apt: a bar in the last row, below the region that scrolls
            (
                "Get:1\r\n\r\n\x1b7\x1b[0;39r\x1b8\x1b[1AUnpacking\r\n\x1b7\x1b[40;0f\x1b[42m\x1b[30mProgress: [ 50%]\x1b[49m\x1b[39m [##..] \x1b8Setting up\r\n\r\n\x1b7\x1b[0;40r\x1b8\x1b[1A\x1b[J",
                "Get:1\n\nUnpacking\nSetting up\n",
            ),
            // docker pull: every layer has a row of its own
            (
                "latest: Pulling from x\r\na1: Pulling fs layer \r\nb2: Pulling fs layer \r\n\x1b[2A\x1b[2K\ra1: Downloading 5MB\r\x1b[2B\x1b[1A\x1b[2K\rb2: Download complete \r\x1b[1B\x1b[2A\x1b[2K\ra1: Pull complete \r\x1b[2BDigest: sha256:0\r\n",
                "latest: Pulling from x\na1: Pulling fs layer\nb2: Pulling fs layer\na1: Pull complete\nb2: Download complete\nDigest: sha256:0\n",
            ),
            // docker build: the whole block again and again
            (
                "\x1b[?25l[+] 0.1s\r\n => one\r\n\x1b[2A\x1b[0G\x1b[2K[+] 0.2s\r\n\x1b[2K => one\r\n\x1b[2A\x1b[0G[+] 0.3s\r\n => one\r\n\x1b[?25h",
                "[+] 0.1s\n => one\n[+] 0.3s",
            ),
        ],
    );
}

#[test]
fn what_was_typed_at_a_prompt_is_shown_as_it_was_in_the_end() {
    check(
        Style::Terminal,
        &[
            // bash: a prompt, typing with corrections, history
            (
                "\x1b[?2004h$ ech\x08\x08\x08\x1b[1@x\x08\x1b[Kecho hi\r\n\x1b[?2004l\rhi\r\n\x1b[?2004h$ ",
                "$ echo hi\nhi\n$ ",
            ),
            ("$ ls -la\x08\x08\x08\x08\x08\x08\x1b[Kcat x\r\n", "$ cat x\n"),
            // python: colours and redrawn input
            (">>> pri\r\x1b[4C\x1b[Kprint(1)\r\n1\r\n>>> ", ">>> print(1)\n1\n>>> "),
            ("Password: \r\nSorry\r\n", "Password:\nSorry\n"),
            ("\x1b[0m\x1b[01;34mbin\x1b[0m  \x1b[01;32mrun\x1b[0m\r\n", "bin  run\n"),
        ],
    );
}

#[test]
fn programs_that_use_the_whole_screen_leave_something_legible() {
    check(
        Style::Terminal,
        &[
            ("$ x\x1b[H\x1b[2J\x1b[3Jtop\r\n", "$ x\ntop\n"),
            ("$ \x1b[H\x1b[Jnew", "new"),
            ("one\x1b[5;1Hfive\x1b[3;3Hthree", "one\n  three\nfive"),
            // less
            (
                "\x1b[?1049h\x1b[22;0;0t\x1b[?1h\x1b=\rline 1\x1b[m\r\nline 2\x1b[m\r\n\x1b[7mfile\x1b[27m\x1b[K\r\x1b[Kline 3\x1b[m\r\n:\x1b[K\r\x1b[K\x1b[?1l\x1b>\x1b[?1049l\x1b[23;0;0t",
                "line 1\nline 2\nline 3\n",
            ),
            // vim
            (
                "\x1b[?1049h\x1b[>4;2m\x1b[?1h\x1b=\x1b[1;40r\x1b[H\x1b[2J\x1b[2;1H▽\x1b[6n\x1b[2;1H  \x1b[1;1Hhello\r\n\x1b[94m~                   \x1b[3;1H~      \x1b[m\x1b[40;1H\"f\" 1L, 6B\x1b[1;1H\x1b[?25h\x1b[34h",
                "hello\n~\n~\n\"f\" 1L, 6B",
            ),
            // backwards in a pager: a line comes in at the top
            ("\x1b[Hb\r\nc\x1b[H\x1bMa\x1b[40;1H:", "b\nc\na\n:"),
            // watch: the same rows with new content
            ("\x1b[?1049h\x1b[HEvery 2s\x1b[3;1H10:00\x1b[3;4H1\x1b[3;5H2\x1b[?1049l", "Every 2s\n10:12\n"),
            ("a\x1bcb", "a\nb"),
        ],
    );
}

#[test]
fn hostile_sequences_take_no_memory() {
    let mut terminal = Readable::new(Style::Terminal);
    let mut output = Vec::new();
    terminal.push(b"\x1b[65535;65535Hx\x1b[65535b\x1b[65535L\x1b[65535@\x1b[65535T", &mut output);
    for _ in 0..1000 {
        terminal.push(&b"9;".repeat(1000), &mut output);
    }
    terminal.push(b"\x1b]0;", &mut output);
    for _ in 0..1000 {
        terminal.push(&b"title ".repeat(500), &mut output);
    }
    terminal.push(b"\x1b\\\x1b[", &mut output);
    for _ in 0..1000 {
        terminal.push(&b"1;:".repeat(1000), &mut output);
    }
    terminal.push(b"mend", &mut output);
    terminal.finish(&mut output);
    assert!(output.ends_with(b"end") && output.len() < 3_000_000, "{}", output.len());
    let spread = b"\x1b[65535Cx\x1b[65535@".repeat(2000);
    assert!(shown(Style::Plain, &[b"a\r", &spread[..]].concat(), &[]).len() < 200_000);
}

/// Pieces of which streams are made that are likelier to find a fault than arbitrary bytes.
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
        let (mut readable, mut output) = (Readable::new(if terminal { Style::Terminal } else { Style::Plain }), Vec::new());
        // CAN, so that no sequence is left incomplete.
        readable.push(&[&stream[..], b"\x18"].concat(), &mut output);
        let whole = [output.clone(), readable.unfinished()].concat();
        readable.finish(&mut output);
        prop_assert_eq!(output, whole);
        prop_assert!(readable.unfinished().is_empty());
    }

    #[test]
    fn without_carriage_returns_a_pipe_is_exact(
        stream in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>().prop_filter("no CR", |byte| *byte != b'\r')], 0..400),
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
