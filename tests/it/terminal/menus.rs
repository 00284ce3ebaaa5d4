//! The selected row of a menu, in programs that draw one.

use serde_json::json;

use super::{has, job, pty, terminals};
use crate::support::checks::status;

/// A menu without a library: three rows, the selected one in reverse video.
const BY_HAND: &str = r#"at=0; while :; do printf '\033[H\033[2J'; for i in 0 1 2; do
if [ $i = $at ]; then printf '\033[7m item %s \033[0m\r\n' $i; else printf ' item %s \r\n' $i; fi; done
IFS= read -rsn1 key; [ "$key" = q ] && break; at=$(( (at + 1) % 3 )); done"#;

/// The same with curses, for a terminal of its own.
const CURSES: &str = r#"exec python3 -c '
import curses
def main(screen):
    curses.curs_set(0)
    at = 0
    while True:
        screen.erase()
        screen.addstr(0, 0, "Pick one")
        for i in range(3):
            screen.addstr(2 + i, 2, "item %d" % i, curses.A_REVERSE if i == at else 0)
        key = screen.getkey()
        if key == "q": break
        at = (at + 1) % 3
curses.wrapper(main)
'"#;

#[tokio::test]
async fn each_selection_of_a_menu_gives_another_text() {
    let Some(mut bench) = terminals().await else {
        return;
    };

    for (program, command) in [
        (
            "bash",
            format!("exec bash -c '{}'", BY_HAND.replace('\'', r"'\''")),
        ),
        ("python3", CURSES.to_owned()),
    ] {
        if !has(program) {
            continue;
        }

        let begun = bench
            .exec(
                &command,
                json!({"pty": true, "waitMs": 20_000, "background": true, "timeoutMs": 120_000}),
            )
            .await;

        let job = job(&begun);
        let mut screen = begun.stdout();

        for at in 0..3 {
            // The screen is at the end of what was printed.
            let lines: Vec<&str> = screen.lines().collect();
            let first = lines
                .iter()
                .rposition(|line| line.contains("item 0"))
                .unwrap_or_default();

            let marked: Vec<bool> = lines
                .iter()
                .skip(first)
                .take(3)
                .map(|line| line.trim_start().starts_with('>'))
                .collect();

            let expected: Vec<bool> = (0..3).map(|row| row == at).collect();
            assert_eq!(marked, expected, "{program}, {at}: {screen}");
            screen = bench.job(&job, json!({"input": "j"})).await.stdout();
        }

        let ended = bench.job(&job, json!({"input": "q"})).await;
        assert_eq!(status(&ended), "exited", "{program}: {}", ended.text());
    }
}

#[tokio::test]
async fn selections_of_dialogs_are_marked_and_bars_of_pagers_are_not() {
    let Some(mut bench) = terminals().await else {
        return;
    };
    let items = ["Alpha", "Beta", "Gamma"];

    // ↓ as each of them knows it.
    for (program, down) in [("dialog", "\u{1b}OB"), ("whiptail", "\u{1b}[B")] {
        if !has(program) {
            continue;
        }

        let command = format!("{program} --menu Pick 12 40 3 a Alpha b Beta c Gamma");
        let begun = bench
            .exec(&command, json!({"pty": true, "waitMs": 20_000}))
            .await;
        let job = job(&begun);
        let mut screen = begun.stdout();

        for selected in items {
            let row = |item: &str| {
                screen
                    .lines()
                    .rfind(|line| line.contains(item))
                    .unwrap_or_default()
                    .to_owned()
            };

            for item in items {
                assert_eq!(
                    row(item).contains('['),
                    item == selected,
                    "{program}: {screen}"
                );
            }

            screen = bench.job(&job, json!({"input": down})).await.stdout();
        }

        bench.job(&job, json!({"signal": "KILL"})).await;
    }

    let paged = bench
        .exec(
            "seq 100 | LESS= less",
            json!({"pty": true, "waitMs": 20_000}),
        )
        .await;

    assert!(!paged.stdout().contains(['>', '[']), "{}", paged.text());
    bench.give(&job(&paged), "q").await;

    let plain = bench
        .exec(
            r"printf '\033[7m status \033[0m text\n'; printf '\033[41m FAIL \033[0m x\n'",
            pty(),
        )
        .await;

    assert_eq!(plain.stdout(), " status  text\n FAIL  x\n");
}
