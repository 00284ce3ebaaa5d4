//! Forwarded ports: a listener on this machine, channels to the far side (RFC 4254, section 7.2, and
//! OpenSSH's `direct-streamlocal@openssh.com`), and the bytes between the two.
//!
//! A [`ForwardListener`](listener::ForwardListener) is independent of any connection. Each accepted
//! [`LocalStream`](local_stream::LocalStream) gets a channel of the
//! [`RemoteHost`](super::command::remote_host::RemoteHost) that is current at that time.

mod backlog;
pub mod channel;
pub mod listener;
pub mod local_address;
pub mod local_stream;
pub mod probe;
pub mod relay;
pub mod remote;
pub mod remote_socks;
pub mod stale_socket;
