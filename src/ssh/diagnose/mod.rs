//! What `doctor` needs: a connection explained stage by stage.

pub mod probe;
pub mod trace;
