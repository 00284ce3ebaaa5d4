//! Conversion of command output to the text that readers see. Pure: bytes in, text out.
//!
//! A progress bar draws over itself, and a program on a terminal draws with control sequences.
//! Readers of the finished output want only the final state of each line.

mod highlight;
mod plain;
mod row;
mod screen;
mod terminal;
#[cfg(test)]
mod tests;

use plain::Plain;
use screen::Screen;
use terminal::Terminal;

use crate::foreign_text::is_line_unsafe;

/// Width of the terminal for [`Style::Terminal`], in columns.
pub const COLUMNS: u16 = 120;

/// Height of the terminal for [`Style::Terminal`], in rows.
pub const ROWS: u16 = 40;

/// Maximum length of the line returned by [`Renderer::latest`] and [`Renderer::prompt`], in
/// characters.
const MAX_MESSAGE_CHARS: usize = 200;

/// Maximum number of bytes of a line remembered for [`Renderer::latest`]. Some of them may be
/// control sequences.
const REMEMBERED_BYTES: usize = 2048;

/// Maximum length of a control sequence to wait for, in bytes. Titles and clipboard contents are
/// such sequences.
const MAX_SEQUENCE_BYTES: usize = 4096;

/// Kind of destination for which a program wrote output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A pipe or a file. Bytes stay as they are, with these exceptions.
    ///
    /// Control sequences such as colours are removed. A line with a carriage return before its end
    /// is shown in its last state. Output with a NUL is binary and exact from there on. A line
    /// stays as it came if its last state is more than 512 bytes longer than the line. The rest of
    /// a line stays as it came once its last state exceeds 32 KiB.
    Plain,
    /// A terminal of [`COLUMNS`] × [`ROWS`]. Control sequences are carried out as far as they
    /// concern text.
    ///
    /// Lines end in LF only, and characters that are not UTF-8 become U+FFFD. A row that is redrawn
    /// after it was passed on is passed on once more, in the state at the next new line or the end.
    /// A row highlighted by reverse video or background gets `>` before it, and a highlighted part
    /// gets brackets.
    Terminal,
}

/// Converter of output into readable text, fed with bytes on arrival.
///
/// The result does not depend on how the bytes are cut. At most 64 KiB of the last line, or one
/// screen, is held back.
#[derive(Debug)]
pub struct Renderer {
    form: RenderForm,
    /// Beginning of the latest passed-on line with text.
    latest: Vec<u8>,
}

/// Converter for each [`Style`].
#[derive(Debug)]
enum RenderForm {
    Plain(Plain),
    Terminal(Box<Terminal>),
}

impl Renderer {
    /// Creates a converter for a new output.
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

    /// Converts the next bytes and appends complete lines to `output`.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        let before = output.len();

        match &mut self.form {
            RenderForm::Plain(plain) => plain.push(bytes, output),
            RenderForm::Terminal(terminal) => terminal.push(bytes, output),
        }

        let line = last_line(output.get(before..).unwrap_or_default());
        // Only a beginning is remembered, because a line may be as long as the output.
        if !line.is_empty() {
            self.latest.clear();
            self.latest.extend(line.iter().take(REMEMBERED_BYTES));
        }
    }

    /// Appends the unfinished line to `output`, and starts anew for later bytes.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        match &mut self.form {
            RenderForm::Plain(plain) => plain.finish(output),
            RenderForm::Terminal(terminal) => terminal.finish(output),
        }
    }

    /// Returns the unfinished line in its current state.
    ///
    /// A program that drew on several rows of its terminal has several such lines, separated by LF.
    #[must_use]
    pub fn unfinished(&self) -> Vec<u8> {
        match &self.form {
            RenderForm::Plain(plain) => plain.unfinished(),
            RenderForm::Terminal(terminal) => terminal.unfinished(),
        }
    }

    /// Returns the replies of the terminal to queries of the program, such as the cursor position.
    ///
    /// Replies have at most 1 KiB, and never repeat text from the output.
    #[must_use]
    pub fn replies(&mut self) -> Vec<u8> {
        match &mut self.form {
            RenderForm::Plain(_) => Vec::new(),
            RenderForm::Terminal(terminal) => terminal.replies(),
        }
    }

    /// Returns true if the text so far, the unfinished line included, differs from the bytes.
    #[must_use]
    pub fn was_rewritten(&self) -> bool {
        match &self.form {
            RenderForm::Plain(plain) => plain.was_rewritten(),
            RenderForm::Terminal(terminal) => terminal.was_rewritten(),
        }
    }

    /// Returns the latest line with text, preferring the unfinished line.
    ///
    /// The text has at most 200 characters and no control characters.
    #[must_use]
    pub fn latest(&self) -> String {
        let unfinished = self.unfinished();
        let line = last_line(&unfinished);
        let line = if line.is_empty() { &self.latest } else { line };
        clean(line.get(..REMEMBERED_BYTES).unwrap_or(line))
            .chars()
            .take(MAX_MESSAGE_CHARS)
            .collect()
    }

    /// Returns the end of the unfinished line, or of the last such line. Empty if there is none.
    ///
    /// The text has at most 200 characters and no control characters.
    #[must_use]
    pub fn prompt(&self) -> String {
        let unfinished = self.unfinished();
        let line = clean(last_line(&unfinished));
        // A prompt stands at the end of its line, so the beginning is cut.
        let before = line.chars().count().saturating_sub(MAX_MESSAGE_CHARS);
        line.chars().skip(before).collect()
    }
}

/// Returns the longest beginning of `bytes` which can be shown separately from later bytes.
///
/// The cut is never inside a character, line end or control sequence. A sequence longer than 4 KiB
/// does not count as such, and may be cut.
#[must_use]
pub fn separable(bytes: &[u8]) -> &[u8] {
    let mut end = bytes.len() - terminal::incomplete(bytes);
    let cut = bytes.get(..end).unwrap_or_default();
    // The LF of a line end may be the next byte.
    end -= usize::from(cut.ends_with(b"\r"));

    if let Some(escape) = memchr::memrchr(0x1b, cut)
        && !is_complete_sequence(bytes.get(escape + 1..end).unwrap_or_default())
    {
        end = escape;
    }

    if bytes.len() - end > MAX_SEQUENCE_BYTES {
        bytes
    } else {
        bytes.get(..end).unwrap_or(bytes)
    }
}

/// Returns the length of the control sequence after an ESC (ECMA-48, sections 5.4 and 5.6; ECMA-35,
/// section 13.2).
///
/// `None` if the bytes are not a complete control sequence.
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
        // xterm and others also end these sequences with BEL, where ECMA-48 demands ST.
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

/// Returns true if the bytes complete the control sequence of a preceding ESC (ECMA-48 sections 5.4
/// and 5.6).
fn is_complete_sequence(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        None => false,
        Some((b'[', rest)) => rest.iter().any(|byte| matches!(byte, 0x40..=0x7e)),
        Some((b']' | b'P' | b'X' | b'^' | b'_', rest)) => rest.contains(&0x07),
        Some((0x20..=0x2f | b'N' | b'O', rest)) => !rest.is_empty(),
        Some(_) => true,
    }
}

/// Returns the text of a line without control sequences and control characters.
fn clean(line: &[u8]) -> String {
    let clean = Screen::last_state(line, true);
    let text = String::from_utf8_lossy(&clean);
    let text = text
        .trim()
        .chars()
        .map(|letter| if letter == '\t' { ' ' } else { letter });
    text.filter(|letter| !is_line_unsafe(*letter)).collect()
}

/// Returns the last line with text.
fn last_line(text: &[u8]) -> &[u8] {
    let text = text.trim_ascii_end();
    memchr::memrchr(b'\n', text)
        .and_then(|end| text.get(end + 1..))
        .unwrap_or(text)
}
