//! Trimming text as Python does, and making foreign text safe for terminals.

use std::borrow::Cow;

/// Strips whitespace as Python's `str.strip()` does.
///
/// Python adds the separators U+001C to U+001F to Unicode's whitespace.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}'))
}

/// Replaces control characters and bidirectional marks in foreign text, for terminals.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_harmful) {
        Cow::Owned(text.replace(is_harmful, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trims_like_python() {
        let blanks = "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}\
                      \u{202f}\u{205f}\u{3000}";
        assert_eq!(trim(blanks), "");
        assert_eq!(trim(&format!("{blanks}a b{blanks}")), "a b");
        // Neither the zero-width space nor the byte order mark is whitespace.
        assert_eq!(trim("\u{200b}"), "\u{200b}");
        assert_eq!(trim("\u{feff}"), "\u{feff}");
    }

    #[test]
    fn foreign_text_cannot_control_the_terminal() {
        for (text, shown) in [
            ("Ada", "Ada"),
            ("Zo\u{eb} \u{738b}", "Zo\u{eb} \u{738b}"),
            ("\u{1b}[2Jgone\r\n", "\u{fffd}[2Jgone\u{fffd}\u{fffd}"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("a\u{202e}b\u{7f}", "a\u{fffd}b\u{fffd}"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }
}
