//! Writes an error with all its causes, for logs and terminals.

use std::error::Error;

/// The error and its causes, outermost first, divided by colons.
///
/// A cause whose text the error before it already ends with is not repeated.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_follow_the_error_once() {
        let layer = |text| Layer {
            text,
            source: io::Error::other("disk full"),
        };
        assert_eq!(
            error_chain(&layer("cannot write")),
            "cannot write: disk full"
        );
        assert_eq!(error_chain(&layer("write: disk full")), "write: disk full");
    }
}
