//! The page for the user, and the command `status`.

mod access;
pub(super) mod activity;
mod open_browser;
mod render;
pub mod routes;
pub mod status_client;
mod status_table;
