//! SFTP version 3 (draft-ietf-secsh-filexfer-02) on the real file system, with the status codes and the order of the
//! arguments of OpenSSH's sftp-server.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File as Entry, FileAttributes, Handle, Name, OpenFlags, Packet,
    Status, StatusCode, Version,
};
use russh_sftp::server::{Config, Handler};

/// sftp-server's `SFTP_MAX_MSG_LENGTH`.
const MAX_PACKET: u32 = 256 << 10;
/// The largest read and write, as sftp-server computes it.
const MAX_DATA: u32 = MAX_PACKET - 1024;
const MAX_HANDLES: usize = 1000;
/// Names in one reply to READDIR, as sftp-server sends them.
const NAMES_AT_ONCE: usize = 100;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";
const LIMITS: &str = "limits@openssh.com";

/// The packets it accepts.
pub(super) fn config() -> Config {
    Config {
        max_client_packet_len: MAX_PACKET,
    }
}

/// One SFTP session.
pub(super) struct Files {
    home: PathBuf,
    /// What has been renamed is never answered.
    withholds_renames: Arc<AtomicBool>,
    /// Paths are `/C:/…`, which is the folder `C` of the home, and a file that is open is not replaced.
    is_windows: bool,
    handles: HashMap<String, Open>,
    next_handle: u64,
}

enum Open {
    File { file: File, append: bool },
    Folder(std::vec::IntoIter<Entry>),
}

impl Files {
    /// A session whose relative paths start at `home`.
    pub(super) fn new(home: PathBuf, withholds_renames: Arc<AtomicBool>, is_windows: bool) -> Self {
        Self {
            home,
            withholds_renames,
            is_windows,
            handles: HashMap::new(),
            next_handle: 0,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        if !self.is_windows {
            return self.home.join(path);
        }

        match path.strip_prefix("/C:") {
            Some(below) => self.home.join("C").join(below.trim_start_matches('/')),
            None if path.starts_with('/') => self.home.join("no drive"),
            None => self.home.join("C/Users/me").join(path),
        }
    }

    /// Whether a file is open, and Windows lets nobody rename it.
    fn is_in_use(&self, path: &Path) -> bool {
        let identity = |found: Metadata| (found.dev(), found.ino());
        let wanted = fs::metadata(path).map(identity);
        let open = |open: &Open| match open {
            Open::File { file, .. } => {
                file.metadata().ok().map(identity) == wanted.as_ref().ok().copied()
            }
            Open::Folder(_) => false,
        };

        self.is_windows && wanted.is_ok() && self.handles.values().any(open)
    }

    fn file(&self, handle: &str) -> Result<&File, StatusCode> {
        match self.handles.get(handle) {
            Some(Open::File { file, .. }) => Ok(file),
            _ => Err(StatusCode::Failure),
        }
    }

    fn keep(&mut self, id: u32, open: Open) -> Result<Handle, StatusCode> {
        if self.handles.len() >= MAX_HANDLES {
            return Err(StatusCode::Failure);
        }
        let handle = self.next_handle.to_string();
        self.next_handle += 1;
        self.handles.insert(handle.clone(), open);
        Ok(Handle { id, handle })
    }
}

impl Handler for Files {
    type Error = StatusCode;

    fn unimplemented(&self) -> StatusCode {
        StatusCode::OpUnsupported
    }

    async fn init(
        &mut self,
        _version: u32,
        _extensions: HashMap<String, String>,
    ) -> Result<Version, StatusCode> {
        let mut version = Version::new();
        version.extensions = [POSIX_RENAME, FSYNC, LIMITS]
            .map(|name| (name.to_owned(), "1".to_owned()))
            .into();
        Ok(version)
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        flags: OpenFlags,
        attributes: FileAttributes,
    ) -> Result<Handle, StatusCode> {
        let (create, exclusive) = (
            flags.contains(OpenFlags::CREATE),
            flags.contains(OpenFlags::EXCLUDE),
        );

        let append = flags.contains(OpenFlags::APPEND);

        let file = OpenOptions::new()
            .read(flags.contains(OpenFlags::READ))
            .write(append || flags.contains(OpenFlags::WRITE))
            .create(create)
            .create_new(create && exclusive)
            .truncate(flags.contains(OpenFlags::TRUNCATE))
            .mode(attributes.permissions.map_or(0o666, |mode| mode & 0o7777))
            .open(self.path(&path))
            .map_err(status)?;

        self.keep(id, Open::File { file, append })
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, StatusCode> {
        self.handles
            .remove(&handle)
            .map(|_| ok(id))
            .ok_or(StatusCode::Failure)
    }

    async fn read(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        length: u32,
    ) -> Result<Data, StatusCode> {
        let mut data = vec![0; length.min(MAX_DATA) as usize];
        let read = self
            .file(&handle)?
            .read_at(&mut data, offset)
            .map_err(status)?;

        data.truncate(read);

        if data.is_empty() {
            Err(StatusCode::Eof)
        } else {
            Ok(Data { id, data })
        }
    }

    async fn write(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        data: Vec<u8>,
    ) -> Result<Status, StatusCode> {
        let Some(Open::File { file, append }) = self.handles.get(&handle) else {
            return Err(StatusCode::Failure);
        };

        let offset = if *append {
            file.metadata().map_err(status)?.len()
        } else {
            offset
        };

        done(id, file.write_all_at(&data, offset))
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, StatusCode> {
        attributes_reply(id, fs::metadata(self.path(&path)))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, StatusCode> {
        attributes_reply(id, fs::symlink_metadata(self.path(&path)))
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, StatusCode> {
        attributes_reply(id, self.file(&handle)?.metadata())
    }

    async fn setstat(
        &mut self,
        id: u32,
        path: String,
        attributes: FileAttributes,
    ) -> Result<Status, StatusCode> {
        let path = self.path(&path);

        if let Some(size) = attributes.size {
            OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_len(size))
                .map_err(status)?;
        }

        if let Some(times) = times(&attributes) {
            File::open(&path)
                .and_then(|file| file.set_times(times))
                .map_err(status)?;
        }

        if let Some(mode) = attributes.permissions {
            fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777)).map_err(status)?;
        }

        if attributes.uid.is_some() {
            std::os::unix::fs::chown(&path, attributes.uid, attributes.gid).map_err(status)?;
        }

        Ok(ok(id))
    }

    async fn fsetstat(
        &mut self,
        id: u32,
        handle: String,
        attributes: FileAttributes,
    ) -> Result<Status, StatusCode> {
        let file = self.file(&handle)?;
        if let Some(size) = attributes.size {
            file.set_len(size).map_err(status)?;
        }

        if let Some(times) = times(&attributes) {
            file.set_times(times).map_err(status)?;
        }

        if let Some(mode) = attributes.permissions {
            file.set_permissions(Permissions::from_mode(mode & 0o7777))
                .map_err(status)?;
        }

        if attributes.uid.is_some() {
            std::os::unix::fs::fchown(file, attributes.uid, attributes.gid).map_err(status)?;
        }

        Ok(ok(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusCode> {
        let folder = self.path(&path);
        let mut names = vec![".".into(), "..".into()];
        for entry in fs::read_dir(&folder).map_err(status)? {
            names.push(entry.map_err(status)?.file_name());
        }

        let entries = names.into_iter().filter_map(|name| {
            let metadata = fs::symlink_metadata(folder.join(&name)).ok()?;
            Some(Entry::new(name.to_string_lossy(), attributes(&metadata)))
        });

        self.keep(id, Open::Folder(entries.collect::<Vec<_>>().into_iter()))
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusCode> {
        let Some(Open::Folder(entries)) = self.handles.get_mut(&handle) else {
            return Err(StatusCode::Failure);
        };
        let files: Vec<Entry> = entries.take(NAMES_AT_ONCE).collect();
        if files.is_empty() {
            Err(StatusCode::Eof)
        } else {
            Ok(Name { id, files })
        }
    }

    async fn remove(&mut self, id: u32, path: String) -> Result<Status, StatusCode> {
        done(id, fs::remove_file(self.path(&path)))
    }

    async fn mkdir(
        &mut self,
        id: u32,
        path: String,
        attributes: FileAttributes,
    ) -> Result<Status, StatusCode> {
        let mode = attributes.permissions.map_or(0o777, |mode| mode & 0o7777);
        done(id, DirBuilder::new().mode(mode).create(self.path(&path)))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Result<Status, StatusCode> {
        done(id, fs::remove_dir(self.path(&path)))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, StatusCode> {
        let path = real_path(&self.path(&path)).map_err(status)?;
        if let Ok(below) = path.strip_prefix(self.home.join("C"))
            && self.is_windows
        {
            return Ok(name(id, &Path::new("/C:").join(below)));
        }
        Ok(name(id, &path))
    }

    /// Never replaces: version 3 has no such rename.
    async fn rename(&mut self, id: u32, old: String, new: String) -> Result<Status, StatusCode> {
        let (old, new) = (self.path(&old), self.path(&new));
        fs::symlink_metadata(&old).map_err(status)?;
        if fs::symlink_metadata(&new).is_ok() {
            return Err(StatusCode::Failure);
        }
        done(id, fs::rename(old, new))
    }

    async fn readlink(&mut self, id: u32, path: String) -> Result<Name, StatusCode> {
        let target = fs::read_link(self.path(&path)).map_err(status)?;
        Ok(name(id, &target))
    }

    /// OpenSSH has the target first and the link second, the reverse of the draft (its PROTOCOL file, section 4.1).
    async fn symlink(
        &mut self,
        id: u32,
        target: String,
        link: String,
    ) -> Result<Status, StatusCode> {
        done(id, std::os::unix::fs::symlink(target, self.path(&link)))
    }

    async fn extended(
        &mut self,
        id: u32,
        request: String,
        data: Vec<u8>,
    ) -> Result<Packet, StatusCode> {
        let mut fields = data.as_slice();
        let mut field = || text(&mut fields).ok_or(StatusCode::BadMessage);
        match request.as_str() {
            POSIX_RENAME => {
                let (old, new) = (self.path(&field()?), self.path(&field()?));
                if self.is_in_use(&old) || self.is_in_use(&new) {
                    return Err(StatusCode::PermissionDenied);
                }
                let renamed = done(id, fs::rename(old, new)).map(Packet::Status);
                if renamed.is_ok() && self.withholds_renames.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }

                renamed
            }
            FSYNC => done(id, self.file(&field()?)?.sync_all()).map(Packet::Status),
            LIMITS => {
                let limits = [
                    MAX_PACKET.into(),
                    MAX_DATA.into(),
                    MAX_DATA.into(),
                    MAX_HANDLES as u64,
                ];

                let data = limits.into_iter().flat_map(u64::to_be_bytes).collect();
                Ok(Packet::ExtendedReply(ExtendedReply { id, data }))
            }
            _ => Err(StatusCode::OpUnsupported),
        }
    }
}

/// sftp-server's `errno_to_portable`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn status(error: Error) -> StatusCode {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => StatusCode::NoSuchFile,
        ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => StatusCode::BadMessage,
        _ => StatusCode::Failure,
    }
}

fn ok(id: u32) -> Status {
    Status {
        id,
        status_code: StatusCode::Ok,
        error_message: "Success".to_owned(),
        language_tag: String::new(),
    }
}

fn done(id: u32, result: Result<(), Error>) -> Result<Status, StatusCode> {
    result.map(|()| ok(id)).map_err(status)
}

fn name(id: u32, path: &Path) -> Name {
    Name {
        id,
        files: vec![Entry::dummy(path.to_string_lossy())],
    }
}

fn attributes_reply(id: u32, metadata: Result<Metadata, Error>) -> Result<Attrs, StatusCode> {
    Ok(Attrs {
        id,
        attrs: attributes(&metadata.map_err(status)?),
    })
}

/// Not russh-sftp's conversion, which spoils the type of sockets and devices.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "version 3 has times of 32 bits"
)]
fn attributes(metadata: &Metadata) -> FileAttributes {
    FileAttributes {
        size: Some(metadata.size()),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
        permissions: Some(metadata.mode()),
        atime: Some(metadata.atime() as u32),
        mtime: Some(metadata.mtime() as u32),
        ..FileAttributes::default()
    }
}

fn times(attributes: &FileAttributes) -> Option<FileTimes> {
    let time = |seconds: u32| -> SystemTime { UNIX_EPOCH + Duration::from_secs(seconds.into()) };
    Some(
        FileTimes::new()
            .set_accessed(time(attributes.atime?))
            .set_modified(time(attributes.mtime?)),
    )
}

/// As realpath(3), but the last component need not exist.
fn real_path(path: &Path) -> Result<PathBuf, Error> {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == ErrorKind::NotFound => {
            Ok(fs::canonicalize(parent)?.join(name))
        }
        (result, ..) => result,
    }
}

/// Takes one string (RFC 4251 section 5) off `bytes`.
fn text(bytes: &mut &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}
