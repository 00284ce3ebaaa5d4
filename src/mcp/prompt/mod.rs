//! Questions to the user: forms of the client, and the page for secrets.

pub(super) mod elicit;
pub(super) mod secret_page;
