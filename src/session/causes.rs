//! Formatting of errors with their causes.

/// Formats an error with all its sources in a single line.
///
/// A source is left out if the text so far already contains it.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();

    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Errors whose message already includes their source would otherwise repeat it.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }

        cause = inner.source();
    }

    text
}
