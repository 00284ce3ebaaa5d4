//! Commands that live on the remote machine.

mod hostile;
mod jobs;
mod others;
mod scripts;
