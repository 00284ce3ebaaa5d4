//! From an effective configuration to a connection that is logged in.

pub mod connection;
pub(super) mod keepalive;
pub(super) mod open;
pub(super) mod proxy_command;
mod route_check;

pub use self::{
    open::{UnknownHosts, UnknownOnRoute, addresses, planned_route, unknown_on_route},
    route_check::{RouteCheck, RouteHost},
};
