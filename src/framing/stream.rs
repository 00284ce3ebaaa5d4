//! The two output streams of a command.

/// Output stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Value for each of the output streams.
#[derive(Debug, Clone, Default)]
pub struct PerStream<T> {
    /// Value for standard output.
    pub stdout: T,
    /// Value for standard error.
    pub stderr: T,
}

impl Stream {
    /// Both streams.
    pub const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Returns the name of the stream.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// Returns the ending of file names for this stream, such as `out`.
    #[must_use]
    pub fn file_ending(self) -> &'static str {
        match self {
            Self::Stdout => "out",
            Self::Stderr => "err",
        }
    }

    /// Returns the other stream.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Stdout => Self::Stderr,
            Self::Stderr => Self::Stdout,
        }
    }
}

impl<T> PerStream<T> {
    /// Returns the value for a stream.
    pub fn get(&self, stream: Stream) -> &T {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// Returns the value for a stream, to be changed.
    pub fn get_mut(&mut self, stream: Stream) -> &mut T {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}
