//! Carries a plan out: many directories and files at once, whichever way they go.

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

/// Directories that are made and listed at once. Each takes some round trips, and no more than one open handle.
const DIRECTORIES_AT_ONCE: usize = 64;
/// Files at once. What they may take of handles and memory is bounded where they are moved.
const LEAVES_AT_ONCE: usize = 1_000;
/// Directories whose mode and times are set at once.
const FINISHED_AT_ONCE: usize = 200;

/// What came of a file or link.
#[derive(Debug, Clone, Copy)]
pub(super) enum MovedEntry {
    /// A file.
    File(FileResult),
    /// A link.
    Link,
    /// Both sides are the same already.
    Unchanged,
    /// There are no such things on the other side.
    Special,
}

/// One of the two ways.
pub(super) trait TreeDirection {
    /// Whether directories are finished in the order in which that was begun, so that none has to wait for those in it.
    fn finishes_in_order(&self) -> bool;

    /// Makes a directory at the destination, and then lists it at the source.
    fn directory(
        &self,
        directory: &Arc<Directory>,
    ) -> impl Future<Output = Result<LocalListing, TransferError>>;

    /// Moves a file or link.
    fn leaf(
        &self,
        ticket: PlannedItem,
        leaf: &Leaf,
    ) -> impl Future<Output = Result<MovedEntry, TransferError>>;

    /// Sets the mode and times of a directory at the destination.
    fn finish(&self, directory: &Arc<Directory>)
    -> impl Future<Output = Result<(), TransferError>>;
}

/// What one piece of work brought.
enum WorkResult {
    Directory(Arc<Directory>, Result<LocalListing, TransferError>),
    Leaf(Arc<Leaf>, Result<MovedEntry, TransferError>),
}

/// Moves a tree, or what of it is still to be moved. What cannot be moved is in the tally; what is there when this ends is
/// complete.
///
/// # Errors
/// What ends the transfer of everything, not of single entries.
pub(super) async fn run(
    way: &impl TreeDirection,
    plan: &mut Plan,
    progress: &TransferCounters,
    keeps_root: bool,
) -> Result<(), TransferError> {
    plan.begin_again();
    let moved = move_all(way, plan, progress).await;
    match moved {
        Ok(()) | Err(TransferError::Tree(_)) => {}
        Err(_) => return moved,
    }

    finish(way, plan, keeps_root).await?;

    moved
}

async fn move_all(
    way: &impl TreeDirection,
    plan: &mut Plan,
    progress: &TransferCounters,
) -> Result<(), TransferError> {
    let (mut directories, mut leaves, mut works) = (0, 0, FuturesUnordered::new());
    loop {
        while directories < DIRECTORIES_AT_ONCE
            && let Some((ticket, directory)) = plan.next_directory()
        {
            directories += 1;
            works.push(Either::Left(async move {
                let listed = way.directory(&directory).await;
                (ticket, WorkResult::Directory(directory, listed))
            }));
        }

        while leaves < LEAVES_AT_ONCE
            && let Some((ticket, leaf)) = plan.next_leaf()
        {
            leaves += 1;
            works.push(Either::Right(async move {
                let moved = way.leaf(ticket, &leaf).await;
                (ticket, WorkResult::Leaf(leaf, moved))
            }));
        }

        let Some((ticket, done)) = works.next().await else {
            return Ok(());
        };

        match done {
            WorkResult::Directory(directory, listed) => {
                directories -= 1;
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

        plan.done(ticket);
    }
}

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
        // Without its root there is no tree.
        Err(error) if directory.depth() == 0 => Err(error),
        Err(error) => fail(plan, directory.path(), error),
    }
}

/// Notes what concerns one entry; anything else ends the transfer.
fn fail(plan: &mut Plan, path: Vec<u8>, error: TransferError) -> Result<(), TransferError> {
    match error.of_one_file() {
        Some(reason) => Ok(plan.fail(path, reason)?),
        None => Err(error),
    }
}

/// A directory before the one that it is in: one after the other, or level by level.
async fn finish(
    way: &impl TreeDirection,
    plan: &mut Plan,
    keeps_root: bool,
) -> Result<(), TransferError> {
    let mut directories = plan.to_finish();
    directories.retain(|directory| directory.depth() > 0 || !keeps_root);
    let in_order = way.finishes_in_order();

    for level in directories.chunk_by(|one, other| in_order || one.depth() == other.depth()) {
        let (mut level, mut works) = (level.iter(), FuturesUnordered::new());
        loop {
            for directory in level.by_ref().take(FINISHED_AT_ONCE - works.len()) {
                works.push(async move { (directory, way.finish(directory).await) });
            }

            let Some((directory, set)) = works.next().await else {
                break;
            };

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
