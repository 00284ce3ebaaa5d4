//! The only folder that knows MCP.
//!
//! [`transport`] carries messages, and [`server`] answers these. `tools` has a file for each tool,
//! with its parameters, its result and its use of the session registry. `call` holds the parts that
//! every tool call needs, and `prompt` asks the user. [`dashboard`] is the page for the user.
//! [`web`] is the base of every page over HTTP.

mod call;
pub mod dashboard;
mod prompt;
mod prompts;
mod resources;
mod roots;
pub mod server;
mod tools;
pub mod transport;
pub mod web;

pub use self::tools::{Touch, TouchedHost, touches};
