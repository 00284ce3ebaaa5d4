//! The files of outputs that are too long for a result.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::task::spawn_blocking;

use crate::{
    capture::{Capture, Captured},
    local::{Folder, home},
};

/// How long such files stay.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Files that are looked at, at most.
const MAX_FILES: usize = 100_000;

/// The folder in which whole outputs are kept when nothing else is said: in the user's state directory; `None` where that
/// is not known. Not in a folder for all users: what is there may be somebody else's.
#[must_use]
pub fn default_output_folder() -> Option<PathBuf> {
    Some(home::state()?.join("mcp-ssh-sessions").join("output"))
}

/// The folder in which whole outputs are kept, readable by its owner alone.
#[derive(Debug, Clone)]
pub struct OutputFolder(Option<PathBuf>);

impl OutputFolder {
    /// A folder that is made when it is first needed; without one nothing is kept.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// The files in it, the newest first.
    pub async fn list(&self) -> Vec<KeptOutput> {
        let list = |path: PathBuf| {
            let folder = Folder::root(&path)?.if_ours(&path)?;
            let mut kept: Vec<_> = ours(&folder).collect();
            kept.sort_by_key(|output| std::cmp::Reverse(output.written));
            Ok(kept)
        };
        self.off_thread(list).await.unwrap_or_default()
    }

    /// The content of the file of this name: all of it, or the first and last `budget` bytes.
    ///
    /// # Errors
    /// There is no such file (`NotFound`, also for a name that is not one of ours), or it cannot be read.
    pub async fn read(&self, name: &str, budget: usize) -> io::Result<Captured> {
        let mut file = self.open(name).await?;
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

    /// The file of this name.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) async fn open(&self, name: &str) -> io::Result<File> {
        if !is_ours(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = name.to_owned();
        self.off_thread(move |path| Folder::root(&path)?.if_ours(&path)?.open(name.as_bytes()))
            .await
    }

    /// A new file in it, which ends in `.out` or `.err`; those older than a week are removed.
    pub(super) async fn create(&self, ending: &'static str) -> io::Result<(PathBuf, File)> {
        let create = move |path: PathBuf| {
            let folder = Folder::made(&path)?.if_ours(&path)?;
            remove_old(&folder);
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let name = format!("{:016x}.{ending}", u64::from_be_bytes(random));
            let file = folder.create(name.as_bytes())?;
            Ok((path.join(name), file))
        };

        self.off_thread(create).await
    }

    /// Files block; the async threads must not.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let nowhere = "there is no home directory to keep it in; set HOME or XDG_STATE_HOME";
        let path = self
            .0
            .clone()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, nowhere))?;

        spawn_blocking(move || work(path))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
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
    let digits = name
        .strip_suffix(".out")
        .or_else(|| name.strip_suffix(".err"));
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Our own files in a folder.
fn ours(folder: &Folder) -> impl Iterator<Item = KeptOutput> {
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

/// Removes our own files that are older than [`KEPT_FOR`]. What cannot be removed stays: it harms nothing.
fn remove_old(folder: &Folder) {
    for KeptOutput { name, written, .. } in ours(folder) {
        if SystemTime::now()
            .duration_since(written)
            .is_ok_and(|age| age > KEPT_FOR)
        {
            let _ = folder.remove(name.as_bytes());
        }
    }
}
