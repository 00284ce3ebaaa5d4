//! Questions put to the person at the client.

mod host_keys;
mod over_http;
mod page;
mod secrets;
