//! The page for the person, and `status`.

mod access;
pub(super) mod activity;
mod open_browser;
mod render;
pub mod routes;
pub mod status_client;
mod status_table;
