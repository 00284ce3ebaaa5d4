//! From raw output to what a reader sees of it (a placeholder for the real one, with its interface).

/// Where the output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A command without a terminal.
    Plain,
    /// A terminal.
    Terminal,
}

/// The filter for one stream.
#[derive(Debug)]
pub struct Readable {
    line: Vec<u8>,
    latest: Vec<u8>,
}

impl Readable {
    /// A filter for output of this kind.
    #[must_use]
    pub fn new(_style: Style) -> Self {
        Self { line: Vec::new(), latest: Vec::new() }
    }

    /// Takes the next bytes and appends the lines that are complete.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        self.line.extend_from_slice(bytes);
        if let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.line.split_off(end + 1);
            output.extend_from_slice(&self.line);
            let complete = std::mem::replace(&mut self.line, rest);
            let last = complete.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
            self.latest = last.unwrap_or_default().to_vec();
        }
    }

    /// Appends the unfinished line: there is no more.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.line);
    }

    /// The unfinished line as it would be shown now.
    #[must_use]
    pub fn unfinished(&self) -> Vec<u8> {
        self.line.clone()
    }

    /// Whether anything is shown otherwise than it came.
    #[must_use]
    pub fn altered(&self) -> bool {
        false
    }

    /// The latest line that is not empty.
    #[must_use]
    pub fn latest(&self) -> String {
        let line = if self.line.is_empty() { &self.latest } else { &self.line };
        String::from_utf8_lossy(line).chars().filter(|letter| !letter.is_control()).take(200).collect()
    }
}
