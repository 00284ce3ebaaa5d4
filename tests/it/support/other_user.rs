//! Another user of the machine, for the time of one action.

use std::thread;

use rustix::{
    process::geteuid,
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

use super::checks::skipped;

/// Nobody, on most systems; on all of them somebody else.
pub(crate) const OTHER: u32 = 65534;

/// Does it as another user, in a thread of its own; `None` if this user may not become another.
pub(crate) fn as_other<T: Send + 'static>(
    action: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !geteuid().is_root() {
        skipped(
            "only root can become another user; run the tests as root to see other users refused",
        );
        return None;
    }

    let worker = thread::spawn(move || {
        let group = rustix::process::Gid::from_raw(OTHER);
        set_thread_groups(&[group]).unwrap();
        set_thread_gid(group).unwrap();
        set_thread_uid(rustix::process::Uid::from_raw(OTHER)).unwrap();
        assert_eq!(geteuid().as_raw(), OTHER);

        action()
    });

    Some(worker.join().unwrap())
}
