//! The files of outputs that are too long for a result.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{fs, io::AsyncReadExt as _};

use crate::capture::{Capture, Captured};

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

    /// A new file in it, which ends in `.out` or `.err`; those older than a week are removed.
    pub(super) async fn create(&self, ending: &str) -> io::Result<(PathBuf, fs::File)> {
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
