//! A command's output while it arrives: bounded in memory, whole in a local file once it outgrows that.

mod folder;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    fs,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

pub use self::folder::{KeptOutput, OutputFolder, default_output_folder};
use crate::{
    capture::{BEGINNING, Capture, Captured, Nature},
    render::{Readable, Style, separable},
};

/// Bytes of stdout that a result keeps, half from the beginning and half from the end.
const STDOUT_BUDGET: usize = 24 * 1024;
/// The same for stderr. Together with stdout this stays below what clients pass on to a model uncut.
const STDERR_BUDGET: usize = 6 * 1024;
/// The largest file kept of one stream, in bytes; what comes after is counted, not kept.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// The output of a command while it runs and afterwards, for everybody who looks at it.
#[derive(Debug, Clone)]
pub struct Output {
    folder: OutputFolder,
    style: Style,
    /// Held for look-ups and assignments only.
    streams: Arc<Mutex<OutputStreams>>,
}

#[derive(Debug)]
struct OutputStreams {
    stdout: OutputStream,
    stderr: OutputStream,
    /// When the command last wrote anything or was given something to read, and whether it last wrote to stderr.
    last: (Instant, bool),
}

#[derive(Debug)]
struct OutputStream {
    /// Bytes so far.
    total: u64,
    readable: Readable,
    shown: Capture,
    /// Its first bytes, as they came.
    beginning: Vec<u8>,
    /// How much of it an answer holds, in bytes.
    budget: usize,
    /// All of it, as it came, as long as there is no file.
    unspilled: Vec<u8>,
    file: Option<PathBuf>,
    trouble: Option<String>,
}

/// What a command printed, or has printed so far.
#[derive(Debug, Clone, Default)]
pub struct CommandOutput {
    /// Its standard output, as a reader sees it.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// Where stdout is kept as it came, if more than its beginning and end was to be kept.
    pub stdout_file: Option<PathBuf>,
    /// The same for stderr.
    pub stderr_file: Option<PathBuf>,
    /// What went wrong in keeping it.
    pub trouble: Option<String>,
}

impl CommandOutput {
    /// Whether some of the output is missing from what the result holds.
    #[must_use]
    pub fn truncated(&self) -> bool {
        let is_missing = |stream: &Captured| {
            stream.omitted() > 0 || matches!(stream.nature(), Nature::Binary(_))
        };
        is_missing(&self.stdout) || is_missing(&self.stderr)
    }
}

/// A part of stdout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdoutPortion {
    /// The bytes, as a reader sees them.
    pub shown: Captured,
    /// The offset behind the last of them, in bytes of the stream.
    pub next: u64,
}

impl Output {
    /// An empty output. What is too long for a result is kept in `folder`; all of it, if it comes from a terminal.
    ///
    /// Of `share` commands that answer together, each may have that part of an answer.
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

    /// The one who writes; there is one at a time.
    #[must_use]
    pub(in crate::ssh) fn writer(&self) -> OutputWriter {
        OutputWriter {
            output: self.clone(),
            stdout: OutputFile::NotNeeded,
            stderr: OutputFile::NotNeeded,
        }
    }

    /// What there is by now.
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

    /// Stdout from this byte on, as much as an answer holds. Whether more may follow decides how it ends.
    ///
    /// # Errors
    /// The file in which it is kept cannot be read.
    pub async fn read(&self, offset: u64, more_may_follow: bool) -> io::Result<StdoutPortion> {
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

        // The next part is shown by itself: this one ends with a line if much follows, else with anything that is whole.
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
            shown: shown.finish().of(total, beginning),
            next: offset + whole.len() as u64,
        })
    }

    /// The latest line, for a progress message: at most 200 characters.
    #[must_use]
    pub fn latest(&self) -> String {
        let streams = self.lock();
        let (first, second) = if streams.last.1 {
            (&streams.stderr, &streams.stdout)
        } else {
            (&streams.stdout, &streams.stderr)
        };

        let latest = first.readable.latest();
        if latest.is_empty() {
            second.readable.latest()
        } else {
            latest
        }
    }

    /// The end of the unfinished line at the end of what was written last, if there is one: at most 200 characters.
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

    /// To be called when the command is given something to read.
    pub fn fed(&self) {
        self.lock().last.0 = Instant::now();
    }

    /// For how long nothing has come, nor been given to the command.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.lock().last.0.elapsed()
    }

    /// How much a reader sees of both streams in complete lines, in bytes: this grows with each of them.
    #[must_use]
    pub fn lines(&self) -> u64 {
        let streams = self.lock();
        streams
            .stdout
            .shown
            .total()
            .saturating_add(streams.stderr.shown.total())
    }

    /// Bytes on both streams so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        let streams = self.lock();
        streams.stdout.total.saturating_add(streams.stderr.total)
    }

    fn lock(&self) -> MutexGuard<'_, OutputStreams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutputStream {
    fn captured(&self) -> Captured {
        let mut shown = self.shown.clone();
        shown.push(&self.readable.unfinished());
        shown.finish().of(self.total, self.beginning.clone())
    }

    /// Whether a reader of an answer is not shown what came: then all of it is kept.
    fn differs(&self) -> bool {
        self.readable.was_rewritten() || self.captured().nature() != Nature::Text
    }
}

impl OutputStreams {
    fn stream_mut(&mut self, is_stderr: bool) -> &mut OutputStream {
        if is_stderr {
            &mut self.stderr
        } else {
            &mut self.stdout
        }
    }
}

/// Writes an output, and the files in which it is kept.
#[derive(Debug)]
pub(in crate::ssh) struct OutputWriter {
    output: Output,
    stdout: OutputFile,
    stderr: OutputFile,
}

#[derive(Debug)]
enum OutputFile {
    /// Everything still fits in memory.
    NotNeeded,
    Open {
        file: fs::File,
        written: u64,
    },
    /// The file holds a beginning, if it could be made at all.
    Stopped,
}

impl OutputWriter {
    /// Takes the next bytes of stdout.
    pub(in crate::ssh) async fn push_stdout(&mut self, bytes: &[u8]) {
        self.push(false, bytes).await;
    }

    /// Takes the next bytes of stderr.
    pub(in crate::ssh) async fn push_stderr(&mut self, bytes: &[u8]) {
        self.push(true, bytes).await;
    }

    /// What the program is to be told because it asked its terminal.
    pub(in crate::ssh) fn replies(&mut self) -> Vec<u8> {
        self.output.lock().stdout.readable.replies()
    }

    /// Ends the output; files are complete afterwards.
    pub(in crate::ssh) async fn finish(mut self) -> CommandOutput {
        for is_stderr in [false, true] {
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

    async fn push(&mut self, is_stderr: bool, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }

        if matches!(self.spill(is_stderr), OutputFile::NotNeeded)
            && !self.has_room_for(is_stderr, bytes.len())
        {
            self.begin_file(is_stderr).await;
        }

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

    fn has_room_for(&self, is_stderr: bool, more: usize) -> bool {
        let mut streams = self.output.lock();
        let stream = streams.stream_mut(is_stderr);
        self.output.style == Style::Plain && stream.unspilled.len() + more <= stream.budget
    }

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

    async fn write(&mut self, is_stderr: bool, bytes: &[u8]) {
        let OutputFile::Open { file, written } = self.spill(is_stderr) else {
            return;
        };

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

    fn stop(&mut self, is_stderr: bool, reason: &str) {
        *self.spill(is_stderr) = OutputFile::Stopped;
        self.output.lock().stream_mut(is_stderr).trouble = Some(format!(
            "the whole output could not be kept in a file: {reason}"
        ));
    }

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
    async fn a_folder_of_another_user_is_not_used_and_no_link_in_one_is_followed() {
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
