//! Where browsers are sent back to from external providers.

use super::super::risks::is_loopback_url;
use super::{TextValue, url::host};

/// Schemes that run or show content instead of opening an app.
const REFUSED_SCHEMES: [&str; 9] = [
    "javascript",
    "data",
    "vbscript",
    "file",
    "blob",
    "about",
    "filesystem",
    "ftp",
    "ws",
];

/// A redirect URI of one's own app, which has to match exactly.
///
/// `https`, `http` on loopback, or the scheme of an app (RFC 8252, section 7.1); no fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRedirectUri(String);

impl AppRedirectUri {
    /// Reads a URI; `None` when it can be none of an app.
    pub fn parse(text: &str) -> Option<Self> {
        <Self as TextValue>::parse(text)
    }

    /// The URI as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TextValue for AppRedirectUri {
    const EXPECTED: &'static str = "redirect URIs such as https://app.example.com/callback, \
         http://localhost:5173/callback or com.example.app:/callback, without a fragment";

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let scheme_is_plain = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let is_plain = text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\\\"<>^`{|}#".contains(&b));
        (scheme_is_plain && is_plain && !rest.is_empty()).then_some(())?;
        // Of a URL with a query only what is in front of it has a host.
        let bare = text.split('?').next().unwrap_or(text);
        let is_allowed = match scheme.to_ascii_lowercase().as_str() {
            "https" => host(bare).is_some(),
            "http" => host(bare).is_some() && is_loopback_url(bare),
            scheme => !REFUSED_SCHEMES.contains(&scheme),
        };
        is_allowed.then(|| Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_uris_are_of_websites_and_apps() {
        for text in [
            "https://app.example.com/callback",
            "https://app.example.com/callback?from=x",
            "http://localhost:5173/callback",
            "http://127.0.0.1:8080/",
            "http://[::1]/",
            "com.example.app:/callback",
            "myapp://callback",
        ] {
            assert!(AppRedirectUri::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "/callback",
            "app.example.com/callback",
            "https://",
            "https://user@app.example.com/",
            "https://app.example.com/#top",
            "https://app.example.com/a b",
            "http://app.example.com/",
            "javascript:alert(1)",
            "data:text/html,x",
            "myapp:",
            "my app://x",
        ] {
            assert!(AppRedirectUri::parse(text).is_none(), "{text}");
        }
    }
}
