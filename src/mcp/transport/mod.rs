//! How messages come and go.

mod hello;
pub mod http;
pub mod shared;
pub mod stdio;
