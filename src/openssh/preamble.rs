//! Lines of text which a server may send before its identification (RFC 4253, section 4.2). The
//! limits are those of OpenSSH.

/// Limit for the number of lines (`SSH_MAX_PRE_BANNER_LINES` of OpenSSH's `kex.c`).
const MAX_LINES: usize = 1024;
/// Limit for the length of a line, in bytes (`SSH_MAX_BANNER_LEN`).
const MAX_LINE_BYTES: usize = 8192;
/// Number of bytes kept from the lines, for the message if no identification follows.
const MAX_KEPT_BYTES: usize = 2048;
/// Beginning of the identification.
const IDENTIFICATION: &[u8] = b"SSH-";

/// Removes the lines before the identification from the data of a server. A value serves a single
/// connection and has done its work once the identification begins.
#[derive(Debug, Default)]
pub struct Preamble {
    line: Vec<u8>,
    lines: usize,
    excerpt: Vec<u8>,
}

/// Reason for which the data cannot come from an SSH server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// The server sent more than `MAX_LINES` lines.
    #[error(
        "the server sends more than {MAX_LINES} lines of text and does not say which SSH it speaks"
    )]
    Lines,
    /// A line is longer than `MAX_LINE_BYTES`.
    #[error(
        "the server sends a line of more than {MAX_LINE_BYTES} bytes and does not say which SSH it speaks"
    )]
    Length,
}

impl Preamble {
    /// Consumes the next bytes. Returns nothing until the identification begins, and then the
    /// received part of the identification with everything after. The caller must not call again
    /// after that.
    ///
    /// # Errors
    /// Returns [`PreambleError`] if the server exceeds a limit.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, PreambleError> {
        while !bytes.is_empty() {
            let line_end = bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(bytes.len(), |at| at + 1);

            // The identification may arrive in pieces, so a line is judged as a whole.
            let (part, rest) = bytes.split_at(line_end);
            self.line.extend_from_slice(part);

            if self.line.starts_with(IDENTIFICATION) {
                let identification = std::mem::take(&mut self.line);
                return Ok([&identification, rest].concat());
            }

            // Checked while the line grows: a line without end must not fill the memory.
            if self.line.len() > MAX_LINE_BYTES {
                return Err(PreambleError::Length);
            }

            if self.line.ends_with(b"\n") {
                self.finish_line();
                self.lines += 1;
                if self.lines > MAX_LINES {
                    return Err(PreambleError::Lines);
                }
            }

            bytes = rest;
        }

        Ok(Vec::new())
    }

    /// Returns the beginning of the lines as text, for an error message.
    #[must_use]
    pub fn words(&self) -> String {
        let text_so_far = [self.excerpt.as_slice(), &self.line].concat();
        let text =
            String::from_utf8_lossy(text_so_far.get(..MAX_KEPT_BYTES).unwrap_or(&text_so_far))
                .replace('\r', "");
        text.trim().to_owned()
    }

    /// Keeps the beginning of the finished line and makes room for the next line.
    fn finish_line(&mut self) {
        let room = MAX_KEPT_BYTES.saturating_sub(self.excerpt.len());
        self.excerpt
            .extend_from_slice(self.line.get(..room).unwrap_or(&self.line));
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sent: &[u8], piece: usize) -> Result<(Vec<u8>, String), PreambleError> {
        let mut preamble = Preamble::default();
        let mut pieces = sent.chunks(piece);

        for bytes in pieces.by_ref() {
            let mut passed = preamble.push(bytes)?;
            if !passed.is_empty() {
                passed.extend(pieces.flatten());
                return Ok((passed, preamble.words()));
            }
        }

        Ok((Vec::new(), preamble.words()))
    }

    #[test]
    fn lines_are_removed_up_to_the_identification() {
        for (before, after) in [
            ("", "SSH-2.0-x\r\n\0binary\nSSH-"),
            ("Welcome\r\n\r\nSSH is spoken here\n", "SSH-2.0-x\r\n"),
            ("SS\nSSH\n", "SSH-1.5-old"),
            (
                &format!("{}\n", "y".repeat(MAX_LINE_BYTES - 1)),
                "SSH-2.0-x\n",
            ),
            (&"line\n".repeat(MAX_LINES), "SSH-2.0-x\n"),
        ] {
            for piece in [1, 3, 7, 100_000] {
                let (passed, _) = read([before, after].concat().as_bytes(), piece).unwrap();
                assert_eq!(String::from_utf8(passed).unwrap(), after, "{piece}");
            }
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for (sent, expected) in [
            ("\n".repeat(MAX_LINES + 1), PreambleError::Lines),
            ("x".repeat(MAX_LINE_BYTES + 1), PreambleError::Length),
        ] {
            assert_eq!(read(sent.as_bytes(), 1000), Err(expected));
        }
    }

    #[test]
    fn the_words_of_one_that_is_no_ssh_server_are_kept() {
        for (sent, words) in [
            (
                "HTTP/1.1 400 Bad Request\r\nServer: x\r\n",
                "HTTP/1.1 400 Bad Request\nServer: x",
            ),
            ("Too many users", "Too many users"),
            ("", ""),
        ] {
            assert_eq!(
                read(sent.as_bytes(), 5).unwrap(),
                (Vec::new(), words.to_owned())
            );
        }

        assert!(
            read("long line\n".repeat(1000).as_bytes(), 100)
                .unwrap()
                .1
                .len()
                <= MAX_KEPT_BYTES
        );
    }
}
