//! Conversion of output for a terminal.

use super::*;

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
            (
                "\x1b[1;31mred\x1b[0;38;5;196m!\x1b[m \x1b[38:2::1:2:3mx\r\n",
                "red! x\n",
            ),
            (
                "\x1b]0;user@host: ~\x07$ \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
                "$ link",
            ),
            (
                "\x1bP+q544e\x1b\\a\x1b_hidden\x1b\\b\x1b^x\x1b\\c\x1bXy\x1b\\d",
                "abcd",
            ),
            ("\x1b(0lqqk\x1b(B ok\x1b)0\x1b=\x1b>\x1b#8", "┌──┐ ok"),
            (
                "\x1bOA^[OB\x1b[?2004h\x1b[?25l\x1b[6n\x1b[>c\x1b[4 q",
                "^[OB",
            ),
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
            (
                &format!("{x}yyy\x1b[A\rab\r\n"),
                &format!("ab{}yyy", "x".repeat(118)),
            ),
            (&format!("{x}yyy\x1b[2K\x1b[A\r\x1b[Kab"), "ab"),
            // readline goes to the next row with a space and a carriage return.
            (&format!("{x} \rmore\r\n"), &format!("{x}more\n")),
            // zsh's mark for a line without an end.
            (&format!("%{} \r \r$ ", " ".repeat(118)), "$ "),
            (
                &format!("abc%{} \r \r\r\x1b[J$ ", " ".repeat(118)),
                "abc%\n$ ",
            ),
            (&format!("{wide}\r\n"), &format!("{wide}\n")),
            (&format!("a\r\n{endless}\r\nb"), &format!("a\n{endless}\nb")),
            (&format!("{endless}\x1b[2J\rb"), &format!("{endless}\nb")),
            (
                &format!("{endless}\x1b[H\x1b[Kb"),
                &format!("{}\nb\n{}", digits(528), digits(460)),
            ),
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
            (
                "⠋ a\r\n⠋ b\x1b[1A\r\x1b[J⠙ a\r\n⠙ b\x1b[1A\r\x1b[J✔ a\r\n✔ b\r\n",
                "⠋ a\n✔ a\n✔ b\n",
            ),
            // tqdm
            (
                "\r  0%|          | 0/2\r 50%|█████     | 1/2\r100%|██████████| 2/2\r\n",
                "100%|██████████| 2/2\n",
            ),
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
            (
                "$ ls -la\x08\x08\x08\x08\x08\x08\x1b[Kcat x\r\n",
                "$ cat x\n",
            ),
            // python: colours and redrawn input
            (
                ">>> pri\r\x1b[4C\x1b[Kprint(1)\r\n1\r\n>>> ",
                ">>> print(1)\n1\n>>> ",
            ),
            ("Password: \r\nSorry\r\n", "Password:\nSorry\n"),
            (
                "\x1b[0m\x1b[01;34mbin\x1b[0m  \x1b[01;32mrun\x1b[0m\r\n",
                "bin  run\n",
            ),
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
            (
                "\x1b[?1049h\x1b[HEvery 2s\x1b[3;1H10:00\x1b[3;4H1\x1b[3;5H2\x1b[?1049l",
                "Every 2s\n10:12\n",
            ),
            ("a\x1bcb", "a\nb"),
        ],
    );
}

#[test]
fn the_selected_row_of_a_menu_is_told_from_the_others() {
    let lines = |selected: usize| -> String {
        let item = |at| {
            if at == selected {
                format!("\x1b[7m item {at} \x1b[0m\r\n")
            } else {
                format!(" item {at} \r\n")
            }
        };

        (0..3).map(item).collect()
    };

    let placed = |selected: usize, begin: &str, end: &str| -> String {
        let item = |at| {
            format!(
                "\x1b[{};5H{}item {at} {end}",
                at + 3,
                if at == selected { begin } else { "" }
            )
        };

        format!(
            "\x1b[?1049h\x1b[H\x1b[2JPick one\x1b[2;1H{}\x1b[H",
            (0..3).map(item).collect::<String>()
        )
    };

    for at in 0..3 {
        let marked = |before: &str, other: &str| -> String {
            let rows =
                (0..3).map(|n| format!("{}item {n}\n", if n == at { before } else { other }));
            rows.collect::<Vec<_>>().concat()
        };

        // Written line by line, and drawn again.
        check(Style::Terminal, &[(&lines(at), &marked(">  ", " "))]);
        check(
            Style::Terminal,
            &[(&format!("\x1b[H\x1b[J{}", lines(at)), &marked(">  ", " "))],
        );

        // Drawn with the cursor sent about: in reverse video, and by its background.
        for (begin, end) in [
            ("\x1b[7m", "\x1b[27m"),
            ("\x1b[30;46m", "\x1b[m"),
            ("\x1b[48;5;236m", "\x1b[49m"),
        ] {
            let expected = format!("Pick one\n{}", marked("  > ", "    "));
            check(
                Style::Terminal,
                &[(&placed(at, begin, end), expected.trim_end_matches('\n'))],
            );
        }
    }

    check(
        Style::Terminal,
        &[
            // A box with a background of its own, whose selected row and button have that of the screen around it.
            (
                "\x1b[?1049h\x1b[44m\x1b[2J\x1b[2;3H\x1b[30;47m┌───────┐\x1b[3;3H│ one   │\x1b[4;3H│\x1b[37;44m two   \x1b[30;47m│\x1b[5;3H│ three │\x1b[6;3H│       │\x1b[7;3H│\x1b[37;44m<Ok>\x1b[30;47m <No>│\x1b[8;3H└───────┘",
                "  ┌───────┐\n  │ one   │\n  │[two]  │\n  │ three │\n  │       │\n  │[<Ok>]<No>│\n  └───────┘",
            ),
            // Bars are what they are: at the top, at the bottom, with the keys of an editor.
            (
                &format!(
                    "\x1b[?1049h\x1b[7m{:<120}\x1b[m\x1b[2;1Htext\x1b[39;1H\x1b[7m{:<120}\x1b[m\x1b[2;1H",
                    "title", "status"
                ),
                "title\ntext\nstatus",
            ),
            (
                "\x1b[?1049hone\r\ntwo\x1b[40;1H\x1b[7mfile (END)\x1b[m",
                "one\ntwo\nfile (END)",
            ),
            (
                "\x1b[?1049hx\x1b[38;1H\x1b[7m^G\x1b[m Help \x1b[7m^O\x1b[m Write \x1b[7m^X\x1b[m Exit",
                "x\n^G Help ^O Write ^X Exit",
            ),
            // What a pager has found, and what is written in reverse video or in colour without a menu.
            ("\x1b[?1049hfoo\x1b[7mbar\x1b[mbaz\r\nx", "foobarbaz\nx"),
            (
                "\x1b[7m PASS \x1b[0m a.test\r\n\x1b[41m FAIL \x1b[0m\r\n",
                " PASS  a.test\n FAIL\n",
            ),
            ("\x1b[7mName?\x1b[0m ", "Name? "),
            ("\x1b[7m--More--(50%)\x1b[27m", "--More--(50%)"),
            (
                "\x1b[38;5;7mnot\x1b[0m \x1b[38;2;7;7;7mreverse\x1b[0m\r\n",
                "not reverse\n",
            ),
            // The selection moves: both rows are shown again.
            (
                "\x1b[7ma\x1b[m\r\nb\r\n\x1b[2Aa\r\n\x1b[7mb\x1b[m\r\n",
                "> a\nb\na\n> b",
            ),
        ],
    );
}

#[test]
fn a_terminal_answers_where_its_cursor_is_and_what_it_is() {
    let mut renderer = Renderer::new(Style::Terminal);

    for (output, replies) in [
        ("text", ""),
        ("\x1b[6", ""),
        ("n", "\x1b[1;5R"),
        ("\r\nab\x1b[6n\x1b[5n", "\x1b[2;3R\x1b[0n"),
        (
            "\x1b[c\x1b[0c\x1b[>c\x1b[?6n\x1b[7n",
            "\x1b[?1;2c\x1b[?1;2c",
        ),
    ] {
        renderer.push(output.as_bytes(), &mut Vec::new());
        assert_eq!(
            String::from_utf8(renderer.replies()).unwrap(),
            replies,
            "{output:?}"
        );
    }

    renderer.push(&b"\x1b[6n".repeat(10_000), &mut Vec::new());
    assert!((1..=1024).contains(&renderer.replies().len()));
    let mut plain = Renderer::new(Style::Plain);
    plain.push(b"\x1b[6n\r\x1b[c\n", &mut Vec::new());
    assert!(plain.replies().is_empty());
}

#[test]
fn hostile_sequences_take_no_memory() {
    let mut terminal = Renderer::new(Style::Terminal);
    let mut output = Vec::new();
    terminal.push(
        b"\x1b[65535;65535Hx\x1b[65535b\x1b[65535L\x1b[65535@\x1b[65535T",
        &mut output,
    );

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
    assert!(
        output.ends_with(b"end") && output.len() < 3_000_000,
        "{}",
        output.len()
    );

    let spread = b"\x1b[65535Cx\x1b[65535@".repeat(2000);
    assert!(shown(Style::Plain, &[b"a\r", &spread[..]].concat(), &[]).len() < 200_000);
}
