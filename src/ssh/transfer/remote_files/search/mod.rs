//! Searches a tree: by the programs of the host, or else over SFTP.

mod by_script;
mod opened;
mod over_sftp;
mod problems;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;

pub use self::problems::Problems;
use super::{RemoteFiles, TransferError};
use crate::{
    edit::search::{
        blocks::BlockReader,
        glob::Glob,
        matches::{MatchPlace, MatchReader, Matches},
        names::{FoundNames, NameReader},
        pattern::Pattern,
    },
    ssh::command::{limits::StopConditions, remote_host::RemoteHost},
};

/// Bytes of output after which a search ends. There are far more matches than anybody reads then.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024 * 1024;

/// Request for a search.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// Path of a file or directory, as typed. `~` stands for the home directory.
    pub path: String,
    /// Absolute directory in which a relative path starts. Empty for the home directory.
    pub directory: Vec<u8>,
    /// Pattern for lines; `None` lists names.
    pub pattern: Option<Pattern>,
    /// Files to search in, or to list; `None` for all.
    pub glob: Option<Glob>,
    /// Number of lines around a match.
    pub context: u32,
    /// True to show files instead of their lines.
    pub files_only: bool,
    /// Number of matches, files or names at most.
    pub limit: usize,
    /// Time after which the search ends with what was found.
    pub time_limit: Duration,
    /// Progress, for display.
    pub progress: SearchProgress,
}

/// Number of matches or names so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SearchProgress(Arc<AtomicU64>);

impl SearchProgress {
    fn set(&self, found: u64) {
        self.0.store(found, Ordering::Relaxed);
    }

    /// Returns the number.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Result of a search.
#[derive(Debug, Clone)]
pub struct SearchResult {
    /// Absolute path that was searched.
    pub root: Vec<u8>,
    /// Program that searched.
    pub engine: SearchEngine,
    /// Matches or names. Their paths begin with the path of the request.
    pub hits: Hits,
    /// Reason for which the search ended early; `None` if all was searched.
    pub ended: Option<SearchEnd>,
    /// What could not be searched.
    pub problems: Problems,
}

/// Program that searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchEngine {
    /// `rg` on the host, which skips what `.gitignore` names.
    Rg,
    /// `grep` on the host.
    Grep,
    /// `find` on the host.
    Find,
    /// This program, which read the files over SFTP.
    Sftp,
    /// This program, which read the files by `/bin/sh`.
    Shell,
}

impl SearchEngine {
    /// Returns the name for an answer.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rg => "rg",
            Self::Grep => "grep",
            Self::Find => "find",
            Self::Sftp => "SFTP",
            Self::Shell => "/bin/sh",
        }
    }
}

/// What a search has found.
#[derive(Debug, Clone)]
pub enum Hits {
    /// Lines, or files with the number of their matches.
    Matches(Matches),
    /// Names of files.
    Names(FoundNames),
}

/// Reason for which a search ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchEnd {
    /// The time limit was reached.
    Time,
    /// There was too much output, or there were too many files.
    Size,
}

/// Searches a file or a tree.
///
/// # Errors
/// There is no such path, it cannot be searched, the connection ends, or the call is stopped.
pub async fn search(
    host: &Arc<RemoteHost>,
    request: &SearchRequest,
    conditions: &StopConditions,
) -> Result<SearchResult, TransferError> {
    let searching: BoxFuture<'_, Result<SearchResult, TransferError>> = Box::pin(async {
        if !host.is_windows()
            && let Some(result) = by_script::search(host, request).await?
        {
            return Ok(result);
        }
        let files = RemoteFiles::open_either(host, conditions).await?;
        files.search(request).await
    });

    host.first().unless_stopped(conditions, searching).await
}

/// Reader of what a search finds.
#[derive(Debug)]
enum Reader {
    Lines(MatchReader),
    Blocks(BlockReader, MatchReader),
    Names(NameReader),
}

impl Reader {
    /// Creates the reader of records whose names begin with `root`.
    fn new(request: &SearchRequest, root: &[u8], place: MatchPlace, has_blocks: bool) -> Self {
        let (root, limit) = (root.to_vec(), request.limit);
        if request.pattern.is_none() {
            return Self::Names(NameReader::new(root, request.glob.clone(), limit));
        }

        let matches = MatchReader::new(root, limit, place).in_files(request.glob.clone());
        let matches = if request.files_only {
            matches.files_only()
        } else {
            matches
        };
        if has_blocks {
            Self::Blocks(BlockReader::default(), matches)
        } else {
            Self::Lines(matches)
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Lines(matches) => matches.push(bytes),
            Self::Blocks(blocks, matches) => blocks.push(bytes, matches),
            Self::Names(names) => names.push(bytes),
        }
    }

    /// Returns the number of matches or names so far.
    fn found(&self) -> u64 {
        match self {
            Self::Lines(matches) | Self::Blocks(_, matches) => matches.so_far().total,
            Self::Names(names) => names.total(),
        }
    }

    /// Returns the hits with paths for display: `root` is replaced by `shown`.
    fn finish(self, root: &[u8], shown: &[u8]) -> Hits {
        let rename = |path: &mut Vec<u8>| {
            let below = path.strip_prefix(root).unwrap_or(path);
            // A name like this would be somebody's home.
            let is_home = shown.is_empty() && below.starts_with(b"~");
            let prefix = if is_home { b"./" } else { shown };
            *path = [prefix, below].concat();
        };

        match self {
            Self::Lines(matches) | Self::Blocks(_, matches) => {
                let mut matches = matches.finish();
                matches
                    .files
                    .iter_mut()
                    .for_each(|file| rename(&mut file.path));
                matches
                    .files
                    .sort_by(|one, other| one.path.cmp(&other.path));
                Hits::Matches(matches)
            }
            Self::Names(names) => {
                let mut names = names.finish();
                names.names.iter_mut().for_each(rename);
                Hits::Names(names)
            }
        }
    }
}

/// Returns what stands before names below a directory in an answer, so that each is a path for the
/// next call.
fn shown_directory(typed: &str) -> Vec<u8> {
    match typed {
        "." | "./" => Vec::new(),
        typed if typed.ends_with('/') => typed.as_bytes().to_vec(),
        typed => format!("{typed}/").into_bytes(),
    }
}
