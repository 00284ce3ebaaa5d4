//! Searches by the programs of the host.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use super::{
    Hits, MAX_OUTPUT_BYTES, MatchPlace, Problems, Reader, SearchEnd, SearchEngine, SearchRequest,
    SearchResult, TransferError, shown_directory,
};
use crate::{
    edit::search::{glob::Glob, pattern::Pattern},
    framing::{
        read_file::SHELL,
        search::{MAX_HEAD_BYTES, SearchHead, SearchProgram, SearchStart, SearchWords, script},
    },
    ssh::{
        command::{
            remote_host::RemoteHost,
            script_stream::{ScriptOutput, ScriptStream, StreamEnd},
        },
        error::SshError,
        transfer::{error::shown, paths::absolute, remote_files::path},
    },
};

/// Time limit for the first output. A server for SFTP only may run its own program, which waits.
const BEGINS_WITHIN: Duration = Duration::from_secs(8);

/// Output of a search so far.
struct Output {
    request: SearchRequest,
    /// What was printed before the end of the beginning.
    beginning: Vec<u8>,
    head: Option<SearchHead>,
    reader: Option<Reader>,
    /// Name with which each path begins.
    root: Vec<u8>,
    path: Vec<u8>,
    bytes: u64,
    problems: Problems,
}

/// Searches by the programs of the host; `None` if the host has none, or no shell.
pub(super) async fn search(
    host: &Arc<RemoteHost>,
    request: &SearchRequest,
) -> Result<Option<SearchResult>, TransferError> {
    let typed = path::resolve(&request.path, &request.directory)?;
    let mut answer = search_path(host, request, &typed).await?;

    // A name that was shown with escaped bytes may be given as it was shown.
    if let Answer::Missing(_) = &answer
        && let Some(bytes) = path::unescaped(&typed)
    {
        answer = search_path(host, request, &bytes).await?;
    }

    match answer {
        Answer::Found(found) => Ok(Some(*found)),
        Answer::Nothing => Ok(None),
        Answer::Missing(path) => Err(failure(&path, "no such file or directory")),
    }
}

enum Answer {
    Found(Box<SearchResult>),
    /// The host does not search.
    Nothing,
    /// There is nothing at this absolute path.
    Missing(Vec<u8>),
}

async fn search_path(
    host: &Arc<RemoteHost>,
    request: &SearchRequest,
    typed: &[u8],
) -> Result<Answer, TransferError> {
    // No path begins with `-` for a program.
    let path = if typed.starts_with(b"/") {
        typed.to_vec()
    } else {
        [b"./", typed].concat()
    };

    let globs = request.glob.as_ref();
    let pattern = request.pattern.as_ref();
    let stdin = script(&SearchWords {
        path: &path,
        pattern: pattern.map(|pattern| (pattern.text().as_bytes(), pattern.extended())),
        ignores_case: pattern.is_some_and(Pattern::ignores_case),
        rg_globs: globs.map(Glob::for_rg).unwrap_or_default(),
        find_tests: globs.and_then(Glob::for_find).unwrap_or_default(),
        context: if request.files_only {
            0
        } else {
            request.context
        },
    });
    let stream = ScriptStream {
        command: SHELL.to_owned(),
        stdin,
        begins_within: BEGINS_WITHIN,
        limit: request.time_limit,
    };
    let output = Output {
        request: request.clone(),
        beginning: Vec::new(),
        head: None,
        reader: None,
        root: Vec::new(),
        path,
        bytes: 0,
        problems: Problems::default(),
    };

    match host.stream_script(stream, output, Output::take).await {
        Ok((output, end)) => output.answer(typed, end),
        Err(SshError::ExecRefused) => Ok(Answer::Nothing),
        Err(error) => Err(error.into()),
    }
}

impl Output {
    /// Takes the next output. Ends the search where there is too much.
    fn take(&mut self, output: ScriptOutput<'_>) -> ControlFlow<()> {
        let bytes = match output {
            ScriptOutput::Stdout(bytes) => bytes,
            ScriptOutput::Stderr(bytes) => {
                self.problems.push(bytes);
                self.bytes += bytes.len() as u64;
                return self.go_on();
            }
        };
        self.bytes += bytes.len() as u64;

        if let Some(reader) = &mut self.reader {
            reader.push(bytes);
            self.request.progress.set(reader.found());
            return self.go_on();
        }

        self.beginning.extend_from_slice(bytes);
        self.head = SearchHead::parse(&self.beginning);
        let Some(head) = &self.head else {
            return if self.beginning.len() > MAX_HEAD_BYTES {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        };
        let SearchStart::Output { program, is_file } = head.start else {
            return ControlFlow::Break(());
        };

        self.root = if is_file {
            self.path.clone()
        } else {
            b"./".to_vec()
        };
        let place = match (program, &self.request.pattern) {
            (SearchProgram::Grep | SearchProgram::PlainGrep, Some(pattern)) => {
                MatchPlace::Pattern(Box::new(pattern.clone()))
            }
            _ => MatchPlace::Column,
        };
        let has_blocks = program == SearchProgram::PlainGrep;
        let mut reader = Reader::new(&self.request, &self.root, place, has_blocks);
        reader.push(self.beginning.get(head.length..).unwrap_or_default());
        self.reader = Some(reader);
        self.beginning = Vec::new();

        self.go_on()
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.bytes > MAX_OUTPUT_BYTES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn answer(self, typed: &[u8], end: StreamEnd) -> Result<Answer, TransferError> {
        let Some(head) = self.head else {
            return Ok(Answer::Nothing);
        };
        let root = absolute(typed, Some(&head.directory));

        let (program, is_file) = match head.start {
            SearchStart::Output { program, is_file } => (program, is_file),
            SearchStart::Missing => return Ok(Answer::Missing(root)),
            SearchStart::NoProgram => return Ok(Answer::Nothing),
            SearchStart::Denied => return Err(failure(&root, "permission denied")),
            SearchStart::Special => return Err(TransferError::NotAFile(shown(&root))),
            SearchStart::Pattern(message) => {
                let message = shown(message.trim_ascii());
                return Err(failure(&root, format!("the pattern is refused: {message}")));
            }
        };

        let shown_root = if is_file {
            self.request.path.clone().into_bytes()
        } else {
            shown_directory(&self.request.path)
        };
        let engine = match program {
            SearchProgram::Rg => SearchEngine::Rg,
            SearchProgram::Grep | SearchProgram::PlainGrep => SearchEngine::Grep,
            SearchProgram::Find => SearchEngine::Find,
        };
        let Some(reader) = self.reader else {
            return Ok(Answer::Nothing);
        };
        let mut hits = reader.finish(&self.root, &shown_root);
        if let Hits::Matches(matches) = &mut hits {
            matches.binary_files += self.problems.binary_files;
        }

        Ok(Answer::Found(Box::new(SearchResult {
            root,
            engine,
            hits,
            ended: match end {
                StreamEnd::Ended => None,
                StreamEnd::TimedOut | StreamEnd::Silent => Some(SearchEnd::Time),
                StreamEnd::Enough => Some(SearchEnd::Size),
            },
            problems: self.problems,
        })))
    }
}

/// Creates the error for a path that cannot be searched.
fn failure(path: &[u8], message: impl Into<String>) -> TransferError {
    TransferError::Remote {
        doing: "searching",
        path: shown(path),
        message: message.into(),
    }
}
