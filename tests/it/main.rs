//! The integration tests: one binary, against an in-process SSH server and the real sshd.

mod support;
