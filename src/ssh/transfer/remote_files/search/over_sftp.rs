//! Searches over SFTP, for a host that runs no programs.

use std::collections::VecDeque;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::{
    MatchPlace, Problems, Reader, SearchEnd, SearchEngine, SearchRequest, SearchResult,
    TransferError,
    opened::{Opened, names_surely, open, open_next_to_others},
    shown_directory,
};
use crate::{
    edit::search::file::FileSearch,
    sftp::{
        attributes::{Attributes, FileType},
        reply::NameReply,
    },
    ssh::transfer::{
        error::shown,
        remote_files::{
            Found, ReadRequest, RemoteFiles, Start,
            content::{OpenFile, WINDOW},
        },
        tree::join,
    },
};

/// Number of directories or files that are read at the same time.
const AT_ONCE: usize = 16;
/// Bytes that are searched in one file.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Number of directories below each other.
const MAX_DEPTH: usize = 64;
/// Number of entries that are looked at.
const MAX_ENTRIES: usize = 200_000;
/// Name of the root if it is a file.
const ROOT_FILE: &[u8] = b"file";
/// Directories that are left out, as with `grep`.
const LEFT_OUT: [&[u8]; 2] = [b".git", b"node_modules"];

/// File or directory that was found, with its name below the root.
struct Entry {
    name: Vec<u8>,
    attributes: Attributes,
    depth: usize,
}

/// Search that goes through a tree.
struct Walk<'a> {
    files: &'a RemoteFiles,
    request: &'a SearchRequest,
    /// Absolute path of the root.
    root: &'a [u8],
    reader: Reader,
    problems: Problems,
    ended: Option<SearchEnd>,
}

impl RemoteFiles {
    /// Searches a file or a tree over SFTP.
    ///
    /// # Errors
    /// There is no such path, the channel fails, or the connection ends.
    pub(super) async fn search(
        &self,
        request: &SearchRequest,
    ) -> Result<SearchResult, TransferError> {
        let deadline = Instant::now() + request.time_limit;
        let Found {
            path: root,
            attributes,
            ..
        } = self
            .find(&ReadRequest {
                path: request.path.clone(),
                directory: request.directory.clone(),
                start: Start::at(1),
                limit: 1,
            })
            .await?;

        let is_directory = match attributes.kind() {
            FileType::Special => return Err(TransferError::NotAFile(shown(&root))),
            FileType::Directory => true,
            FileType::File | FileType::Link | FileType::Unknown => false,
        };
        let name_root: &[u8] = if is_directory { b"./" } else { ROOT_FILE };
        let mut walk = Walk {
            files: self,
            request,
            root: &root,
            reader: Reader::new(request, name_root, MatchPlace::Column, false),
            problems: Problems::default(),
            ended: None,
        };

        let walking = async {
            if is_directory {
                walk.tree().await
            } else {
                walk.root_file(attributes).await
            }
        };
        if let Ok(result) = timeout_at(deadline, walking).await {
            result?;
        } else {
            walk.ended = Some(SearchEnd::Time);
        }

        let shown_root = if is_directory {
            shown_directory(&request.path)
        } else {
            request.path.clone().into_bytes()
        };
        Ok(SearchResult {
            engine: if self.client.is_by_shell() {
                SearchEngine::Shell
            } else {
                SearchEngine::Sftp
            },
            hits: walk.reader.finish(name_root, &shown_root),
            ended: walk.ended,
            problems: walk.problems,
            root,
        })
    }
}

impl Walk<'_> {
    /// Searches a path that is a file.
    async fn root_file(&mut self, attributes: Attributes) -> Result<(), TransferError> {
        if self.request.pattern.is_none() {
            self.name(ROOT_FILE.to_vec(), &attributes);
            return Ok(());
        }

        let root = self.root;
        let opened = open(self.files, root, &attributes).await?;
        self.file(ROOT_FILE, root, opened).await
    }

    /// Searches a tree, the directories nearest to the root first.
    async fn tree(&mut self) -> Result<(), TransferError> {
        let files = self.files;
        let mut directories = VecDeque::from([(Vec::new(), 0)]);
        let mut entries = 0;

        while !directories.is_empty() {
            let batch: Vec<(Vec<u8>, usize)> = directories
                .drain(..directories.len().min(AT_ONCE))
                .collect();
            let root = self.root;
            let listings: Vec<_> = stream::iter(batch)
                .map(|(name, depth)| async move {
                    let path = below(root, &name);
                    (name, depth, names_surely(files, &path).await)
                })
                .buffered(AT_ONCE)
                .collect()
                .await;

            let mut found = Vec::new();
            for (directory, depth, names) in listings {
                let names = match names {
                    Ok(names) => names,
                    Err(error) if directory.is_empty() => return Err(error),
                    Err(error) => {
                        self.failed(&directory, error)?;
                        continue;
                    }
                };
                entries += names.len();
                found.extend(entries_of(&directory, depth, names));
            }

            let (inner, files): (Vec<Entry>, Vec<Entry>) = found
                .into_iter()
                .partition(|entry| entry.attributes.kind() == FileType::Directory);
            directories.extend(
                inner
                    .into_iter()
                    .filter(|entry| entry.depth <= MAX_DEPTH)
                    .map(|entry| (entry.name, entry.depth)),
            );
            self.files(files).await?;

            if entries > MAX_ENTRIES {
                self.ended = Some(SearchEnd::Size);
                return Ok(());
            }
        }

        Ok(())
    }

    /// Searches in files, or lists them.
    async fn files(&mut self, entries: Vec<Entry>) -> Result<(), TransferError> {
        let is_wanted = |entry: &Entry| {
            let glob = self.request.glob.as_ref();
            glob.is_none_or(|glob| glob.matches(&entry.name))
                && matches!(entry.attributes.kind(), FileType::File | FileType::Unknown)
        };
        let mut wanted: Vec<Entry> = entries.into_iter().filter(is_wanted).collect();
        wanted.sort_by(|one, other| one.name.cmp(&other.name));

        if self.request.pattern.is_none() {
            for entry in wanted {
                self.name([b"./", entry.name.as_slice()].concat(), &entry.attributes);
            }
            return Ok(());
        }

        let (files, root) = (self.files, self.root);
        let mut alone = Vec::new();
        {
            let opened = stream::iter(wanted)
                .map(|entry| async move {
                    let path = below(root, &entry.name);
                    let opened = open_next_to_others(files, &path, &entry.attributes).await;
                    (entry, opened)
                })
                .buffered(AT_ONCE);
            futures_util::pin_mut!(opened);

            while let Some((entry, opened)) = opened.next().await {
                match opened {
                    Some(opened) => self.entry(&entry.name, opened).await?,
                    None => alone.push(entry),
                }
            }
        }

        // No other file is open any more.
        for entry in alone {
            let path = below(root, &entry.name);
            let opened = open(files, &path, &entry.attributes).await;
            self.entry(&entry.name, opened).await?;
        }

        Ok(())
    }

    /// Searches in an entry of the tree, or notes why it cannot be read.
    ///
    /// # Errors
    /// The channel fails.
    async fn entry(
        &mut self,
        name: &[u8],
        opened: Result<Opened, TransferError>,
    ) -> Result<(), TransferError> {
        let searched = match opened {
            Ok(opened) => {
                let path = below(self.root, name);
                self.file(&[b"./", name].concat(), &path, opened).await
            }
            Err(error) => Err(error),
        };

        match searched {
            Ok(()) => Ok(()),
            Err(error) => self.failed(name, error),
        }
    }

    /// Searches in a file whose beginning was read.
    async fn file(
        &mut self,
        name: &[u8],
        path: &[u8],
        opened: Opened,
    ) -> Result<(), TransferError> {
        let (Some(pattern), Reader::Lines(matches)) = (&self.request.pattern, &mut self.reader)
        else {
            return Ok(());
        };
        let file = OpenFile {
            files: self.files,
            path,
            handle: opened.handle,
            size: opened.size,
        };

        // A binary file is known by its beginning, as with `grep`.
        let is_binary = opened.beginning.contains(&0);
        let mut searched = Ok(());
        if is_binary && name == ROOT_FILE && pattern.find(&opened.beginning).is_some() {
            matches.push(b"Binary file matches\n");
        } else if !is_binary {
            let context = usize::try_from(self.request.context).unwrap_or_default();
            let mut search = FileSearch::new(name, pattern, context);
            search.push(&opened.beginning, matches);

            if !opened.is_whole {
                let start = opened.beginning.len() as u64;
                let rest = file.pieces(start, file.end().min(MAX_FILE_BYTES), WINDOW);
                futures_util::pin_mut!(rest);
                searched = loop {
                    match rest.try_next().await {
                        Ok(Some(piece)) => search.push(&piece, matches),
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
            }
            search.finish(matches);
        }

        if !opened.is_whole {
            self.files.client.close_read(&file.handle).await;
        }
        if !is_binary && opened.size > MAX_FILE_BYTES {
            let limit = b": only the first 64 MiB were searched";
            self.problems.add(&[name, limit].concat());
        }
        self.request.progress.set(self.reader.found());

        searched
    }

    /// Adds a name to the listing.
    fn name(&mut self, name: Vec<u8>, attributes: &Attributes) {
        if let Reader::Names(names) = &mut self.reader {
            names.add(name, attributes.modified().map(i64::from));
            self.request.progress.set(self.reader.found());
        }
    }

    /// Notes what cannot be searched.
    ///
    /// # Errors
    /// The error is that of the channel, so that nothing else can be searched either.
    fn failed(&mut self, name: &[u8], error: TransferError) -> Result<(), TransferError> {
        let TransferError::Remote { message, .. } = error else {
            return Err(error);
        };

        self.problems
            .add(&[name, b": ", message.as_bytes()].concat());
        Ok(())
    }
}

/// Returns the entries of a directory that are searched.
fn entries_of(
    directory: &[u8],
    depth: usize,
    names: Vec<NameReply>,
) -> impl Iterator<Item = Entry> {
    let is_entry = |name: &NameReply| {
        // A hostile server's name with a slash would lead elsewhere.
        !matches!(&*name.name, b"." | b".." | b"") && !name.name.contains(&b'/')
    };
    let is_left_out = |name: &NameReply| {
        name.attributes.kind() == FileType::Directory && LEFT_OUT.contains(&&*name.name)
    };

    names
        .into_iter()
        .filter(move |name| is_entry(name) && !is_left_out(name))
        .map(move |entry| Entry {
            name: if directory.is_empty() {
                entry.name.to_vec()
            } else {
                [directory, b"/", &*entry.name].concat()
            },
            attributes: entry.attributes,
            depth: depth + 1,
        })
}

/// Returns the path of a name below the root.
fn below(root: &[u8], name: &[u8]) -> Vec<u8> {
    if name.is_empty() {
        root.to_vec()
    } else {
        join(root, &[name])
    }
}
