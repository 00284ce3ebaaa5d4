//! How messages come and go.

pub mod stdio;
