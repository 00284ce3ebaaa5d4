//! The requests to the server.

/// Request to the server. Paths are absolute, or begin in the directory in which the shell started,
/// which is the home directory.
#[derive(Debug, Clone, Copy)]
pub enum FileRequest<'a> {
    /// Facts of a path; read by [`facts`](super::facts).
    Facts {
        /// Path.
        path: &'a [u8],
        /// True if a link is followed.
        follows: bool,
    },
    /// Facts of an open file.
    FactsOfOpen {
        /// Descriptor of the file.
        slot: u8,
        /// Path under which it was opened.
        path: &'a [u8],
    },
    /// Entries of a directory; read by [`entries`](super::entries).
    List(&'a [u8]),
    /// Path without links. The last name need not exist.
    Resolve(&'a [u8]),
    /// Destination of a link.
    Destination(&'a [u8]),
    /// Makes a directory.
    MakeDirectory {
        /// Path.
        path: &'a [u8],
        /// Permission bits that it has at most.
        mode: u32,
    },
    /// Removes a file or a link.
    Remove(&'a [u8]),
    /// Renames a file.
    Rename {
        /// Old path.
        from: &'a [u8],
        /// New path.
        to: &'a [u8],
        /// True if the file takes the place of an existing file.
        replaces: bool,
    },
    /// Makes a symbolic link.
    Link {
        /// Destination, as stored.
        target: &'a [u8],
        /// Path of the link.
        link: &'a [u8],
    },
    /// Changes a file.
    Change {
        /// Descriptor if the file is open.
        slot: Option<u8>,
        /// Path.
        path: &'a [u8],
        /// Properties to set.
        changes: Changes,
    },
    /// Opens a file.
    Open {
        /// Descriptor, one of [`SLOTS`](super::SLOTS) that is free.
        slot: u8,
        /// Path.
        path: &'a [u8],
        /// Form of opening it.
        opening: Opening,
    },
    /// Reads from an open file.
    Read {
        /// Descriptor of the file.
        slot: u8,
        /// Path under which it was opened.
        path: &'a [u8],
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes at most.
        length: u32,
        /// Way to the offset.
        position: Position,
    },
    /// Writes the content of the open file with this descriptor to the disk.
    Flush(u8),
    /// Closes the file with this descriptor.
    Close(u8),
}

/// Properties of a file to set. `None` leaves a property as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// Length in bytes.
    pub size: Option<u64>,
    /// User id and group id.
    pub owner: Option<(u32, u32)>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Times of the last modification and of the last access, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// Form of opening a file.
#[derive(Debug, Clone, Copy)]
pub enum Opening {
    /// Existing file, for reading.
    Read,
    /// Existing file, for writing without loss of its content.
    Write,
    /// New file with at most these permission bits, for writing. Fails if the path exists, even as
    /// a link.
    Create(u32),
    /// New file with at most these permission bits, or an existing file without its content.
    Replace(u32),
}

/// Way to the offset of a read or write, from the position of the open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The file is at the offset.
    There,
    /// The offset is this many bytes ahead.
    Ahead(u64),
    /// The file is opened again, and the offset is this many bytes from the beginning.
    FromStart(u64),
}
