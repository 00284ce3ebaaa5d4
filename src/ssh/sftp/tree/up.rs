//! From this machine to the remote host.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    future::try_join,
    stream::{FuturesUnordered, StreamExt as _},
};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    Common,
    kept::Kept,
    local::{self, Listing, Root},
    place::{RemotePlace, make_remote},
    remote::join,
    run::{Moved, Way},
    sieve::Sieve,
};
use crate::{
    local::Folder,
    policy::{self as access, Why},
    readable::in_a_line,
    sftp::{
        attributes::{Attributes as Found, Kind},
        content::Chunk,
        reply::Handle,
        request::Access,
    },
    ssh::{
        pool::Pool,
        sftp::{
            Bounds, Leftover, TransferError, TransferRequest,
            client::Client,
            guard::{Guard, content, content_of, seen::Seen},
            original::{Original, attributes, to_set},
            replace::TIDY_LIMIT,
            transfer::Complete,
            upload::Upload,
        },
    },
    tree::{
        entry::{Directory, Entry, Leaf, LeafKind, What},
        excludes::Excludes,
        limits::LIMITS,
        plan::{Plan, Ticket},
        tally::Tally,
    },
};

/// A tree on its way to the remote host.
#[derive(Debug)]
pub(in crate::ssh::sftp) struct UpTree {
    /// Its root, for people.
    path: PathBuf,
    from: Arc<Root>,
    sieve: Option<Arc<Sieve>>,
    begun: Option<(RemotePlace, Plan)>,
    half_made: HalfMade,
}

/// What is on the remote host and not in its place yet, or may be.
#[derive(Debug, Default)]
struct HalfMade {
    /// Small things, each with the channel over which it was made: what is asked for there later comes later.
    temporaries: Mutex<HashMap<Ticket, (Leftover, Arc<Client>)>>,
    /// Large files, which go on after a lost link.
    uploads: Kept<Upload>,
}

impl UpTree {
    /// Of this directory, which the person calls `path`, without what is guarded in it.
    ///
    /// # Errors
    /// It is guarded itself, and the person does not allow it.
    pub(in crate::ssh::sftp) async fn open(path: PathBuf, from: Folder, guard: &Guard) -> Result<Self, TransferError> {
        let (watcher, from, typed) = (guard.watcher(access::Way::Read).await, Arc::new(from), path.clone());
        let root = Arc::clone(&from);
        let look = move || {
            let watch = watcher.begin();
            let site = watch.site(&root, &typed)?;
            Ok::<_, io::Error>((site.question(), Sieve::new(access::Way::Read, watch, site)))
        };
        let looked = spawn_blocking(look).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let (question, sieve) = looked.map_err(|source| TransferError::local("reading", &path, source))?;
        guard.pass(access::Way::Read, question).await?;
        let (from, sieve) = (Arc::new(Root::new(from)), sieve.map(Arc::new));
        Ok(Self { path, from, sieve, begun: None, half_made: HalfMade::default() })
    }

    /// Sends what has not arrived yet.
    ///
    /// # Errors
    /// [`TransferError`]; what has arrived is complete, and after a lost link the next attempt goes on.
    pub(in crate::ssh::sftp) async fn attempt(
        &mut self,
        request: &TransferRequest,
        excludes: &Excludes,
        pool: &Arc<Pool>,
        client: &Arc<Client>,
        bounds: &Bounds,
    ) -> Result<(String, Tally, bool), TransferError> {
        let common = Common::new(request, pool, client);
        let Self { path, from, sieve, begun, half_made } = self;
        let work = async {
            half_made.remove_small(client).await;
            let (place, plan) = match begun {
                Some(begun) => begun,
                empty => empty.insert(begin(&common, path, from, request, excludes).await?),
            };
            place.make(client).await?;
            let way = Up { common: &common, path, from, sieve, to: &place.path, half_made };
            let tally = common.carry_out(&way, plan, place.keeps_attributes).await?;
            Ok((in_a_line(&place.path), tally, false))
        };
        let done = client.connection().unless_stopped(bounds, work).await;
        if let Err(error) = &done {
            half_made.tidy_up(error, pool, client).await;
        }
        done
    }

    /// What is left on the remote host of an attempt that ended with its link.
    pub(in crate::ssh::sftp) fn leftovers(&mut self) -> Vec<Leftover> {
        let small = std::mem::take(&mut *lock(&self.half_made.temporaries)).into_values().map(|(leftover, _)| leftover);
        let large = self.half_made.uploads.take_all();
        small.chain(large.into_iter().filter_map(|mut upload| upload.leftover())).collect()
    }
}

async fn begin(
    common: &Common,
    path: &Path,
    from: &Arc<Root>,
    request: &TransferRequest,
    excludes: &Excludes,
) -> Result<(RemotePlace, Plan), TransferError> {
    let (root, path) = (Arc::clone(from), path.to_owned());
    let look = move || root.attributes().map_err(|source| TransferError::local("reading", &path, source));
    let attributes = common.disk(look).await?;
    let place = super::place::remote(common.lanes.first(), request, attributes).await?;
    Ok((place, Plan::new(Directory::root(attributes), excludes.clone(), None, LIMITS)))
}

/// An attempt's way up.
struct Up<'a> {
    common: &'a Common,
    path: &'a Path,
    from: &'a Arc<Root>,
    sieve: &'a Option<Arc<Sieve>>,
    to: &'a [u8],
    half_made: &'a HalfMade,
}

impl Way for Up<'_> {
    const IN_ORDER: bool = true;

    async fn directory(&self, directory: &Arc<Directory>) -> Result<Listing, TransferError> {
        let names = directory.names();
        let (path, to) = (local::path(self.path, &names), join(self.to, &names));
        let (root, wanted, sieve) = (Arc::clone(self.from), Arc::clone(directory), self.sieve.clone());
        let list = move || {
            let listed = root.below(&wanted.names()).and_then(|folder| {
                let mut listing = local::list(&folder)?;
                if let Some(sieve) = sieve {
                    // Files are looked at when they are open.
                    let is_directory = |entry: &Entry| entry.what == What::Directory;
                    let look = |entry: &Entry| Seen::at(&folder, &entry.name).ok().flatten();
                    sieve.sift(&wanted, &mut listing, |entry| is_directory(entry).then(|| look(entry)).flatten());
                }
                Ok(listing)
            });
            listed.map_err(|source| TransferError::local("reading", &path, source))
        };
        let made = async {
            // The root is there by now.
            if directory.depth() == 0 {
                return Ok(());
            }
            make_remote(&self.common.lanes.any(), &to, directory.attributes).await
        };
        Ok(try_join(made, self.common.disk(list)).await?.1)
    }

    async fn leaf(&self, ticket: Ticket, leaf: &Leaf) -> Result<Moved, TransferError> {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        let to = join(self.to, &names);
        let LeafKind::File(size) = leaf.kind else { return self.link(ticket, leaf, &to).await };
        if self.common.skip_unchanged && self.is_unchanged(leaf, size, &to).await? {
            return Ok(Moved::Unchanged);
        }
        let piece = u64::from(self.common.lanes.first().write_chunk());
        let _memory = self.common.memory(size).await;
        self.common.progress.begin(&leaf.path());
        let small = if size <= piece { self.small(ticket, leaf, size, &to).await? } else { None };
        let complete = match small {
            Some(complete) => complete,
            None => self.large(ticket, leaf, &to).await?,
        };
        self.common.progress.end();
        Ok(Moved::File(complete))
    }

    async fn finish(&self, directory: &Arc<Directory>) -> Result<(), TransferError> {
        let to = join(self.to, &directory.names());
        // All over the same channel, where they are done in their order.
        let client = self.common.lanes.first();
        let set = client.setstat(&to, to_set(directory.attributes)).await;
        set.map_err(client.failed("setting mode and times of", &to))
    }
}

impl Up<'_> {
    /// The path of a leaf, for people.
    fn path_of(&self, leaf: &Leaf) -> PathBuf {
        let mut names = leaf.directory.names();
        names.push(&leaf.name);
        local::path(self.path, &names)
    }

    /// Reads something in the directory of a leaf, off the asynchronous threads.
    async fn read<T: Send + 'static>(
        &self,
        leaf: &Leaf,
        work: impl FnOnce(&Folder, &[u8]) -> io::Result<T> + Send + 'static,
    ) -> Result<T, TransferError> {
        let (root, path, leaf) = (Arc::clone(self.from), self.path_of(leaf), leaf.clone());
        let read = move || {
            let read = root.folder_of(&leaf.directory).and_then(|folder| work(&folder, &leaf.name));
            read.map_err(|source| TransferError::local("reading", &path, source))
        };
        self.common.disk(read).await
    }

    /// Leaves out what is guarded.
    fn unless(&self, guarded: Option<Why>, leaf: &Leaf) -> Result<(), TransferError> {
        match guarded {
            Some(why) => Err(TransferError::Guarded { path: self.path_of(leaf), why, is_read: true, refused: false }),
            None => Ok(()),
        }
    }

    async fn is_unchanged(&self, leaf: &Leaf, size: u64, to: &[u8]) -> Result<bool, TransferError> {
        let found = self.common.lanes.any().lstat(to).await;
        Ok(found.is_ok_and(|found| {
            let modified = found.modified();
            found.kind() == Kind::File && found.size == Some(size) && modified == leaf.attributes.modified
        }))
    }

    async fn link(&self, ticket: Ticket, leaf: &Leaf, to: &[u8]) -> Result<Moved, TransferError> {
        let target = self.read(leaf, Folder::read_link).await?;
        let client = self.common.lanes.any();
        if self.common.skip_unchanged && client.readlink(to).await.is_ok_and(|there| *there == *target) {
            return Ok(Moved::Unchanged);
        }
        if client.symlink(&target, to).await.is_err() {
            let temporary = self.half_made.note(ticket, to, &client)?;
            let made = client.symlink(&target, &temporary.temporary).await;
            made.map_err(client.failed("making the link", to))?;
            self.put_in_place(ticket, &temporary, &client).await?;
        }
        // Where links have no times of their own nothing is lost.
        let _ = client.lsetstat(to, Found { permissions: None, ..to_set(leaf.attributes) }).await;
        Ok(Moved::Link)
    }

    /// A file of one piece; `None` if it has more.
    async fn small(
        &self,
        ticket: Ticket,
        leaf: &Leaf,
        size: u64,
        to: &[u8],
    ) -> Result<Option<Complete>, TransferError> {
        let sieve = self.sieve.clone();
        let read = move |folder: &Folder, name: &[u8]| {
            let read = read_whole(folder.open(name)?, size)?;
            let guarded = match (&read, sieve) {
                (Some((chunk, metadata)), Some(sieve)) => sieve.opened(metadata, || Ok(content(chunk.content())))?,
                _ => None,
            };
            Ok((read, guarded))
        };
        let (read, guarded) = self.read(leaf, read).await?;
        self.unless(guarded, leaf)?;
        let Some((content, metadata)) = read else { return Ok(None) };
        let slot = self.common.lanes.slot().await;
        let client = slot.client();
        let temporary = self.half_made.note(ticket, to, client)?;
        let made = client.open_file(&temporary.temporary, Access::Create, Found::mode(0o600)).await;
        let handle = made.map_err(client.failed("creating a file beside", to))?;
        let bytes = content.content().len() as u64;
        write_whole(client, &handle, content, to_set(attributes(&metadata)), to).await?;
        self.put_in_place(ticket, &temporary, client).await?;
        self.common.progress.add(bytes);
        Ok(Some(Complete { bytes, verified: false, unsure: false }))
    }

    async fn put_in_place(&self, ticket: Ticket, temporary: &Leftover, client: &Client) -> Result<(), TransferError> {
        let replaced = temporary.replace(client).await;
        replaced.map_err(client.failed("replacing", &temporary.target))?;
        lock(&self.half_made.temporaries).remove(&ticket);
        Ok(())
    }

    /// A file of any length, as a single one goes. It is not compared, but after a lost link.
    async fn large(&self, ticket: Ticket, leaf: &Leaf, to: &[u8]) -> Result<Complete, TransferError> {
        let mut begun = self.half_made.uploads.take(ticket);
        let upload = match &mut begun.state {
            Some(upload) => upload,
            empty => {
                let sieve = self.sieve.clone();
                let open = move |folder: &Folder, name: &[u8]| {
                    let file = folder.open(name)?;
                    let metadata = file.metadata()?;
                    let guarded = sieve.map(|sieve| sieve.opened(&metadata, || content_of(&file))).transpose()?;
                    Ok((file, metadata, guarded.flatten()))
                };
                let (file, metadata, guarded) = self.read(leaf, open).await?;
                self.unless(guarded, leaf)?;
                let original = Original::of_tree(self.path_of(leaf), file, metadata, self.common.progress.clone());
                empty.insert(Upload::of_tree(original, to)?)
            }
        };
        let slot = self.common.lanes.slot().await;
        let sent = upload.carry_out(&self.common.pool, slot.client()).await;
        if let Err(error) = &sent {
            upload.tidy_up(error, &self.common.pool, slot.client()).await;
        }
        if !sent.as_ref().is_err_and(TransferError::is_lost) {
            begun.state = None;
        }
        sent?.1.ok_or(TransferError::Cancelled)
    }
}

/// All at once: a server answers the requests for one file in their order.
async fn write_whole(
    client: &Client,
    handle: &Handle,
    content: Chunk,
    attributes: Found,
    to: &[u8],
) -> Result<(), TransferError> {
    let write = async { if content.content().is_empty() { Ok(()) } else { client.write(handle, 0, content).await } };
    let (written, set, closed) = tokio::join!(write, client.fsetstat(handle, attributes), client.close(handle));
    written.map_err(client.failed("writing", to))?;
    set.map_err(client.failed("setting mode and times of", to))?;
    closed.map_err(client.failed("closing", to))
}

/// The content of a file, if it is no longer than this.
fn read_whole(file: File, size: u64) -> io::Result<Option<(Chunk, Metadata)>> {
    let metadata = file.metadata()?;
    // One byte more shows one that has grown.
    let room = size + 1;
    let mut chunk = Chunk::with_capacity(usize::try_from(room).unwrap_or(0));
    file.take(room).read_to_end(chunk.append_to())?;
    Ok(if (chunk.content().len() as u64) < room { Some((chunk, metadata)) } else { None })
}

impl HalfMade {
    /// A name beside the target for what has this ticket.
    fn note(&self, ticket: Ticket, target: &[u8], client: &Arc<Client>) -> Result<Leftover, TransferError> {
        let leftover = Leftover::beside(target)?;
        lock(&self.temporaries).insert(ticket, (leftover.clone(), Arc::clone(client)));
        Ok(leftover)
    }

    /// Removes what is small. Each over its own channel, if that is still there.
    async fn remove_small(&self, client: &Client) {
        let temporaries = lock(&self.temporaries).clone();
        let mut removals = FuturesUnordered::new();
        for (ticket, (leftover, over)) in &temporaries {
            let over = if over.is_over() { client } else { over };
            removals.push(async move { leftover.remove_with(over).await.then_some(ticket) });
        }
        while let Some(removed) = removals.next().await {
            removed.map(|ticket| lock(&self.temporaries).remove(ticket));
        }
    }

    /// After an error: removes what is not complete. After a lost link it stays for the next attempt, or to be told of.
    async fn tidy_up(&self, error: &TransferError, pool: &Arc<Pool>, client: &Arc<Client>) {
        let all = async {
            if error.is_lost() {
                self.uploads.for_each(Upload::note_lost);
                return;
            }
            self.remove_small(client).await;
            // Their server may have ended, while the connection has not.
            if !lock(&self.temporaries).is_empty()
                && let Ok(another) = Client::begin(pool).await
            {
                self.remove_small(&another).await;
            }
            for mut upload in self.uploads.take_all() {
                upload.tidy_up(error, pool, client).await;
            }
        };
        let _ = timeout(TIDY_LIMIT, all).await;
    }
}

/// These mutexes are held for an assignment only, so one that was poisoned holds nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
