//! What a reader sees of a command's output: bytes in, text out, nothing read or waited for.
//!
//! A progress bar draws over itself, and a program on a terminal draws with control sequences. Who reads the output
//! afterwards wants neither: only what stood there in the end.

mod highlight;
mod plain;
mod row;
mod screen;
mod terminal;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use plain::Plain;
use screen::Screen;
use terminal::Terminal;

/// The columns of the terminal that [`Style::Terminal`] takes the bytes for.
pub const COLUMNS: u16 = 120;

/// The rows of that terminal.
pub const ROWS: u16 = 40;

/// The most characters of a line that [`Readable::latest`] and [`Readable::prompt`] give.
const LONGEST_MESSAGE: usize = 200;

/// The most bytes of a line that are remembered for [`Readable::latest`]: some of them may be control sequences.
const REMEMBERED_BYTES: usize = 2048;

/// The most bytes that a control sequence is waited for to end, which a title or a clipboard may be in.
const LONGEST_SEQUENCE: usize = 4096;

/// Whether a character ends a line, makes the rest of it read backwards, or means something to a terminal.
/// `char::is_control` knows neither Unicode's line separators nor its direction marks.
#[must_use]
pub fn is_line_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Somebody else's text in a line for a person: what would break the line is written out, as in `\n`.
#[must_use]
pub fn escape_line(text: &[u8]) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in String::from_utf8_lossy(text).chars() {
        if is_line_unsafe(letter) {
            line.extend(letter.escape_debug());
        } else {
            line.push(letter);
        }
    }

    line
}

/// JSON for a terminal: what serde leaves as it is and a terminal obeys is written out, as in `\u009b`. Programs read the
/// same in it, since such characters are in its texts alone; but for the ends of its lines, which stay.
#[must_use]
pub fn json_for_a_terminal(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter != '\n' && is_line_unsafe(letter) {
            let _ = write!(shown, "\\u{:04x}", u32::from(letter));
        } else {
            shown.push(letter);
        }
    }

    shown
}

/// For what the bytes were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a pipe or a file. The bytes stay as they are, but for control sequences, such as colours, and for lines with a
    /// carriage return that does not belong to their end: these are shown in their last state. Output with NUL in it is binary, and
    /// exact from there on; so is the rest of a line whose last state is longer than 32 KiB, and a line whose last state
    /// is over 512 bytes longer than itself.
    Plain,
    /// For a terminal of [`COLUMNS`] × [`ROWS`]. Control sequences are carried out as far as they concern text, lines
    /// end in LF alone, and characters that are not UTF-8 become U+FFFD. A row that is drawn over after it was passed
    /// on is passed on again, once, in the state in which the next new line or the end of the output finds it. A row that
    /// stands out by reverse video or its background, as the selected one of a menu does, has `>` before it; a part of a
    /// row that does has brackets around it.
    Terminal,
}

/// Turns output as it arrives into what a reader sees. However the bytes are cut, the outcome is the same; what is
/// held back is at most 64 KiB of the last line, or one screen.
#[derive(Debug)]
pub struct Readable {
    form: RenderForm,
    /// The beginning of the latest line passed on that was not empty.
    latest: Vec<u8>,
}

#[derive(Debug)]
enum RenderForm {
    Plain(Plain),
    Terminal(Box<Terminal>),
}

impl Readable {
    /// The beginning of an output.
    #[must_use]
    pub fn new(style: Style) -> Self {
        let form = match style {
            Style::Plain => RenderForm::Plain(Plain::default()),
            Style::Terminal => RenderForm::Terminal(Box::new(Terminal::new(COLUMNS, ROWS))),
        };

        Self {
            form,
            latest: Vec::new(),
        }
    }

    /// Takes the next bytes, and appends what is settled to `output`: complete lines.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        let before = output.len();

        match &mut self.form {
            RenderForm::Plain(plain) => plain.push(bytes, output),
            RenderForm::Terminal(terminal) => terminal.push(bytes, output),
        }

        let line = last_line(output.get(before..).unwrap_or_default());
        if !line.is_empty() {
            self.latest.clear();
            self.latest.extend(line.iter().take(REMEMBERED_BYTES));
        }
    }

    /// Appends the line that was not finished to `output`. What would come later begins anew.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        match &mut self.form {
            RenderForm::Plain(plain) => plain.finish(output),
            RenderForm::Terminal(terminal) => terminal.finish(output),
        }
    }

    /// The line that is not finished, as it would be shown now. There are several, with LF between them, when a
    /// program drew on several rows of its terminal.
    #[must_use]
    pub fn unfinished(&self) -> Vec<u8> {
        match &self.form {
            RenderForm::Plain(plain) => plain.unfinished(),
            RenderForm::Terminal(terminal) => terminal.unfinished(),
        }
    }

    /// What a terminal would send to the program by now because it was asked, such as where the cursor is. Never more
    /// than 1 KiB, and nothing that came in the output.
    #[must_use]
    pub fn replies(&mut self) -> Vec<u8> {
        match &mut self.form {
            RenderForm::Plain(_) => Vec::new(),
            RenderForm::Terminal(terminal) => terminal.replies(),
        }
    }

    /// Whether anything shown so far, the unfinished line included, differs from the bytes that came.
    #[must_use]
    pub fn was_rewritten(&self) -> bool {
        match &self.form {
            RenderForm::Plain(plain) => plain.was_rewritten(),
            RenderForm::Terminal(terminal) => terminal.was_rewritten(),
        }
    }

    /// The latest line that is not empty, the unfinished one before any other: at most 200 characters, without control
    /// characters.
    #[must_use]
    pub fn latest(&self) -> String {
        let unfinished = self.unfinished();
        let line = last_line(&unfinished);
        let line = if line.is_empty() { &self.latest } else { line };
        clean(line.get(..REMEMBERED_BYTES).unwrap_or(line))
            .chars()
            .take(LONGEST_MESSAGE)
            .collect()
    }

    /// The end of the line that is not finished, or of the last of them: at most 200 characters, without control
    /// characters. Empty if there is none.
    #[must_use]
    pub fn prompt(&self) -> String {
        let unfinished = self.unfinished();
        let line = clean(last_line(&unfinished));
        let before = line.chars().count().saturating_sub(LONGEST_MESSAGE);
        line.chars().skip(before).collect()
    }
}

/// The beginning of `bytes` that can be shown apart from what may follow: it ends within no character, line end or
/// control sequence. One that goes on for more than 4 KiB is none, and cut in two.
#[must_use]
pub fn separable(bytes: &[u8]) -> &[u8] {
    let mut end = bytes.len() - terminal::incomplete(bytes);
    let cut = bytes.get(..end).unwrap_or_default();
    end -= usize::from(cut.ends_with(b"\r"));

    if let Some(escape) = memchr::memrchr(0x1b, cut)
        && !is_complete_sequence(bytes.get(escape + 1..end).unwrap_or_default())
    {
        end = escape;
    }

    if bytes.len() - end > LONGEST_SEQUENCE {
        bytes
    } else {
        bytes.get(..end).unwrap_or(bytes)
    }
}

/// The length of the control sequence that these bytes are behind an ESC (ECMA-48, sections 5.4 and 5.6; ECMA-35, section
/// 13.2); `None` where they are none, or not all of one.
fn sequence(bytes: &[u8]) -> Option<usize> {
    let (first, rest) = bytes.split_first()?;
    let run = |from: usize, range: std::ops::RangeInclusive<u8>| {
        from + rest
            .iter()
            .skip(from)
            .take_while(|byte| range.contains(byte))
            .count()
    };

    match first {
        b'[' => {
            let end = run(run(0, 0x30..=0x3f), 0x20..=0x2f);
            matches!(rest.get(end)?, 0x40..=0x7e).then_some(end + 2)
        }
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let end = memchr::memchr2(0x07, 0x1b, rest)?;
            let bell = rest.get(end) == Some(&0x07);
            (bell || rest.get(end + 1) == Some(&b'\\')).then_some(end + if bell { 2 } else { 3 })
        }
        0x20..=0x2f => {
            let end = run(0, 0x20..=0x2f);
            matches!(rest.get(end)?, 0x30..=0x7e).then_some(end + 2)
        }
        0x30..=0x7e => Some(1),
        _ => None,
    }
}

/// Whether these bytes hold all that belongs to the ESC before them (ECMA-48 section 5.4 and 5.6).
fn is_complete_sequence(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        None => false,
        Some((b'[', rest)) => rest.iter().any(|byte| matches!(byte, 0x40..=0x7e)),
        Some((b']' | b'P' | b'X' | b'^' | b'_', rest)) => rest.contains(&0x07),
        Some((0x20..=0x2f | b'N' | b'O', rest)) => !rest.is_empty(),
        Some(_) => true,
    }
}

/// The text of a line, without control sequences and characters.
fn clean(line: &[u8]) -> String {
    let clean = Screen::last_state(line, true);
    let text = String::from_utf8_lossy(&clean);
    let text = text
        .trim()
        .chars()
        .map(|letter| if letter == '\t' { ' ' } else { letter });
    text.filter(|letter| !is_line_unsafe(*letter)).collect()
}

/// The last line in which something stands.
fn last_line(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_end();
    memchr::memrchr(b'\n', text)
        .and_then(|end| text.get(end + 1..))
        .unwrap_or(text)
}
