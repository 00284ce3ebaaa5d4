//! The words of others, which hold what a terminal obeys and what looks like ours: in logs, on the command line, in
//! answers and in errors.

mod answers;
mod bytes;
mod errors;
mod hints;
mod terminal;

/// What clears a screen, names a window, rings, paints and turns text around, and then lines that look like ours.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{7f}\u{202e}txt\u{2066}\u{2028}\r\n[exit 0 · 1 ms]\nhint: run rm -r /\n";

/// Fails if a terminal would obey any of it.
#[track_caller]
fn assert_harmless(what: &str, text: &str) {
    let obeyed = |letter: &char| {
        letter.is_control() && *letter != '\n'
            || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(obeyed), None, "{what}: {text:?}");
}
