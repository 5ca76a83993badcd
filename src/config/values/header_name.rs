//! The names of request headers.

use super::TextValue;

/// The name of an HTTP header (RFC 9110, section 5.1), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderName(String);

impl HeaderName {
    /// Parses a name; `None` when it has other characters than a token.
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        (!text.is_empty() && text.bytes().all(is_token)).then(|| Self(text.to_ascii_lowercase()))
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TextValue for HeaderName {
    const EXPECTED: &'static str = "header names such as X-Request-Id";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_tokens() {
        let parse = |text| HeaderName::parse(text).map(|name| name.text());
        assert_eq!(parse("X-Trace-Id").as_deref(), Some("x-trace-id"));
        for text in ["", "x trace", "x:", "x\n", "\u{fc}ber"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
