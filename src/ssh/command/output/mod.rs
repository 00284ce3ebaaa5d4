//! The output of a command as it arrives: bounded in memory, and whole in a local file once it is
//! too long.

mod folder;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{
    fs,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

pub use self::folder::{KeptOutput, OutputFolder, default_output_folder};
use crate::{
    capture::{BEGINNING, Capture, Captured, Nature},
    lock::lock,
    render::{Readable, Style, separable},
};

/// Longest stdout in a result, in bytes: half from the beginning and half from the end.
const STDOUT_BUDGET: usize = 24 * 1024;
/// Longest stderr in a result, in bytes. Together with stdout this is below the size that clients
/// pass on to a model uncut.
const STDERR_BUDGET: usize = 6 * 1024;
/// Largest file of a stream, in bytes. Later bytes are counted, but not kept.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Output of a command, during and after the run. Clones share the output; a single `OutputWriter`
/// fills it, and any number of readers look at it.
#[derive(Debug, Clone)]
pub struct Output {
    /// Folder for outputs too long for a result.
    folder: OutputFolder,
    /// Way in which a reader sees the output.
    style: Style,
    /// Both streams; locked for look-ups and assignments only.
    streams: Arc<Mutex<OutputStreams>>,
}

/// Both streams of an output.
#[derive(Debug)]
struct OutputStreams {
    stdout: OutputStream,
    stderr: OutputStream,
    /// Time of the last output or input of the command, and true if the last output was on stderr.
    last: (Instant, bool),
}

/// Stream of output, as kept in memory.
#[derive(Debug)]
struct OutputStream {
    /// Number of bytes so far.
    total: u64,
    /// Converter from raw bytes to the text for a reader.
    readable: Readable,
    /// Beginning and end of the text for a reader, in finished lines.
    shown: Capture,
    /// First bytes of the stream, unconverted.
    beginning: Vec<u8>,
    /// Size of the stream in an answer, in bytes.
    budget: usize,
    /// All bytes of the stream, unconverted; empty once there is a file.
    unspilled: Vec<u8>,
    /// File with the whole stream; `None` if no file is needed so far.
    file: Option<PathBuf>,
    /// Reason why the stream could not be kept; `None` if all went well.
    trouble: Option<String>,
}

/// Output of a command, complete or so far.
#[derive(Debug, Clone, Default)]
pub struct CommandOutput {
    /// Standard output, as shown to a reader.
    pub stdout: Captured,
    /// Standard error, as shown to a reader.
    pub stderr: Captured,
    /// File with the unconverted stdout; `None` if the result holds all of stdout.
    pub stdout_file: Option<PathBuf>,
    /// File with the unconverted stderr; `None` if the result holds all of stderr.
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
}

impl Output {
    /// Creates an empty output. A stream too long for a result is kept in `folder`; the output of a
    /// terminal is kept there in any case.
    ///
    /// `share` commands answer together, so each may fill only its share of an answer.
    #[must_use]
    pub fn new(folder: OutputFolder, style: Style, share: usize) -> Self {
        let stream = |budget: usize| {
            let budget = budget / share.max(1);
            OutputStream {
                budget,
                total: 0,
                readable: Readable::new(style),
                shown: Capture::new(budget / 2, budget - budget / 2),
                beginning: Vec::new(),
                unspilled: Vec::new(),
                file: None,
                trouble: None,
            }
        };

        let (stdout, stderr) = (stream(STDOUT_BUDGET), stream(STDERR_BUDGET));
        let streams = Arc::new(Mutex::new(OutputStreams {
            stdout,
            stderr,
            last: (Instant::now(), false),
        }));

        Self {
            folder,
            style,
            streams,
        }
    }

    /// Creates the writer of this output. There must be a single writer at a time.
    #[must_use]
    pub(in crate::ssh) fn writer(&self) -> OutputWriter {
        OutputWriter {
            output: self.clone(),
            stdout: OutputFile::NotNeeded,
            stderr: OutputFile::NotNeeded,
        }
    }

    /// Returns the output so far.
    #[must_use]
    pub fn so_far(&self) -> CommandOutput {
        let streams = self.lock();
        CommandOutput {
            stdout: streams.stdout.captured(),
            stderr: streams.stderr.captured(),
            stdout_file: streams.stdout.file.clone(),
            stderr_file: streams.stderr.file.clone(),
            trouble: streams
                .stdout
                .trouble
                .clone()
                .or_else(|| streams.stderr.trouble.clone()),
        }
    }

    /// Reads stdout from `offset` on, as much as an answer holds. If more may follow, the part ends
    /// where the next part can begin.
    ///
    /// # Errors
    /// Fails if the file with the stream cannot be read.
    pub async fn read(&self, offset: u64, more_may_follow: bool) -> io::Result<StdoutPortion> {
        // The lock is released before the file is read: no lock is held across an await.
        let (bytes, file) = {
            let streams = self.lock();
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(streams.stdout.unspilled.len());
            let bytes = streams.stdout.unspilled.get(from..).unwrap_or_default();

            (
                bytes.iter().copied().take(STDOUT_BUDGET).collect(),
                streams.stdout.file.clone(),
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

        let (mut readable, mut text) = (Readable::new(self.style), Vec::new());
        readable.push(whole, &mut text);
        readable.finish(&mut text);
        let mut shown = Capture::new(text.len(), 0);
        shown.push(&text);
        let total = self.lock().stdout.total;
        let beginning = whole.iter().copied().take(BEGINNING).collect();

        Ok(StdoutPortion {
            shown: shown.finish().with_original(total, beginning),
            next: offset + whole.len() as u64,
        })
    }

    /// Returns the latest line for a progress message: at most 200 characters.
    #[must_use]
    pub fn latest(&self) -> String {
        let streams = self.lock();
        let (first, second) = if streams.last.1 {
            (&streams.stderr, &streams.stdout)
        } else {
            (&streams.stdout, &streams.stderr)
        };

        // The last stream may have no text yet, for instance after an empty line.
        let latest = first.readable.latest();
        if latest.is_empty() {
            second.readable.latest()
        } else {
            latest
        }
    }

    /// Returns the unfinished line at the end of the last output, such as a prompt: at most the
    /// last 200 characters. `None` if there is none.
    #[must_use]
    pub fn prompt(&self) -> Option<String> {
        let streams = self.lock();
        let stream = if streams.last.1 {
            &streams.stderr
        } else {
            &streams.stdout
        };
        Some(stream.readable.prompt()).filter(|prompt| !prompt.is_empty())
    }

    /// Notes input of the command, which restarts [`quiet`](Self::quiet).
    pub fn fed(&self) {
        self.lock().last.0 = Instant::now();
    }

    /// Returns the time since the last output or input of the command.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.lock().last.0.elapsed()
    }

    /// Returns the bytes of complete lines on both streams, as shown to a reader. The number grows
    /// with each line.
    #[must_use]
    pub fn lines(&self) -> u64 {
        let streams = self.lock();
        streams
            .stdout
            .shown
            .total()
            .saturating_add(streams.stderr.shown.total())
    }

    /// Returns the number of bytes on both streams so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        let streams = self.lock();
        streams.stdout.total.saturating_add(streams.stderr.total)
    }

    /// Locks the streams; a poisoned lock is used all the same.
    fn lock(&self) -> MutexGuard<'_, OutputStreams> {
        lock(&self.streams)
    }
}

impl OutputStream {
    /// Returns the stream as shown to a reader, with the unfinished line.
    fn captured(&self) -> Captured {
        let mut shown = self.shown.clone();
        shown.push(&self.readable.unfinished());
        shown
            .finish()
            .with_original(self.total, self.beginning.clone())
    }

    /// Returns true if the text for a reader lacks parts of the stream. Then the raw bytes must be
    /// kept.
    fn differs(&self) -> bool {
        self.readable.was_rewritten() || self.captured().nature() != Nature::Text
    }
}

impl OutputStreams {
    /// Returns the stream of this name.
    fn stream_mut(&mut self, is_stderr: bool) -> &mut OutputStream {
        if is_stderr {
            &mut self.stderr
        } else {
            &mut self.stdout
        }
    }
}

/// Writer of an output and of the files with the whole streams. Readers see each portion at once.
#[derive(Debug)]
pub(in crate::ssh) struct OutputWriter {
    output: Output,
    stdout: OutputFile,
    stderr: OutputFile,
}

/// File of a stream, from the writer's point of view.
#[derive(Debug)]
enum OutputFile {
    /// The whole stream still fits in memory.
    NotNeeded,
    Open {
        file: fs::File,
        written: u64,
    },
    /// The file could not be made, or holds only the beginning of the stream.
    Stopped,
}

impl OutputWriter {
    /// Appends bytes to stdout.
    pub(in crate::ssh) async fn push_stdout(&mut self, bytes: &[u8]) {
        self.push(false, bytes).await;
    }

    /// Appends bytes to stderr.
    pub(in crate::ssh) async fn push_stderr(&mut self, bytes: &[u8]) {
        self.push(true, bytes).await;
    }

    /// Returns the terminal's replies to queries of the program, since the last call.
    pub(in crate::ssh) fn replies(&mut self) -> Vec<u8> {
        self.output.lock().stdout.readable.replies()
    }

    /// Ends the output. Files are complete after this.
    pub(in crate::ssh) async fn finish(mut self) -> CommandOutput {
        for is_stderr in [false, true] {
            // A stream that a reader sees changed, for instance a progress bar or binary data, is
            // kept whole however short it is.
            let differs = self.output.lock().stream_mut(is_stderr).differs();
            if differs && matches!(self.spill(is_stderr), OutputFile::NotNeeded) {
                self.begin_file(is_stderr).await;
            }

            if let OutputFile::Open { file, .. } = self.spill(is_stderr)
                && let Err(error) = file.flush().await
            {
                self.stop(is_stderr, &error.to_string());
            }
        }

        self.output.so_far()
    }

    /// Appends bytes to a stream: file first, then the part in memory.
    async fn push(&mut self, is_stderr: bool, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }

        // The file is begun before the bytes are taken, so that it holds the stream from the first
        // byte on.
        if matches!(self.spill(is_stderr), OutputFile::NotNeeded)
            && !self.has_room_for(is_stderr, bytes.len())
        {
            self.begin_file(is_stderr).await;
        }

        // The file is written outside the lock, so readers do not wait for a disk.
        self.write(is_stderr, bytes).await;
        let in_memory = matches!(self.spill(is_stderr), OutputFile::NotNeeded);
        let mut streams = self.output.lock();
        streams.last = (Instant::now(), is_stderr);
        let stream = streams.stream_mut(is_stderr);
        stream.total = stream.total.saturating_add(bytes.len() as u64);
        let missing = BEGINNING - stream.beginning.len();
        stream.beginning.extend(bytes.iter().take(missing));
        if in_memory {
            stream.unspilled.extend_from_slice(bytes);
        }

        let mut settled = Vec::new();
        stream.readable.push(bytes, &mut settled);
        stream.shown.push(&settled);
    }

    /// Returns true if `more` bytes still fit into a result. Terminal output always gets a file,
    /// because a reader sees a screen and not the bytes.
    fn has_room_for(&self, is_stderr: bool, more: usize) -> bool {
        let mut streams = self.output.lock();
        let stream = streams.stream_mut(is_stderr);
        self.output.style == Style::Plain && stream.unspilled.len() + more <= stream.budget
    }

    /// Begins the file of a stream with all bytes so far.
    async fn begin_file(&mut self, is_stderr: bool) {
        match self
            .output
            .folder
            .create(if is_stderr { "err" } else { "out" })
            .await
        {
            Ok((path, file)) => {
                *self.spill(is_stderr) = OutputFile::Open {
                    file: fs::File::from_std(file),
                    written: 0,
                };

                // The earlier bytes go into the file before readers see the path.
                let so_far = self.output.lock().stream_mut(is_stderr).unspilled.clone();
                self.write(is_stderr, &so_far).await;
                let mut streams = self.output.lock();
                let stream = streams.stream_mut(is_stderr);
                stream.file = Some(path);
                stream.unspilled = Vec::new();
            }
            Err(error) => self.stop(is_stderr, &error.to_string()),
        }
    }

    /// Writes bytes to the file of a stream, if there is any.
    async fn write(&mut self, is_stderr: bool, bytes: &[u8]) {
        let OutputFile::Open { file, written } = self.spill(is_stderr) else {
            return;
        };

        // A full file stops the file only: the command runs on, and its output is still shown.
        let failed = if *written + bytes.len() as u64 > MAX_FILE_BYTES {
            Some(format!(
                "the file has reached its limit of {MAX_FILE_BYTES} bytes"
            ))
        } else {
            *written += bytes.len() as u64;
            file.write_all(bytes)
                .await
                .err()
                .map(|error| error.to_string())
        };

        if let Some(reason) = failed {
            self.stop(is_stderr, &reason);
        }
    }

    /// Stops writing the file of a stream, and notes the reason for the result.
    fn stop(&mut self, is_stderr: bool, reason: &str) {
        *self.spill(is_stderr) = OutputFile::Stopped;
        self.output.lock().stream_mut(is_stderr).trouble = Some(format!(
            "the whole output could not be kept in a file: {reason}"
        ));
    }

    /// Returns the file of this stream.
    fn spill(&mut self, is_stderr: bool) -> &mut OutputFile {
        if is_stderr {
            &mut self.stderr
        } else {
            &mut self.stdout
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn writer(folder: &Path) -> OutputWriter {
        Output::new(OutputFolder::new(Some(folder.to_owned())), Style::Plain, 1).writer()
    }

    #[tokio::test]
    async fn short_output_needs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = writer(&folder.path().join("new"));
        output.push_stdout(&vec![b'x'; STDOUT_BUDGET]).await;
        let seen = output.finish().await;
        assert!(
            !seen.truncated() && seen.stdout_file.is_none() && !folder.path().join("new").exists()
        );
    }

    #[tokio::test]
    async fn long_output_is_whole_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = writer(&folder.path().join("new"));
        let whole: Vec<u8> = (0..100_000u32)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();

        for portion in whole.chunks(1000) {
            output.push_stdout(portion).await;
        }

        output.push_stderr(b"short").await;
        let seen = output.finish().await;
        assert_eq!(seen.stdout.total, whole.len() as u64);
        assert!(seen.truncated() && seen.trouble.is_none() && seen.stderr_file.is_none());
        let path = seen.stdout_file.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;

            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );

            assert_eq!(
                std::fs::metadata(folder.path().join("new"))
                    .unwrap()
                    .permissions()
                    .mode()
                    & 0o777,
                0o700
            );
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_said_and_the_output_goes_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut output = writer(&file.path().join("below-a-file"));
        output.push_stdout(&vec![b'x'; 1_000_000]).await;
        let seen = output.finish().await;
        assert_eq!((seen.stdout.total, seen.stdout_file), (1_000_000, None));
        assert!(seen.trouble.unwrap().contains("could not be kept"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_folder_of_another_user_is_not_used_and_links_not_followed() {
        use crate::local::folder::others::give;

        let folder = tempfile::tempdir().unwrap();
        let kept = OutputFolder::new(Some(folder.path().to_owned()));
        let (file, link) = (folder.path().join("victim"), "0123456789abcdef.out");
        std::fs::write(&file, "mine").unwrap();
        std::fs::File::open(&file)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();

        std::os::unix::fs::symlink(&file, folder.path().join(link)).unwrap();
        let mut output = writer(folder.path());
        output.push_stdout(&vec![b'x'; 100_000]).await;
        assert!(output.finish().await.stdout_file.is_some());
        assert!(kept.read(link, 100).await.is_err());
        assert_eq!(kept.list().await.len(), 1);
        assert!(file.exists() && folder.path().join(link).is_symlink());
        if !give(folder.path()) {
            return;
        }

        let mut output = writer(folder.path());
        output.push_stdout(&vec![b'x'; 100_000]).await;
        let seen = output.finish().await;
        assert!(
            seen.stdout_file.is_none() && seen.trouble.unwrap().contains("belongs to another user")
        );

        assert!(kept.list().await.is_empty());
    }

    #[tokio::test]
    async fn a_part_is_read_while_the_rest_is_still_to_come() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path());
        let output = writer.output.clone();
        writer.push_stdout("first\nsécond".as_bytes()).await;
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
        writer.push_stdout(long.as_bytes()).await;
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
        let mut writer = writer(folder.path());
        let output = writer.output.clone();
        writer.push_stdout(b"abc\xc3").await;
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
        let mut writer = writer(folder.path());
        let output = writer.output.clone();
        assert_eq!((output.prompt(), output.latest()), (None, String::new()));
        writer.push_stdout(b"hello\n").await;
        assert_eq!((output.prompt(), output.latest().as_str()), (None, "hello"));
        writer.push_stderr(b"Name? ").await;
        assert_eq!(
            (output.prompt().as_deref(), output.latest().as_str()),
            (Some("Name?"), "Name?")
        );

        assert_eq!(output.so_far().stderr.text(), "Name? ");
    }
}
