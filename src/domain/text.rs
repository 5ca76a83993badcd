//! What counts as blank in a text, as Python sees it. Knows nothing of fields.

/// Takes blanks from both ends, as Python's `str.strip()` does.
///
/// Python's idea of a blank is Unicode's, and the four separators U+001C to U+001F too.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_those_of_python() {
        let blanks = "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}\
                      \u{202f}\u{205f}\u{3000}";
        assert_eq!(trim(blanks), "");
        assert_eq!(trim(&format!("{blanks}a b{blanks}")), "a b");
        // Neither the zero-width space nor the byte order mark is one.
        assert_eq!(trim("\u{200b}"), "\u{200b}");
        assert_eq!(trim("\u{feff}"), "\u{feff}");
    }
}
