//! What a client has said does not stay in memory: a line may hold a password, and whoever reads lines keeps the buffers.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rmcp::transport::async_rw::DEFAULT_MAX_LINE_LENGTH;
use tokio::io::{AsyncRead, ReadBuf};

/// The size of the buffer through which lines are read, in bytes: that of tokio's `BufReader`.
const READ_BUFFER: usize = 8 * 1024;

/// An input of lines that gives, whenever a line has come to its end and before it waits for more, a line of blanks.
///
/// That line means nothing to a reader of JSON, and is as long as the longest of the lines before it. So it takes their
/// place in the buffers of the reader, which cannot be reached otherwise.
pub(super) struct Overwriting<R> {
    input: R,
    /// How much of the line that has no end yet has come, in bytes.
    line: usize,
    /// The longest line since the last blanks.
    longest: usize,
    /// All that has come since the last blanks.
    total: usize,
    /// How much of the line of blanks is still to be given.
    blanks: usize,
}

impl<R> Overwriting<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            line: 0,
            longest: 0,
            total: 0,
            blanks: 0,
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.total += bytes.len();

        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line += part.len();
            self.longest = self.longest.max(self.line);
            if part.ends_with(b"\n") {
                self.line = 0;
            }
        }

        if bytes.ends_with(b"\n") {
            // A longer line would be refused, and said to be.
            self.blanks = self
                .longest
                .max(self.total.min(READ_BUFFER))
                .min(DEFAULT_MAX_LINE_LENGTH);
            (self.longest, self.total) = (0, 0);
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Overwriting<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.blanks > 0 {
            let length = self.blanks.min(into.remaining());
            let blanks = into.initialize_unfilled_to(length);
            blanks.fill(b' ');
            self.blanks -= length;
            if let (0, Some(last)) = (self.blanks, blanks.last_mut()) {
                *last = b'\n';
            }

            into.advance(length);
            return Poll::Ready(Ok(()));
        }

        let before = into.filled().len();
        ready!(Pin::new(&mut self.input).poll_read(cx, into))?;
        let new = into.filled().get(before..).unwrap_or_default();
        self.note(new);

        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn every_line_arrives_and_what_it_held_is_not_in_the_readers_buffer_afterwards() {
        for length in [10, 1000, READ_BUFFER - 1, READ_BUFFER * 3 + 5] {
            let said = format!("first\n{}\n", "s".repeat(length));
            let mut input = Overwriting::new(said.as_bytes());
            let (mut buffer, mut heard) = ([0; READ_BUFFER], Vec::new());

            loop {
                let mut into = ReadBuf::new(&mut buffer);
                poll_fn(|cx| Pin::new(&mut input).poll_read(cx, &mut into))
                    .await
                    .unwrap();

                if into.filled().is_empty() {
                    break;
                }

                heard.extend_from_slice(into.filled());
            }

            let heard = String::from_utf8(heard).unwrap();
            assert_eq!(heard.trim_end(), said.trim_end(), "{length}");
            assert!(!buffer.contains(&b's'), "{length}");
        }
    }

    #[tokio::test]
    async fn the_blanks_are_one_line_as_long_as_the_longest_before_them() {
        let mut input = Overwriting::new(&b"{\"a\": 1}\n{}\n"[..]);
        let mut seen = Vec::new();
        input.read_to_end(&mut seen).await.unwrap();
        let blanks = " ".repeat(11) + "\n";
        assert_eq!(
            String::from_utf8(seen).unwrap(),
            format!("{{\"a\": 1}}\n{{}}\n{blanks}")
        );
    }
}
