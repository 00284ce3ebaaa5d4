//! Commands that live on the remote machine.

mod scripts;
