//! The tools that show remote files, against the real sshd.

mod read;
mod read_more;
mod without_sftp;
