//! The only folder that names russh: resolving, dialling, checking host keys, authenticating, and what runs over the
//! connection then.
//!
//! [`pool`] is the door: [`pool::Pool::open`] resolves, dials and authenticates a [`connection`], and its methods run
//! commands ([`exec`], [`detached`]), start shells ([`shell`]) and move files ([`sftp`]), over further connections where one is full.

mod agent_forward;
mod algorithms;
pub mod ask;
pub mod authenticate;
pub mod bounds;
pub mod connection;
mod deadline;
pub mod detached;
mod dial;
pub mod error;
pub mod examine;
pub mod exec;
pub mod exit_status;
pub mod findings;
mod handler;
mod host_key;
mod keepalive;
mod local_path;
mod lookup;
mod opening;
pub mod output;
mod overheard;
pub mod pause;
pub mod pool;
mod proxy;
mod question;
pub mod resolve;
pub mod sftp;
pub mod shell;
mod side_channel;
mod signals;
pub mod sudo;
mod transport;
pub mod without_ssh;
mod words;
