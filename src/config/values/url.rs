//! URLs and web origins.

use std::net::Ipv6Addr;

use super::{TextValue, digits};

/// The URL under which clients reach the server.
///
/// `http` or `https`, a host, optionally a port and a path, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Parses a URL; trailing slashes are dropped, scheme and host become lower case.
    ///
    /// `None` for user names, queries, fragments and characters that a URL has to percent-encode.
    pub fn parse(text: &str) -> Option<Self> {
        let parts = UrlParts::parse(text)?;
        matches!(parts.scheme.as_str(), "http" | "https").then_some(())?;
        let path = parts.rest.trim_end_matches('/');
        let path_is_plain = path
            .split('/')
            .skip(1)
            .all(|segment| is_path_segment(segment) && !matches!(segment, "" | "." | ".."));
        path_is_plain.then(|| Self(format!("{}{path}", parts.origin())))
    }

    /// The URL; paths that begin with a slash can be appended to it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TextValue for PublicUrl {
    const EXPECTED: &'static str =
        "an http or https URL without query and fragment such as https://accounts.example.com";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// A web origin (RFC 6454) in the form that browsers send in the `Origin` header.
///
/// Equal text therefore means the same origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CorsOrigin(String);

impl CorsOrigin {
    /// Parses `scheme://host` or `scheme://host:port`.
    ///
    /// Scheme and host become lower case and the default port of the scheme is dropped, as browsers
    /// do. `None` for anything else: `*`, `null`, a path, a trailing slash.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = UrlParts::parse(text)?;
        parts.rest.is_empty().then_some(())?;
        let implied = match parts.scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        if parts.port == implied {
            parts.port = None;
        }
        Some(Self(parts.origin()))
    }

    /// The origin of a URL with any path.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next().unwrap_or_default();
        Self::parse(&format!("{scheme}://{authority}"))
    }

    /// The value that the `Origin` header has to equal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TextValue for CorsOrigin {
    const EXPECTED: &'static str = "origins such as https://app.example.com or \
         http://localhost:5173, without a path or trailing slash";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// The host of a URL.
pub(in crate::config) fn host(url: &str) -> Option<String> {
    UrlParts::parse(url).map(|parts| parts.host)
}

/// The parts of `scheme://host:port/rest` that public URLs and origins share.
struct UrlParts {
    scheme: String,
    host: String,
    port: Option<u16>,
    /// Empty, or begins with a slash.
    rest: String,
}

impl UrlParts {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, after) = text.split_once("://")?;
        let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        (is_scheme(scheme) && (rest.is_empty() || rest.starts_with('/'))).then_some(())?;
        let (host, port) = split_port(authority)?;
        is_host(host).then(|| Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
            port,
            rest: rest.to_owned(),
        })
    }

    fn origin(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.scheme, self.host)
    }
}

/// Splits off a port, which is not 0. An IPv6 address in brackets has colons of its own.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[host_end..].rfind(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(host_end + colon);
            let port = digits(&port[1..]).filter(|port| *port != 0)?;
            Some((host, Some(port)))
        }
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Whether the text is a name in ASCII (`xn--` for others), an IPv4 address, or an IPv6 address in
/// brackets.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    text.split('.').all(is_label)
}

/// The characters `pchar` of RFC 3986, section 3.3.
fn is_path_segment(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_urls_lose_trailing_slashes() {
        for (text, expected) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/", "https://a.example"),
            ("HTTP://A.Example:8080//", "http://a.example:8080"),
            (
                "https://a.example/Accounts/x/",
                "https://a.example/Accounts/x",
            ),
            ("http://[::1]:8000", "http://[::1]:8000"),
        ] {
            assert_eq!(PublicUrl::parse(text).expect(text).as_str(), expected);
        }
        for text in [
            "",
            "a.example",
            "//a.example",
            "ftp://a.example",
            "https://",
            "https:///x",
            "https://a.example?x=1",
            "https://a.example/?x=1",
            "https://a.example/#top",
            "https://user@a.example",
            "https://a.example:0",
            "https://a.example:",
            "https://a.example:99999",
            "https://a..example",
            "https://a.example/a//b",
            "https://a.example/../b",
            "https://a.example/a b",
            "https://bücher.example",
        ] {
            assert_eq!(PublicUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn origins_are_normalised_as_browsers_do() {
        for (text, expected) in [
            ("https://App.example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(CorsOrigin::parse(text).expect(text).as_str(), expected);
        }
        for text in [
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/x",
            "https://*.example.com",
        ] {
            assert_eq!(CorsOrigin::parse(text), None, "{text}");
        }
    }
}
