//! How messages come and go.

mod front_request;
mod hello;
pub mod http;
mod overwriting;
pub mod shared;
pub mod stdio;
