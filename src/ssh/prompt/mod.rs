//! Asking the user.

pub mod approval;
pub mod as_root;
pub mod askpass;
pub mod pausable_clock;
pub mod program_input;
pub mod prompter;
