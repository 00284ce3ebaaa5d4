//! The only folder that knows MCP and JSON.
//!
//! [`transport`] carries messages, [`server`] answers them, `tools` has one file for each tool: its parameters, its
//! result and what it does with the session registry.

mod activity;
mod elicit;
mod heartbeat;
mod hints;
mod html;
mod outcome;
mod page;
mod params;
mod prompts;
mod resources;
mod roots;
mod running;
pub mod server;
mod tool_error;
mod tools;
pub mod transport;
