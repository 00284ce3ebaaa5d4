//! The output of a command as it arrives: bounded in memory, and whole in a local file once it is
//! too long.

mod folder;
mod redactor;
mod stream;
mod unseen;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{
    fs,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};

use self::stream::{OutputMemory, STDOUT_BUDGET};
pub(in crate::ssh) use self::writer::OutputWriter;
pub use self::{
    folder::{KeptOutput, OutputFolder, default_output_folder},
    unseen::ReaderId,
};
use crate::{
    capture::{BEGINNING, Capture, Captured, Nature, console::ConsoleDecoder},
    framing::stream::{PerStream, Stream},
    lock::lock,
    password::Password,
    render::{Renderer, Style, separable},
};

/// Output of a command, during and after the run. Clones share the output; a single `OutputWriter`
/// fills it, and any number of readers look at it.
#[derive(Debug, Clone)]
pub struct Output {
    /// Folder for outputs too long for a result.
    folder: OutputFolder,
    /// Way in which a reader sees the output.
    style: Style,
    /// Both streams; locked for look-ups and assignments only.
    memory: Arc<Mutex<OutputMemory>>,
}

/// Output of a command, complete or so far.
#[derive(Debug, Clone, Default)]
pub struct CommandOutput {
    /// Standard output, as shown to a reader.
    pub stdout: Captured,
    /// Standard error, as shown to a reader.
    pub stderr: Captured,
    /// File with the unconverted stdout; `None` if an answer certainly has room for stdout.
    pub stdout_file: Option<PathBuf>,
    /// File with the unconverted stderr; `None` if an answer certainly has room for stderr.
    pub stderr_file: Option<PathBuf>,
    /// Error in keeping a stream in a file; `None` if there was none.
    pub trouble: Option<String>,
}

impl CommandOutput {
    /// Returns true if the result lacks some of the output.
    #[must_use]
    pub fn truncated(&self) -> bool {
        let is_missing = |stream: &Captured| {
            stream.omitted() > 0 || matches!(stream.nature(), Nature::Binary(_))
        };
        is_missing(&self.stdout) || is_missing(&self.stderr)
    }
}

/// Part of stdout, for a reader who asks for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdoutPortion {
    /// Text of the part, as shown to a reader.
    pub shown: Captured,
    /// Offset after the last byte of the part, in bytes of the stream.
    pub next: u64,
    /// True if the part is as much as an answer holds, and more follows.
    pub more: bool,
}

/// Output that a reader has not been shown.
#[derive(Debug, Clone, Default)]
pub struct UnseenOutput {
    /// The output: of each stream, its beginning and end.
    pub output: CommandOutput,
    /// Bytes of each stream before this output.
    pub from: PerStream<u64>,
    /// Offset of the next output on stdout.
    pub next: u64,
    /// True if more of stdout follows than an answer holds.
    pub more: bool,
    /// True if the reader has been shown the end of the command before.
    pub end_is_known: bool,
}

impl UnseenOutput {
    /// Returns true if the output begins with the first byte of each stream.
    #[must_use]
    pub fn is_from_start(&self) -> bool {
        self.from.stdout == 0 && self.from.stderr == 0
    }
}

/// Reader who asks for output, with the state of the command.
#[derive(Debug, Clone, Copy)]
pub struct UnseenRequest {
    /// Reader who is shown the output.
    pub reader: ReaderId,
    /// True if the answer reaches the reader, who is not shown the same again.
    pub arrives: bool,
    /// True if more output may come.
    pub is_running: bool,
}

impl Output {
    /// Creates an empty output. A stream too long for a result is kept in `folder`; the output of a
    /// terminal is kept there in any case.
    ///
    /// `share` commands answer together, so an answer may show only a share of each, and a stream
    /// that is longer than its share is kept as well.
    #[must_use]
    pub fn new(folder: OutputFolder, style: Style, share: usize) -> Self {
        Self {
            folder,
            style,
            memory: Arc::new(Mutex::new(OutputMemory::new(style, share))),
        }
    }

    /// Creates the writer of this output. There must be a single writer at a time.
    #[must_use]
    pub(in crate::ssh) fn writer(&self) -> OutputWriter {
        OutputWriter::new(self.clone())
    }

    /// Returns true for the output of a terminal.
    #[must_use]
    pub fn is_from_terminal(&self) -> bool {
        self.style == Style::Terminal
    }

    /// Returns the output so far.
    #[must_use]
    pub fn so_far(&self) -> CommandOutput {
        let memory = self.lock();
        let PerStream { stdout, stderr } = &memory.streams;

        CommandOutput {
            stdout: stdout.captured(),
            stderr: stderr.captured(),
            ..memory.without_text()
        }
    }

    /// Returns the output that a reader has not been shown, on both streams.
    #[must_use]
    pub fn unseen(&self, request: UnseenRequest) -> UnseenOutput {
        let mut memory = self.lock();
        let position = memory.reader(request.reader).clone();
        let streams = &memory.streams;
        let (stdout, next_stdout) = streams.stdout.unseen(&position.stdout, request.is_running);
        let (stderr, next_stderr) = streams.stderr.unseen(&position.stderr, request.is_running);

        let unseen = UnseenOutput {
            from: PerStream {
                stdout: position.stdout.from,
                stderr: position.stderr.from,
            },
            next: next_stdout.from,
            more: false,
            end_is_known: position.stdout.knows_end,
            output: CommandOutput {
                stdout,
                stderr,
                ..memory.without_text()
            },
        };

        if request.arrives {
            *memory.reader(request.reader) = PerStream {
                stdout: next_stdout,
                stderr: next_stderr,
            };
        }

        unseen
    }

    /// Reads stdout from `offset` on, as [`read`](Self::read) does, with the stderr that the reader
    /// has not been shown, or all of stderr for the offset 0.
    ///
    /// # Errors
    /// Fails if the file with the stream cannot be read.
    pub async fn unseen_from(
        &self,
        offset: u64,
        request: UnseenRequest,
    ) -> io::Result<UnseenOutput> {
        let portion = self.read(offset, request.is_running).await?;
        let mut memory = self.lock();
        let mut position = memory.reader(request.reader).clone();

        if offset == 0 {
            position.stderr = memory.streams.stderr.whole();
        }

        let (stderr, next_stderr) = memory
            .streams
            .stderr
            .unseen(&position.stderr, request.is_running);

        let unseen = UnseenOutput {
            from: PerStream {
                stdout: offset,
                stderr: position.stderr.from,
            },
            next: portion.next,
            more: portion.more,
            end_is_known: false,
            output: CommandOutput {
                stdout: portion.shown,
                stderr,
                ..memory.without_text()
            },
        };

        if request.arrives {
            // A reader who has read all by offset has seen all. A gap leaves the place as it was.
            if offset <= position.stdout.read_to {
                position.stdout.read_to = position.stdout.read_to.max(portion.next);
                let (_, after) = memory
                    .streams
                    .stdout
                    .unseen(&position.stdout, request.is_running);
                if position.stdout.read_to >= after.from {
                    position.stdout = after;
                }
            }

            position.stderr = next_stderr;
            *memory.reader(request.reader) = position;
        }

        Ok(unseen)
    }

    /// Decodes the output of a Windows host from this code page, before any has come. What comes from
    /// a terminal is UTF-8.
    pub(in crate::ssh) fn decode_from(&self, code_page: Option<u16>) {
        if self.style == Style::Terminal {
            return;
        }

        let mut memory = self.lock();
        for stream in Stream::BOTH {
            memory.streams.get_mut(stream).decoder = code_page.and_then(ConsoleDecoder::new);
        }
    }

    /// Replaces a secret, typed for the command, in the output that comes from now on.
    pub fn hide(&self, secret: Password) {
        self.lock().redactor.add(secret);
    }

    /// Returns true if stdout has more after `offset` than an answer holds.
    #[must_use]
    pub fn fills_answer_from(&self, offset: u64) -> bool {
        self.lock().streams.stdout.total >= offset.saturating_add(STDOUT_BUDGET as u64)
    }

    /// Reads stdout from `offset` on, as much as an answer holds. If more may follow, the part ends
    /// where the next part can begin.
    ///
    /// # Errors
    /// Fails if the file with the stream cannot be read.
    pub async fn read(&self, offset: u64, more_may_follow: bool) -> io::Result<StdoutPortion> {
        // The lock is released before the file is read: no lock is held across an await.
        let (bytes, file) = {
            let stdout = &self.lock().streams.stdout;
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(stdout.unspilled.len());
            let bytes = stdout.unspilled.get(from..).unwrap_or_default();

            (
                bytes.iter().copied().take(STDOUT_BUDGET).collect(),
                stdout.file.clone(),
            )
        };

        // Once there is a file, memory holds nothing of the stream.
        let bytes: Vec<u8> = match file {
            None => bytes,
            Some(path) => {
                let name = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();

                let mut file = fs::File::from_std(self.folder.open(name).await?);
                file.seek(io::SeekFrom::Start(offset)).await?;
                let mut bytes = Vec::new();
                file.take(STDOUT_BUDGET as u64)
                    .read_to_end(&mut bytes)
                    .await?;

                bytes
            }
        };

        // The next part is shown by itself. So this part ends with a whole line if much follows,
        // else with a whole character or sequence.
        let whole = match memchr::memrchr(b'\n', &bytes) {
            Some(end) if bytes.len() == STDOUT_BUDGET => bytes.get(..=end).unwrap_or(&bytes),
            _ if bytes.len() < STDOUT_BUDGET && !more_may_follow => &bytes,
            _ => separable(&bytes),
        };

        let mut decoder = self.lock().streams.stdout.decoder.clone();
        // Units of two bytes have their line ends elsewhere.
        let whole = match decoder.as_ref().map(ConsoleDecoder::unit_bytes) {
            Some(2) => bytes.get(..bytes.len() & !1).unwrap_or(&bytes),
            _ => whole,
        };
        let utf8 = decoder.as_mut().map(|decoder| decoder.decode_part(whole));
        let readable = utf8.as_deref().unwrap_or(whole);

        let (mut renderer, mut text) = (Renderer::new(self.style), Vec::new());
        renderer.push(readable, &mut text);
        renderer.finish(&mut text);
        let mut shown = Capture::new(text.len(), 0);
        shown.push(&text);
        let total = self.lock().streams.stdout.total;
        let beginning = readable.iter().copied().take(BEGINNING).collect();
        let mut shown = shown.finish().with_original(total, beginning);
        shown.decoded_from = decoder.and_then(|decoder| decoder.decoded_from());

        let next = offset + whole.len() as u64;

        Ok(StdoutPortion {
            shown,
            next,
            more: bytes.len() == STDOUT_BUDGET && next < total,
        })
    }

    /// Returns the latest line for a progress message: at most 200 characters.
    #[must_use]
    pub fn latest(&self) -> String {
        let memory = self.lock();
        let latest_of = |stream| memory.streams.get(stream).renderer.latest();

        // The last stream may have no text yet, for instance after an empty line.
        let latest = latest_of(memory.last_stream);
        if latest.is_empty() {
            latest_of(memory.last_stream.other())
        } else {
            latest
        }
    }

    /// Returns the unfinished line at the end of the last output, such as a prompt: at most the
    /// last 200 characters. `None` if there is none.
    #[must_use]
    pub fn prompt(&self) -> Option<String> {
        let memory = self.lock();
        let prompt = memory.streams.get(memory.last_stream).renderer.prompt();
        (!prompt.is_empty()).then_some(prompt)
    }

    /// Records that the command got input, which restarts [`quiet`](Self::quiet).
    pub fn input_sent(&self) {
        self.lock().last_activity = Instant::now();
    }

    /// Returns the time since the last output or input of the command.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.lock().last_activity.elapsed()
    }

    /// Returns the bytes of complete lines on both streams, as shown to a reader. The number grows
    /// with each line.
    #[must_use]
    pub fn lines(&self) -> u64 {
        let PerStream { stdout, stderr } = &self.lock().streams;
        stdout.shown.total().saturating_add(stderr.shown.total())
    }

    /// Returns the number of bytes on both streams so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        let PerStream { stdout, stderr } = &self.lock().streams;
        stdout.total.saturating_add(stderr.total)
    }

    /// Locks the streams; a poisoned lock is used all the same.
    fn lock(&self) -> MutexGuard<'_, OutputMemory> {
        lock(&self.memory)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::framing::stream::Stream;

    fn output(folder: &Path) -> Output {
        Output::new(OutputFolder::new(Some(folder.to_owned())), Style::Plain, 1)
    }

    #[tokio::test]
    async fn a_part_is_read_while_the_rest_is_still_to_come() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        let mut writer = output.writer();
        writer
            .push(Stream::Stdout, "first\nsécond".as_bytes())
            .await;
        let portion = output.read(6, true).await.unwrap();

        assert_eq!(
            (
                portion.shown.text().as_str(),
                portion.shown.total,
                portion.next
            ),
            ("sécond", 13, 13)
        );

        assert_eq!(output.read(99, true).await.unwrap().shown.text(), "");
        let long = "é".repeat(40_000);
        writer.push(Stream::Stdout, long.as_bytes()).await;
        writer.finish().await;
        let (mut offset, mut read) = (13, String::new());

        while offset < 80_013 {
            let portion = output.read(offset, true).await.unwrap();
            assert!(portion.next > offset && portion.shown.omitted() == 0);
            offset = portion.next;
            read.push_str(&portion.shown.text());
        }

        assert!(read == long, "no character was cut");
    }

    #[tokio::test]
    async fn a_part_ends_within_a_character_only_where_the_output_does() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        let mut writer = output.writer();
        writer.push(Stream::Stdout, b"abc\xc3").await;
        assert_eq!(output.read(0, true).await.unwrap().next, 3);
        writer.finish().await;
        let portion = output.read(0, false).await.unwrap();
        assert_eq!(
            (portion.shown.text().as_str(), portion.next),
            ("abc\u{fffd}", 4)
        );
    }

    #[tokio::test]
    async fn the_line_at_which_a_program_waits_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let output = output(folder.path());
        let mut writer = output.writer();
        assert_eq!((output.prompt(), output.latest()), (None, String::new()));
        writer.push(Stream::Stdout, b"hello\n").await;
        assert_eq!((output.prompt(), output.latest().as_str()), (None, "hello"));
        writer.push(Stream::Stderr, b"Name? ").await;
        assert_eq!(
            (output.prompt().as_deref(), output.latest().as_str()),
            (Some("Name?"), "Name?")
        );

        assert_eq!(output.so_far().stderr.text(), "Name? ");
    }
}
