//! A command's output while it arrives: bounded in memory, whole in a local file once it outgrows that.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{
    fs,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};

use crate::capture::{Capture, Captured};

/// Bytes of stdout that a result keeps, half from the beginning and half from the end.
const STDOUT_BUDGET: usize = 24 * 1024;
/// The same for stderr. Together with stdout this stays below what clients pass on to a model uncut.
const STDERR_BUDGET: usize = 6 * 1024;
/// The largest file kept of one stream, in bytes; what comes after is counted, not kept.
const LARGEST_FILE: u64 = 2 * 1024 * 1024 * 1024;
/// How long such files stay.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The folder in which whole outputs are kept, readable by its owner alone.
#[derive(Debug, Clone)]
pub struct OutputFolder(PathBuf);

impl OutputFolder {
    /// A folder that is made when it is first needed.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The files in it, the newest first.
    pub async fn list(&self) -> Vec<KeptOutput> {
        let mut kept = Vec::new();
        let Ok(mut entries) = fs::read_dir(&self.0).await else { return kept };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Ok(meta) = entry.metadata().await
                && let Ok(written) = meta.modified()
                && meta.is_file()
                && is_ours(&name)
            {
                kept.push(KeptOutput { name, bytes: meta.len(), written });
            }
        }
        kept.sort_by_key(|output| std::cmp::Reverse(output.written));
        kept
    }

    /// The content of the file of this name: all of it, or the first and last `budget` bytes.
    ///
    /// # Errors
    /// There is no such file (`NotFound`, also for a name that is not one of ours), or it cannot be read.
    pub async fn read(&self, name: &str, budget: usize) -> io::Result<Captured> {
        if !is_ours(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut file = fs::File::open(self.0.join(name)).await?;
        let mut capture = Capture::new(budget, budget);
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let length = file.read(&mut chunk).await?;
            match chunk.get(..length) {
                Some(bytes) if length > 0 => capture.push(bytes),
                _ => return Ok(capture.finish()),
            }
        }
    }

    async fn create(&self, ending: &str) -> io::Result<(PathBuf, fs::File)> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        folder.mode(0o700);
        folder.create(&self.0).await?;
        remove_old(&self.0).await;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = self.0.join(format!("{:016x}.{ending}", u64::from_be_bytes(random)));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&path).await?;
        Ok((path, file))
    }
}

/// A file in an [`OutputFolder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOutput {
    /// The file's name: 16 hexadecimal digits and `.out` or `.err`.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was last written to.
    pub written: SystemTime,
}

impl KeptOutput {
    /// Whether it is a stderr, and not a stdout.
    #[must_use]
    pub fn is_stderr(&self) -> bool {
        self.name.strip_suffix(".err").is_some()
    }
}

fn is_ours(name: &str) -> bool {
    let digits = name.strip_suffix(".out").or_else(|| name.strip_suffix(".err"));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Removes our own files that are older than [`KEPT_FOR`]. What cannot be removed stays: it harms nothing.
async fn remove_old(folder: &Path) {
    let Ok(mut entries) = fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(is_ours);
        let old = entry
            .metadata()
            .await
            .and_then(|meta| meta.modified())
            .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > KEPT_FOR));
        if ours && old {
            let _ = fs::remove_file(path).await;
        }
    }
}

/// The output of one running command.
#[derive(Debug)]
pub struct Output {
    folder: OutputFolder,
    stdout: Stream,
    stderr: Stream,
}

/// What a command printed.
#[derive(Debug, Clone, Default)]
pub struct CommandOutput {
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// Where all of stdout (or, if only that was long, of stderr) is kept.
    pub file: Option<PathBuf>,
    /// Where all of stderr is kept, if both were too long.
    pub stderr_file: Option<PathBuf>,
    /// What went wrong in keeping it.
    pub trouble: Option<String>,
}

impl CommandOutput {
    /// Whether some of the output is missing from what the result holds.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.stdout.omitted() > 0 || self.stderr.omitted() > 0
    }
}

impl Output {
    /// An output that keeps what is too long in `folder`.
    #[must_use]
    pub fn new(folder: OutputFolder) -> Self {
        Self { folder, stdout: Stream::new(STDOUT_BUDGET, "out"), stderr: Stream::new(STDERR_BUDGET, "err") }
    }

    /// Takes the next bytes of stdout.
    pub async fn push_stdout(&mut self, bytes: &[u8]) {
        self.stdout.push(bytes, &self.folder).await;
    }

    /// Takes the next bytes of stderr.
    pub async fn push_stderr(&mut self, bytes: &[u8]) {
        self.stderr.push(bytes, &self.folder).await;
    }

    /// Ends the output; files are complete afterwards.
    pub async fn finish(self) -> CommandOutput {
        let (stdout, out_file, out_trouble) = self.stdout.finish().await;
        let (stderr, err_file, err_trouble) = self.stderr.finish().await;
        let (file, stderr_file) = if out_file.is_some() { (out_file, err_file) } else { (err_file, None) };
        CommandOutput { stdout, stderr, file, stderr_file, trouble: out_trouble.or(err_trouble) }
    }
}

#[derive(Debug)]
struct Stream {
    capture: Capture,
    ending: &'static str,
    file: Spill,
}

#[derive(Debug)]
enum Spill {
    /// Everything still fits in memory.
    NotNeeded,
    Open {
        path: PathBuf,
        file: fs::File,
        written: u64,
    },
    /// The file holds a beginning (if it could be made at all); writing has stopped for this reason.
    Stopped {
        path: Option<PathBuf>,
        reason: String,
    },
}

impl Stream {
    fn new(budget: usize, ending: &'static str) -> Self {
        Self { capture: Capture::new(budget / 2, budget - budget / 2), ending, file: Spill::NotNeeded }
    }

    async fn push(&mut self, bytes: &[u8], folder: &OutputFolder) {
        if matches!(self.file, Spill::NotNeeded) && !self.capture.has_room_for(bytes.len()) {
            self.file = match folder.create(self.ending).await {
                Ok((path, file)) => Spill::Open { path, file, written: 0 },
                Err(error) => Spill::Stopped { path: None, reason: error.to_string() },
            };
            let so_far = self.capture.kept();
            self.write(&so_far).await;
        }
        self.write(bytes).await;
        self.capture.push(bytes);
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Spill::Open { path, file, written } = &mut self.file else { return };
        let failed = if *written + bytes.len() as u64 > LARGEST_FILE {
            Some(format!("the file has reached its limit of {LARGEST_FILE} bytes"))
        } else {
            *written += bytes.len() as u64;
            file.write_all(bytes).await.err().map(|error| error.to_string())
        };
        if let Some(reason) = failed {
            self.file = Spill::Stopped { path: Some(std::mem::take(path)), reason };
        }
    }

    async fn finish(self) -> (Captured, Option<PathBuf>, Option<String>) {
        let (path, reason) = match self.file {
            Spill::NotNeeded => (None, None),
            Spill::Open { path, mut file, .. } => match file.flush().await {
                Ok(()) => (Some(path), None),
                Err(error) => (Some(path), Some(error.to_string())),
            },
            Spill::Stopped { path, reason } => (path, Some(reason)),
        };
        (
            self.capture.finish(),
            path,
            reason.map(|reason| format!("the whole output could not be kept in a file: {reason}")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_output_needs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::new(OutputFolder::new(folder.path().join("new")));
        output.push_stdout(&vec![b'x'; STDOUT_BUDGET]).await;
        let seen = output.finish().await;
        assert!(!seen.truncated() && seen.file.is_none() && !folder.path().join("new").exists());
    }

    #[tokio::test]
    async fn long_output_is_whole_in_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::new(OutputFolder::new(folder.path().join("new")));
        let whole: Vec<u8> = (0..100_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        for portion in whole.chunks(1000) {
            output.push_stdout(portion).await;
        }
        output.push_stderr(b"short").await;
        let seen = output.finish().await;
        assert_eq!(seen.stdout.total, whole.len() as u64);
        assert!(seen.truncated() && seen.trouble.is_none() && seen.stderr_file.is_none());
        let path = seen.file.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(std::fs::metadata(folder.path().join("new")).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_said_and_the_output_goes_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut output = Output::new(OutputFolder::new(file.path().join("below-a-file")));
        output.push_stdout(&vec![b'x'; 1_000_000]).await;
        let seen = output.finish().await;
        assert_eq!((seen.stdout.total, seen.file), (1_000_000, None));
        assert!(seen.trouble.unwrap().contains("could not be kept"));
    }
}
