//! The only folder that knows MCP and JSON.
//!
//! [`transport`] carries messages and [`server`] answers them. `tools` has one file for each tool: its parameters, its
//! result and what it does with the session registry. `call` holds what every tool call needs, `prompt` asks the person,
//! [`dashboard`] is the person's page, and [`web`] is what every page over HTTP stands on.

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
