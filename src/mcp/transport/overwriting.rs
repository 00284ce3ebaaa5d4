//! Removes the client's messages from memory. A line may hold a password, and readers of lines keep
//! their buffers.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rmcp::transport::async_rw::DEFAULT_MAX_LINE_LENGTH;
use tokio::io::{AsyncRead, ReadBuf};

/// Size in bytes of the buffer through which lines are read: the default of tokio's `BufReader`.
const READ_BUFFER: usize = 8 * 1024;

/// Reader which returns a line of blanks whenever the input has been read up to the end of a line.
///
/// The line of blanks is at least as long as the longest line before it. So it overwrites the
/// client's lines in the buffers of the reader, which cannot be reached otherwise. A reader of JSON
/// ignores a blank line.
pub(super) struct Overwriting<R> {
    input: R,
    /// Number of bytes read so far of the line without an end.
    line: usize,
    /// Length in bytes of the longest line since the last blanks.
    longest: usize,
    /// Number of bytes read since the last blanks.
    total: usize,
    /// Number of blanks still to be returned.
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

    /// Counts the bytes just read, and schedules a line of blanks after the end of a line.
    fn remember(&mut self, bytes: &[u8]) {
        self.total += bytes.len();

        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line += part.len();
            self.longest = self.longest.max(self.line);
            if part.ends_with(b"\n") {
                self.line = 0;
            }
        }

        // Several short lines share the read buffer, so the blanks must cover all of its used part.
        if bytes.ends_with(b"\n") {
            // The reader refuses a longer line and reports it in the log.
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
        // Blanks come before the next read: while the reader waits, its buffers hold no secret.
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
        self.remember(new);

        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn every_line_arrives_and_is_wiped_from_the_readers_buffer() {
        for length in [10, 1000, READ_BUFFER - 1, READ_BUFFER * 3 + 5] {
            let said = format!("first\n{}\n", "s".repeat(length));
            let mut input = Overwriting::new(said.as_bytes());
            let (mut buffer, mut received) = ([0; READ_BUFFER], Vec::new());

            loop {
                let mut into = ReadBuf::new(&mut buffer);
                poll_fn(|cx| Pin::new(&mut input).poll_read(cx, &mut into))
                    .await
                    .unwrap();

                if into.filled().is_empty() {
                    break;
                }

                received.extend_from_slice(into.filled());
            }

            let received = String::from_utf8(received).unwrap();
            assert_eq!(received.trim_end(), said.trim_end(), "{length}");
            assert!(!buffer.contains(&b's'), "{length}");
        }
    }

    #[tokio::test]
    async fn the_blanks_are_one_line_as_long_as_the_longest_before_them() {
        let mut input = Overwriting::new(&b"{\"a\": 1}\n{}\n"[..]);
        let mut lines = Vec::new();
        input.read_to_end(&mut lines).await.unwrap();
        let blanks = " ".repeat(11) + "\n";
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            format!("{{\"a\": 1}}\n{{}}\n{blanks}")
        );
    }
}
