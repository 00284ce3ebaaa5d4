//! The writer of an output, with the files that hold whole streams.

use tokio::{fs, io::AsyncWriteExt as _};

use super::{CommandOutput, Output};
use crate::{
    framing::stream::{PerStream, Stream},
    render::Style,
};

/// Largest file of a stream, in bytes. Later bytes are counted, but not kept.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Writer of an output and of the files with the whole streams. Readers see each portion at once.
#[derive(Debug)]
pub(in crate::ssh) struct OutputWriter {
    output: Output,
    files: PerStream<OutputFile>,
}

/// File of a stream, from the writer's point of view.
#[derive(Debug, Default)]
enum OutputFile {
    /// The whole stream still fits in memory.
    #[default]
    NotNeeded,
    /// The file gets all bytes of the stream.
    Open { file: fs::File, written: u64 },
    /// The file could not be made, or holds only the beginning of the stream.
    Stopped,
}

impl OutputWriter {
    /// Creates the writer of an output.
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            files: PerStream::default(),
        }
    }

    /// Appends bytes to a stream: file first, then the part in memory.
    pub(in crate::ssh) async fn push(&mut self, stream: Stream, bytes: &[u8]) {
        // Before anything is kept or shown.
        let bytes = self.output.lock().redactor.pass(stream, bytes);
        self.append(stream, &bytes).await;
    }

    /// Appends bytes without secrets.
    async fn append(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }

        // The file is created before the bytes are written, so that it holds the stream from the
        // first byte on.
        if matches!(self.files.get(stream), OutputFile::NotNeeded)
            && !self.has_room_for(stream, bytes.len())
        {
            self.create_file(stream).await;
        }

        // The file is written outside the lock, so readers do not wait for a disk.
        self.write(stream, bytes).await;
        let is_whole = matches!(self.files.get(stream), OutputFile::NotNeeded);
        self.output.lock().push(stream, bytes, is_whole);
    }

    /// Returns the terminal's replies to queries of the program, since the last call.
    pub(in crate::ssh) fn replies(&mut self) -> Vec<u8> {
        self.output.lock().streams.stdout.renderer.replies()
    }

    /// Ends the output. Files are complete after this.
    pub(in crate::ssh) async fn finish(mut self) -> CommandOutput {
        for stream in Stream::BOTH {
            let held = self.output.lock().redactor.finish(stream);
            self.append(stream, &held).await;
            self.output.lock().finish_decoding(stream);

            // A stream that a reader sees changed, for instance a progress bar or binary data, is
            // kept whole however short it is.
            let differs = self.output.lock().streams.get(stream).differs();
            if differs && matches!(self.files.get_mut(stream), OutputFile::NotNeeded) {
                self.create_file(stream).await;
            }

            if let OutputFile::Open { file, .. } = self.files.get_mut(stream)
                && let Err(error) = file.flush().await
            {
                self.stop(stream, &error.to_string());
            }
        }

        self.output.lock().redactor.forget();
        self.output.so_far()
    }

    /// Returns true if `more` bytes still fit into a result. Terminal output always gets a file,
    /// because a reader sees a screen and not the bytes.
    fn has_room_for(&self, stream: Stream, more: usize) -> bool {
        let memory = self.output.lock();
        let stream = memory.streams.get(stream);
        self.output.style == Style::Plain
            && stream.unspilled.len() + more <= stream.unspilled_budget
    }

    /// Creates the file of a stream with all bytes so far.
    async fn create_file(&mut self, stream: Stream) {
        match self.output.folder.create(stream).await {
            Ok((path, file)) => {
                *self.files.get_mut(stream) = OutputFile::Open {
                    file: fs::File::from_std(file),
                    written: 0,
                };

                // The earlier bytes go into the file before readers see the path.
                let so_far = self.output.lock().streams.get_mut(stream).unspilled.clone();
                self.write(stream, &so_far).await;
                let mut memory = self.output.lock();
                let stream = memory.streams.get_mut(stream);
                stream.file = Some(path);
                stream.unspilled = Vec::new();
            }
            Err(error) => self.stop(stream, &error.to_string()),
        }
    }

    /// Writes bytes to the file of a stream, if there is any.
    async fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let OutputFile::Open { file, written } = self.files.get_mut(stream) else {
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
            self.stop(stream, &reason);
        }
    }

    /// Stops writing the file of a stream, and records the reason for the result.
    fn stop(&mut self, stream: Stream, reason: &str) {
        *self.files.get_mut(stream) = OutputFile::Stopped;
        self.output.lock().streams.get_mut(stream).trouble = Some(format!(
            "the whole output could not be kept in a file: {reason}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ssh::command::output::{OutputFolder, stream::STDOUT_BUDGET};

    fn writer(folder: &Path) -> OutputWriter {
        Output::new(OutputFolder::new(Some(folder.to_owned())), Style::Plain, 1).writer()
    }

    #[tokio::test]
    async fn short_output_needs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = writer(&folder.path().join("new"));
        output
            .push(Stream::Stdout, &vec![b'x'; STDOUT_BUDGET])
            .await;
        let result = output.finish().await;
        assert!(
            !result.truncated()
                && result.stdout_file.is_none()
                && !folder.path().join("new").exists()
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
            output.push(Stream::Stdout, portion).await;
        }

        output.push(Stream::Stderr, b"short").await;
        let result = output.finish().await;
        assert_eq!(result.stdout.total, whole.len() as u64);
        assert!(result.truncated() && result.trouble.is_none() && result.stderr_file.is_none());
        let path = result.stdout_file.unwrap();
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
        output.push(Stream::Stdout, &vec![b'x'; 1_000_000]).await;
        let result = output.finish().await;
        assert_eq!((result.stdout.total, result.stdout_file), (1_000_000, None));
        assert!(result.trouble.unwrap().contains("could not be kept"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_folder_of_another_user_is_not_used_and_links_not_followed() {
        use crate::local::folder::others::give_away;

        let folder = tempfile::tempdir().unwrap();
        let outputs = OutputFolder::new(Some(folder.path().to_owned()));
        let (file, link) = (folder.path().join("victim"), "0123456789abcdef.out");
        std::fs::write(&file, "mine").unwrap();
        std::fs::File::open(&file)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();

        std::os::unix::fs::symlink(&file, folder.path().join(link)).unwrap();
        let mut output = writer(folder.path());
        output.push(Stream::Stdout, &vec![b'x'; 100_000]).await;
        assert!(output.finish().await.stdout_file.is_some());
        assert!(outputs.read(link, 100).await.is_err());
        assert_eq!(outputs.list().await.len(), 1);
        assert!(file.exists() && folder.path().join(link).is_symlink());
        if !give_away(folder.path()) {
            return;
        }

        let mut output = writer(folder.path());
        output.push(Stream::Stdout, &vec![b'x'; 100_000]).await;
        let result = output.finish().await;
        assert!(
            result.stdout_file.is_none()
                && result.trouble.unwrap().contains("belongs to another user")
        );

        assert!(outputs.list().await.is_empty());
    }
}
