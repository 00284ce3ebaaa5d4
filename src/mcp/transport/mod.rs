//! How messages come and go.

mod hello;
pub mod http;
mod overwriting;
pub mod shared;
pub mod stdio;
