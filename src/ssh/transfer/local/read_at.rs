//! Reads of a local file at an offset.

use std::{fs::File, io};

/// Reads at an offset, independent of the file's position.
#[cfg(unix)]
pub(in crate::ssh::transfer) fn read_at(
    file: &File,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// Reads at an offset. Windows moves the file's position as well.
#[cfg(windows)]
pub(in crate::ssh::transfer) fn read_at(
    file: &File,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
