//! The execution of a plan: many directories and files at once, in either direction.

use std::sync::Arc;

use futures_util::{
    future::Either,
    stream::{FuturesUnordered, StreamExt as _},
};

use super::local::LocalListing;
use crate::{
    ssh::transfer::{TransferCounters, TransferError, request::FileResult},
    tree::{
        entry::{Directory, Leaf, LeafKind},
        limits::PlanError,
        plan::{Plan, PlannedItem},
    },
};

/// Upper limit of directories created and listed at once. Each takes some round trips, and at most
/// one open handle.
const DIRECTORIES_AT_ONCE: usize = 128;
/// Upper limit of files moved at once over a long distance. Their handles and memory are limited
/// where the files are moved.
const LEAVES_FAR: usize = 2_500;
/// Upper limit of files moved at once otherwise. sshd copies all that waits in a channel again with
/// each packet that arrives (`sshbuf_allocate`), so no more wait there than keep the server busy.
const LEAVES_NEAR: usize = 128;
/// Upper limit of directories whose mode and times are set at once.
const FINISHED_AT_ONCE: usize = 200;

/// Result of the work on a file or link.
#[derive(Debug, Clone, Copy)]
pub(super) enum MovedEntry {
    /// The file was moved.
    File(FileResult),
    /// The link was created.
    Link,
    /// Both sides are already the same.
    Unchanged,
    /// The entry was skipped, because the other side does not support its type.
    Special,
}

/// Direction of a transfer: upload or download. The executor calls these methods for the entries of
/// a plan, many at once.
pub(super) trait TreeDirection {
    /// Returns true if [`finish`](Self::finish) takes effect in the order of the calls. Then a
    /// directory need not wait for the directories inside.
    fn finishes_in_order(&self) -> bool;

    /// Creates a directory at the destination, and then lists the directory at the source.
    fn directory(
        &self,
        directory: &Arc<Directory>,
    ) -> impl Future<Output = Result<LocalListing, TransferError>>;

    /// Moves a file or link. `ticket` identifies the item over all attempts.
    fn leaf(
        &self,
        ticket: PlannedItem,
        leaf: &Leaf,
    ) -> impl Future<Output = Result<MovedEntry, TransferError>>;

    /// Sets the mode and times of a directory at the destination.
    fn finish(&self, directory: &Arc<Directory>)
    -> impl Future<Output = Result<(), TransferError>>;
}

/// Result of a piece of work.
enum WorkResult {
    Directory(Arc<Directory>, Result<LocalListing, TransferError>),
    Leaf(Arc<Leaf>, Result<MovedEntry, TransferError>),
}

/// Moves the remaining entries of a plan. Entries which cannot be moved are recorded in the tally.
/// All moved entries are complete when the function returns. `is_far` is true over a long distance.
///
/// # Errors
/// The error that ended the transfer of all entries. Errors of single entries are in the tally.
pub(super) async fn run(
    direction: &impl TreeDirection,
    plan: &mut Plan,
    progress: &TransferCounters,
    keeps_root: bool,
    is_far: bool,
) -> Result<(), TransferError> {
    plan.begin_again();
    let most = if is_far { LEAVES_FAR } else { LEAVES_NEAR };
    // Times come last, since every new entry changes the time of its directory.
    let moved = move_all(direction, plan, progress, most).await;
    match moved {
        Ok(()) | Err(TransferError::Tree(_)) => {}
        Err(_) => return moved,
    }

    // After a limit was reached, the directories that exist still get their attributes.
    finish(direction, plan, keeps_root).await?;

    moved
}

/// Moves the files and links of a plan, up to `most` at once, and creates and lists its directories.
async fn move_all(
    direction: &impl TreeDirection,
    plan: &mut Plan,
    progress: &TransferCounters,
    most: usize,
) -> Result<(), TransferError> {
    let (mut directories, mut leaves, mut works) = (0, 0, FuturesUnordered::new());
    loop {
        // Directories first, as they bring more work. The plan holds them back while enough files
        // wait.
        while directories < DIRECTORIES_AT_ONCE
            && let Some((ticket, directory)) = plan.next_directory()
        {
            directories += 1;
            // Boxed, because otherwise each file would take the room of a directory.
            works.push(Either::Left(Box::pin(async move {
                let listed = direction.directory(&directory).await;
                (ticket, WorkResult::Directory(directory, listed))
            })));
        }

        while leaves < most
            && let Some((ticket, leaf)) = plan.next_leaf()
        {
            leaves += 1;
            works.push(Either::Right(async move {
                let moved = direction.leaf(ticket, &leaf).await;
                (ticket, WorkResult::Leaf(leaf, moved))
            }));
        }

        let Some((ticket, done)) = works.next().await else {
            return Ok(());
        };

        match done {
            WorkResult::Directory(directory, listed) => {
                directories -= 1;
                // The expected total grows by the files of the listing, minus those which are left
                // out.
                let before = plan.bytes;
                take_listing(plan, &directory, listed)?;
                progress.expect(plan.bytes - before);
            }
            WorkResult::Leaf(leaf, moved) => {
                leaves -= 1;
                let size = if let LeafKind::File(size) = leaf.kind {
                    size
                } else {
                    0
                };

                match moved {
                    Ok(MovedEntry::File(FileResult { bytes, unkept, .. })) => {
                        plan.tally.files += 1;
                        plan.tally.bytes += bytes;
                        plan.tally.unkept += unkept;
                    }
                    Ok(MovedEntry::Link) => plan.tally.links += 1,
                    Ok(MovedEntry::Unchanged) => {
                        plan.tally.unchanged += 1;
                        progress.expect_less(size);
                    }
                    Ok(MovedEntry::Special) => plan.tally.special += 1,
                    Err(TransferError::Guarded { why, .. }) => {
                        plan.leave_out(leaf.path(), false, why.to_string());
                        progress.expect_less(size);
                    }
                    Err(error) => {
                        fail(plan, leaf.path(), error)?;
                        progress.expect_less(size);
                    }
                }
            }
        }

        // Only now: work that is cut off before this point is handed out again to the next attempt.
        plan.done(ticket);
    }
}

/// Adds a listing to the plan.
///
/// # Errors
/// The tree exceeds a limit, or its root cannot be listed.
fn take_listing(
    plan: &mut Plan,
    directory: &Arc<Directory>,
    listed: Result<LocalListing, TransferError>,
) -> Result<(), TransferError> {
    match listed {
        Ok(listing) => {
            plan.listed(directory, listing.entries)?;
            for (name, reason) in listing.failures {
                plan.fail(directory.path_of(&name), reason)?;
            }

            for (name, is_directory, why) in listing.left_out {
                plan.leave_out(directory.path_of(&name), is_directory, why.to_string());
            }

            Ok(())
        }
        // Without its root there is no tree to move.
        Err(error) if directory.depth() == 0 => Err(error),
        Err(error) => fail(plan, directory.path(), error),
    }
}

/// Records the failure of a single entry.
///
/// # Errors
/// The error ends the whole transfer, or too many entries failed.
fn fail(plan: &mut Plan, path: Vec<u8>, error: TransferError) -> Result<(), TransferError> {
    match error.of_one_file() {
        Some(reason) => Ok(plan.fail(path, reason)?),
        None => Err(error),
    }
}

/// Sets the attributes of all directories, each before its parent: in the order of the calls, or
/// level by level.
async fn finish(
    direction: &impl TreeDirection,
    plan: &mut Plan,
    keeps_root: bool,
) -> Result<(), TransferError> {
    let mut directories = plan.to_finish();
    directories.retain(|directory| directory.depth() > 0 || !keeps_root);
    // A parent without write or search permission would not let its children be changed any more.
    let in_order = direction.finishes_in_order();

    for level in directories.chunk_by(|one, other| in_order || one.depth() == other.depth()) {
        let (mut level, mut works) = (level.iter(), FuturesUnordered::new());
        loop {
            for directory in level.by_ref().take(FINISHED_AT_ONCE - works.len()) {
                works.push(async move { (directory, direction.finish(directory).await) });
            }

            let Some((directory, set)) = works.next().await else {
                break;
            };

            // At this point all content has arrived, so too many failures are no reason to stop.
            if let Err(error) = set
                && let Err(error) = fail(plan, directory.path(), error)
                && !matches!(error, TransferError::Tree(PlanError::Failures(_)))
            {
                return Err(error);
            }
        }
    }

    Ok(())
}
