//! Splits the output of the server into answers.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::framing::sentinel::Sentinel;

/// Longest line at the end of an answer, in bytes.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// Output of the server, from which answers are taken in order.
#[derive(Debug)]
pub struct Answers {
    mark: String,
    /// Number of the next answer.
    number: u64,
    held: BytesMut,
    /// Bytes of `held` that contain no beginning of a mark.
    searched: usize,
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the request prints, or a message of the shell about its failure.
    pub content: Bytes,
    /// Error of the program that failed. `None` for success.
    pub failure: Option<Bytes>,
}

/// Error for output that is not an answer to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shell on the host answers with something else than was asked")]
pub struct BadAnswer;

impl Answers {
    /// Creates the reader of a server with this mark.
    #[must_use]
    pub fn new(mark: &Sentinel) -> Self {
        Self {
            mark: mark.as_str().to_owned(),
            number: 0,
            held: BytesMut::new(),
            searched: 0,
        }
    }

    /// Takes the next bytes of output.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Returns the words with which the server begins, after any output of startup files. `None` if
    /// they have not arrived.
    ///
    /// # Errors
    /// There is more than `limit` bytes of other output.
    pub fn ready(&mut self, limit: usize) -> Result<Option<Bytes>, BadAnswer> {
        let mark = format!("\n{} ready ", self.mark);
        Ok(self.up_to(mark.as_bytes(), limit)?.map(|(_, line)| line))
    }

    /// Returns the next answer. `None` if it has not arrived.
    ///
    /// # Errors
    /// The content is longer than `limit`, or its end is not that of an answer.
    pub fn next_answer(&mut self, limit: usize) -> Result<Option<Answer>, BadAnswer> {
        let mark = format!("\n{}.{} ", self.mark, self.number);
        let Some((content, line)) = self.up_to(mark.as_bytes(), limit)? else {
            return Ok(None);
        };

        self.number += 1;
        let status = line.iter().position(|byte| *byte == b' ');
        let status = line.get(..status.unwrap_or(line.len())).unwrap_or_default();
        if status.is_empty() || !status.iter().all(u8::is_ascii_digit) {
            return Err(BadAnswer);
        }

        let message = line.slice((status.len() + 1).min(line.len())..);
        let failure = (status != b"0").then_some(message);
        Ok(Some(Answer { content, failure }))
    }

    /// Takes what stands before the mark, and the rest of the line after the mark.
    fn up_to(&mut self, mark: &[u8], limit: usize) -> Result<Option<(Bytes, Bytes)>, BadAnswer> {
        let new = self.held.get(self.searched..).unwrap_or_default();
        let Some(found) = Finder::new(mark).find(new) else {
            self.searched = (self.held.len() + 1)
                .saturating_sub(mark.len())
                .max(self.searched);
            return if self.searched > limit {
                Err(BadAnswer)
            } else {
                Ok(None)
            };
        };

        let (start, line) = (self.searched + found, self.searched + found + mark.len());
        let rest = self.held.get(line..).unwrap_or_default();
        match memchr::memchr(b'\n', rest) {
            Some(_) if start > limit => Err(BadAnswer),
            Some(length) => {
                let content = self.held.split_to(start).freeze();
                let line = self.held.split_to(mark.len() + length + 1).freeze();
                self.searched = 0;
                Ok(Some((content, line.slice(mark.len()..mark.len() + length))))
            }
            None if rest.len() > MAX_LINE_BYTES => Err(BadAnswer),
            None => {
                self.searched = start;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark() -> Sentinel {
        Sentinel::from_random([0xab; 16])
    }

    fn read(output: &[u8], cut: usize) -> Vec<Result<Answer, BadAnswer>> {
        let (mut answers, mut read) = (Answers::new(&mark()), Vec::new());
        for piece in output.chunks(cut.max(1)) {
            answers.push(piece);
            while let Some(answer) = answers.next_answer(100).transpose() {
                let is_bad = answer.is_err();
                read.push(answer);
                if is_bad {
                    return read;
                }
            }
        }

        read
    }

    fn end(number: u64, status: &str) -> String {
        format!("\n{}.{number} {status}\n", mark().as_str())
    }

    #[test]
    fn content_ends_at_its_own_mark_only() {
        let imitated = format!("a{}b", end(7, "0 "));
        let output = [
            imitated.as_str(),
            &end(0, "0 1+0 records in"),
            &end(1, "0 "),
            "part",
            &end(2, "1 rm: no: it's"),
        ]
        .concat();

        let failure = Some(Bytes::from_static(b"rm: no: it's"));
        let expected = [(imitated.as_str(), None), ("", None), ("part", failure)];
        let expected = expected.map(|(content, failure)| {
            let content = Bytes::copy_from_slice(content.as_bytes());
            Ok(Answer { content, failure })
        });

        for cut in 1..output.len() {
            assert_eq!(read(output.as_bytes(), cut), expected, "{cut}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for output in [
            "x".repeat(400),
            format!("{}{}", "x".repeat(101), end(0, "0 ")),
            end(0, " 0"),
            end(0, "no"),
            format!("\n{}.0 1 {}", mark().as_str(), "x".repeat(9000)),
        ] {
            assert_eq!(
                read(output.as_bytes(), 50),
                [Err(BadAnswer)],
                "{output:.60}"
            );
        }
    }

    #[test]
    fn the_beginning_follows_other_output() {
        let mut answers = Answers::new(&mark());
        answers.push(b"Welcome\n");
        assert_eq!(answers.ready(100), Ok(None));
        answers.push(format!("\n{} ready dd\nrest", mark().as_str()).as_bytes());
        assert_eq!(answers.ready(100), Ok(Some(Bytes::from_static(b"dd"))));
    }

    proptest! {
        #[test]
        fn any_output_is_read_or_refused(output in prop::collection::vec(any::<u8>(), 0..400), cut in 1_usize..50) {
            read(&output, cut);
        }
    }
}
