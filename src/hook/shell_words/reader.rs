//! Reads one command line, letter by letter.

use super::UNKNOWN;

/// Reader of a command line, with what it has read so far.
pub(super) struct Reader<'a> {
    rest: &'a str,
    /// Words of the command that is being read.
    words: Vec<String>,
    /// Word that is being read.
    word: Option<String>,
    /// Command lines in substitutions.
    inner: Vec<String>,
    /// Ends of the here-documents that begin after this line, and whether tabs before them count.
    here_documents: Vec<(String, bool)>,
    commands: Vec<Vec<String>>,
}

impl<'a> Reader<'a> {
    /// Returns the simple commands of a line, and the command lines within it.
    pub(super) fn read(line: &'a str) -> (Vec<Vec<String>>, Vec<String>) {
        let mut reader = Self {
            rest: line,
            words: Vec::new(),
            word: None,
            inner: Vec::new(),
            here_documents: Vec::new(),
            commands: Vec::new(),
        };

        reader.run();

        (reader.commands, reader.inner)
    }

    fn run(&mut self) {
        while let Some(letter) = self.next() {
            match letter {
                ' ' | '\t' => self.end_word(),
                '\n' => {
                    self.end_command();
                    self.skip_here_documents();
                }
                '&' if self.rest.starts_with('>') => {
                    self.take(1);
                    self.redirection();
                }
                ';' | '|' | '&' | '(' | ')' => self.end_command(),
                '<' | '>' => self.angle(letter),
                '#' if self.word.is_none() => self.skip_line(),
                '\'' => self.single_quoted(),
                '"' => self.double_quoted(),
                '\\' => match self.next() {
                    // A line that goes on.
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                '$' => self.dollar(),
                '`' => self.backticks(),
                // `{a,b}` becomes several words.
                '{' if self.word.is_some() || !self.rest.starts_with([' ', '\n']) => {
                    self.push(UNKNOWN);
                }
                _ => self.push(letter),
            }
        }

        self.end_command();
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.take(letter.len_utf8());

        Some(letter)
    }

    fn take(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn push(&mut self, letter: char) {
        self.word.get_or_insert_default().push(letter);
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    /// Ends a command. Reserved words and assignments before it are left out.
    fn end_command(&mut self) {
        self.end_word();
        let words = std::mem::take(&mut self.words);
        let begins = words.iter().position(|word| !is_before_command(word));

        if let Some(begins) = begins {
            self.commands
                .extend(words.get(begins..).map(<[String]>::to_vec));
        }
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.take(end);
    }

    /// Reads after `<` or `>`.
    fn angle(&mut self, letter: char) {
        // `<(…)` and `>(…)` are commands.
        if self.rest.starts_with('(') {
            self.take(1);
            self.substitution();
            return;
        }

        let is_here_document =
            letter == '<' && self.rest.starts_with('<') && !self.rest.starts_with("<<");

        // A number before it is a descriptor, and not a word of the command.
        let is_descriptor = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit());
        if self.word.as_ref().is_some_and(is_descriptor) {
            self.word = None;
        }

        if !is_here_document {
            self.redirection();
            return;
        }

        self.end_word();
        self.take(1);
        let strips_tabs = self.rest.starts_with('-');
        self.take(usize::from(strips_tabs));
        let end = self.target();
        self.here_documents.push((end, strips_tabs));
    }

    /// Skips the rest of a redirection and its target.
    fn redirection(&mut self) {
        self.end_word();
        let target = self.rest.trim_start_matches(['<', '>', '&', '|', '-']);
        self.take(self.rest.len() - target.len());
        self.target();
    }

    /// Takes the next word, which is none of the command.
    fn target(&mut self) -> String {
        let target = self.rest.trim_start_matches([' ', '\t']);
        self.take(self.rest.len() - target.len());

        while let Some(letter) = self.rest.chars().next() {
            match letter {
                ' ' | '\t' | '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '>' => break,
                _ => {
                    self.take(letter.len_utf8());
                    match letter {
                        '\'' => self.single_quoted(),
                        '"' => self.double_quoted(),
                        '$' => self.dollar(),
                        '`' => self.backticks(),
                        '\\' => {
                            if let Some(escaped) = self.next() {
                                self.push(escaped);
                            }
                        }
                        _ => self.push(letter),
                    }
                }
            }
        }

        self.word.take().unwrap_or_default()
    }

    fn skip_here_documents(&mut self) {
        for (end, strips_tabs) in std::mem::take(&mut self.here_documents) {
            loop {
                let line = self.rest.split('\n').next().unwrap_or_default();
                let is_last = line.len() == self.rest.len();
                let text = if strips_tabs {
                    line.trim_start_matches('\t')
                } else {
                    line
                };

                let is_end = text == end;
                self.take(line.len() + 1);
                if is_end || is_last {
                    break;
                }
            }
        }
    }

    fn single_quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(letter) = self.next().filter(|letter| *letter != '\'') {
            self.push(letter);
        }
    }

    fn double_quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(letter) = self.next() {
            match letter {
                '"' => return,
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(escaped @ ('$' | '`' | '"' | '\\')) => self.push(escaped),
                    Some(other) => {
                        self.push('\\');
                        self.push(other);
                    }
                },
                '$' => self.dollar(),
                '`' => self.backticks(),
                _ => self.push(letter),
            }
        }
    }

    /// Reads after `$`.
    fn dollar(&mut self) {
        match self.rest.chars().next() {
            Some('(') => {
                self.take(1);
                self.substitution();
            }
            // `$'…'` has escapes of its own, which are not read here.
            Some('\'') => {
                self.take(1);
                self.push(UNKNOWN);
                self.single_quoted();
            }
            Some('{') => {
                let end = self.rest.find('}').map_or(self.rest.len(), |end| end + 1);
                self.take(end);
                self.push(UNKNOWN);
            }
            Some(letter) if letter.is_alphanumeric() || "_@*#?-$!".contains(letter) => {
                let name = self
                    .rest
                    .trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_');
                let bytes = (self.rest.len() - name.len()).max(letter.len_utf8());
                self.take(bytes);
                self.push(UNKNOWN);
            }
            // `$"…"` is a translated text, which is the text itself nearly everywhere.
            Some('"') => {}
            _ => self.push('$'),
        }
    }

    /// Takes a command line up to the parenthesis that closes it.
    fn substitution(&mut self) {
        let end = closing(self.rest);
        let line = self.rest.get(..end).unwrap_or_default().to_owned();
        self.inner.push(line);
        self.take(end + 1);
        self.push(UNKNOWN);
    }

    fn backticks(&mut self) {
        let mut line = String::new();
        while let Some(letter) = self.next().filter(|letter| *letter != '`') {
            match letter {
                '\\' => line.extend(self.next()),
                _ => line.push(letter),
            }
        }

        self.inner.push(line);
        self.push(UNKNOWN);
    }
}

/// Returns the position of the parenthesis that closes a command line, or the length of the text.
fn closing(text: &str) -> usize {
    let (mut depth, mut quote, mut is_escaped) = (1_usize, None, false);
    for (position, letter) in text.char_indices() {
        match (quote, letter) {
            _ if is_escaped => is_escaped = false,
            (Some('"') | None, '\\') => is_escaped = true,
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth -= 1;
                if depth == 0 {
                    return position;
                }
            }
            _ => {}
        }
    }

    text.len()
}

/// Returns true for reserved words and assignments, after which a command begins.
fn is_before_command(word: &str) -> bool {
    const RESERVED: [&str; 12] = [
        "if", "then", "elif", "else", "do", "while", "until", "!", "{", "}", "time", "coproc",
    ];

    let is_assignment = word.split_once('=').is_some_and(|(name, _)| {
        let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
        !name.is_empty() && name.chars().all(is_letter)
    });

    RESERVED.contains(&word) || is_assignment
}
