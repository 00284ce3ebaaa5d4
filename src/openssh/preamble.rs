//! What a server may send before it says which SSH it speaks: lines of text (RFC 4253, section 4.2), as many as OpenSSH
//! reads.

/// The most lines (`SSH_MAX_PRE_BANNER_LINES` of OpenSSH's `kex.c`).
const MAX_LINES: usize = 1024;
/// The longest of them, in bytes (`SSH_MAX_BANNER_LEN`).
const MAX_LINE_BYTES: usize = 8192;
/// How much of them is kept, to be quoted where nothing else comes, in bytes.
const MAX_KEPT_BYTES: usize = 2048;
/// How the identification begins.
const IDENTIFICATION: &[u8] = b"SSH-";

/// Takes the lines before the identification out of what a server sends.
#[derive(Debug, Default)]
pub struct Preamble {
    line: Vec<u8>,
    lines: usize,
    kept: Vec<u8>,
}

/// Why what comes cannot be an SSH server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// More lines than `MAX_LINES`.
    #[error(
        "the server sends more than {MAX_LINES} lines of text and does not say which SSH it speaks"
    )]
    Lines,
    /// A line that does not end.
    #[error(
        "the server sends a line of more than {MAX_LINE_BYTES} bytes and does not say which SSH it speaks"
    )]
    Length,
}

impl Preamble {
    /// Takes the next bytes. The result is the identification as far as it is there, with all that follows; it is empty
    /// until it begins. After that nothing more is to be taken.
    ///
    /// # Errors
    /// [`PreambleError`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, PreambleError> {
        while !bytes.is_empty() {
            let end = bytes
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(bytes.len(), |at| at + 1);

            let (part, rest) = bytes.split_at(end);
            self.line.extend_from_slice(part);

            if self.line.starts_with(IDENTIFICATION) {
                let begun = std::mem::take(&mut self.line);
                return Ok([&begun, rest].concat());
            }

            if self.line.len() > MAX_LINE_BYTES {
                return Err(PreambleError::Length);
            }

            if self.line.ends_with(b"\n") {
                self.keep();
                self.lines += 1;
                if self.lines > MAX_LINES {
                    return Err(PreambleError::Lines);
                }
            }

            bytes = rest;
        }

        Ok(Vec::new())
    }

    /// The beginning of what the lines said.
    #[must_use]
    pub fn words(&self) -> String {
        let held = [self.kept.as_slice(), &self.line].concat();
        let text =
            String::from_utf8_lossy(held.get(..MAX_KEPT_BYTES).unwrap_or(&held)).replace('\r', "");
        text.trim().to_owned()
    }

    fn keep(&mut self) {
        let room = MAX_KEPT_BYTES.saturating_sub(self.kept.len());
        self.kept
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
    fn lines_are_taken_out_and_all_from_the_identification_on_is_passed() {
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
