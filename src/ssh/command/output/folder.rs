//! Files of outputs too long for a result.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::task::spawn_blocking;

use crate::{
    capture::{Capture, Captured},
    framing::stream::Stream,
    local::{Folder, home},
    random,
};

/// Age at which a file is removed.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Most files of the folder to look at.
const MAX_FILES: usize = 100_000;

/// Returns the default folder for whole outputs, in the user's state directory. `None` if that
/// directory is not known. A folder shared by all users is never taken, because its files may be
/// somebody else's.
#[must_use]
pub fn default_output_folder() -> Option<PathBuf> {
    Some(home::state()?.join("mcp-ssh-sessions").join("output"))
}

/// Folder for whole outputs, readable only by the owner. Files older than a week are removed when a
/// new file is created.
#[derive(Debug, Clone)]
pub struct OutputFolder(Option<PathBuf>);

impl OutputFolder {
    /// Creates a handle to a folder, which is made when first needed. Without a path nothing is
    /// kept.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Lists the files, newest first.
    pub async fn list(&self) -> Vec<KeptOutput> {
        let list = |path: PathBuf| {
            let folder = Folder::root(&path)?.if_ours(&path)?;
            let mut outputs: Vec<_> = our_files(&folder).collect();
            outputs.sort_by_key(|output| std::cmp::Reverse(output.written));
            Ok(outputs)
        };
        self.off_thread(list).await.unwrap_or_default()
    }

    /// Reads the file of this name: all of the content, or the first and last `budget` bytes.
    ///
    /// # Errors
    /// Fails with `NotFound` if there is no such file or the name is not one of ours, and with
    /// another error if the file cannot be read.
    pub async fn read(&self, name: &str, budget: usize) -> io::Result<Captured> {
        let mut file = self.open(name).await?;
        // Read in portions: a file may have gigabytes, of which only the budget is kept.
        let read = move |_| {
            let mut capture = Capture::new(budget, budget);
            let mut chunk = vec![0; 64 * 1024];
            loop {
                let length = file.read(&mut chunk)?;
                match chunk.get(..length) {
                    Some(bytes) if length > 0 => capture.push(bytes),
                    _ => return Ok(capture.finish()),
                }
            }
        };

        self.off_thread(read).await
    }

    /// Opens the file of this name.
    ///
    /// # Errors
    /// See [`read`](Self::read).
    pub(super) async fn open(&self, name: &str) -> io::Result<File> {
        // The name may come from a client. One of ours is 16 digits and an ending, so it leads
        // nowhere else.
        if !is_ours(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = name.to_owned();
        self.off_thread(move |path| Folder::root(&path)?.if_ours(&path)?.open(name.as_bytes()))
            .await
    }

    /// Creates a file for a stream. Removes files older than a week first.
    pub(super) async fn create(&self, stream: Stream) -> io::Result<(PathBuf, File)> {
        let create = move |path: PathBuf| {
            let folder = Folder::made(&path)?.if_ours(&path)?;
            remove_old(&folder);
            let name = format!("{}.{}", random::hex::<8>()?, stream.file_ending());
            let file = folder.create(name.as_bytes())?;
            Ok((path.join(name), file))
        };

        self.off_thread(create).await
    }

    /// Runs `action` on a thread for blocking calls, because file operations must not block the async
    /// threads.
    async fn off_thread<T: Send + 'static>(
        &self,
        action: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let nowhere = "there is no home directory to keep it in; set HOME or XDG_STATE_HOME";
        let path = self
            .0
            .clone()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, nowhere))?;

        spawn_blocking(move || action(path))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// File in an [`OutputFolder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOutput {
    /// Name of the file: 16 hexadecimal digits and `.out` or `.err`.
    pub name: String,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Time of the last write.
    pub written: SystemTime,
}

impl KeptOutput {
    /// Returns the stream that the file holds.
    #[must_use]
    pub fn stream(&self) -> Stream {
        if self.name.strip_suffix(".err").is_some() {
            Stream::Stderr
        } else {
            Stream::Stdout
        }
    }
}

/// Returns true if this is a name which the folder gives.
fn is_ours(name: &str) -> bool {
    let digits = name
        .strip_suffix(".out")
        .or_else(|| name.strip_suffix(".err"));
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Lists our own files in a folder; files with other names are left alone.
fn our_files(folder: &Folder) -> impl Iterator<Item = KeptOutput> {
    let names = folder.names(MAX_FILES).unwrap_or_default().into_iter();
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| is_ours(name))
        .filter_map(|name| {
            let metadata = folder.open(name.as_bytes()).ok()?.metadata().ok()?;
            Some(KeptOutput {
                name,
                bytes: metadata.len(),
                written: metadata.modified().ok()?,
            })
        })
}

/// Removes our own files older than [`KEPT_FOR`]. A file that cannot be removed stays, which does
/// no harm.
fn remove_old(folder: &Folder) {
    for KeptOutput { name, written, .. } in our_files(folder) {
        if SystemTime::now()
            .duration_since(written)
            .is_ok_and(|age| age > KEPT_FOR)
        {
            let _ = folder.remove(name.as_bytes());
        }
    }
}
