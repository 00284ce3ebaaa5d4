//! One tool call: its parameters, its progress, its report, its error and hint.

pub(super) mod hints;
pub(super) mod params;
pub(super) mod progress;
pub(super) mod report;
pub(super) mod running;
pub(super) mod tool_error;
