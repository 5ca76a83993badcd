//! Redirect URIs: which may be registered, and which requested one is a registered one.
//!
//! A code is sent where the redirect URI says. So requested URIs are compared with registered ones
//! as texts (RFC 9700, section 2.1), never by their meaning; the one exception is the port on a
//! loopback address, which native apps cannot know beforehand (RFC 8252, section 7.3). What may be
//! registered has one form alone, so that browsers cannot read it in another way.

use std::fmt;

/// Longest redirect URI, in characters.
const LENGTH: usize = 2000;

/// Why a URI cannot be registered as a redirect URI. The text says what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidRedirectUri {
    /// Not an absolute URI, or one with characters that have to be percent-encoded.
    NotAUri,
    /// It has a fragment (RFC 6749, section 3.1.2).
    Fragment,
    /// It has a user name before the host.
    UserInfo,
    /// The host or the port is missing or malformed.
    Host,
    /// It is `http` on a host other than this device.
    PlainHttp,
    /// The scheme is neither `https` nor one of an app.
    Scheme,
    /// It is too long.
    TooLong,
}

impl fmt::Display for InvalidRedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUri => {
                "is not an absolute URI such as https://app.example.com/callback; other characters \
                 than those of URIs have to be percent-encoded"
            }
            Self::Fragment => "has a fragment; remove what begins with #",
            Self::UserInfo => "has a user name before the host; remove it",
            Self::Host => {
                "has no valid host; expected something like https://app.example.com/callback, in \
                 lower case"
            }
            Self::PlainHttp => {
                "is not encrypted; use https, which http may replace on 127.0.0.1, [::1] and \
                 localhost alone"
            }
            Self::Scheme => {
                "has a scheme that is not allowed; use https, or for an app a reversed domain name \
                 such as com.example.app:/callback"
            }
            Self::TooLong => "is too long; at most 2000 characters are allowed",
        })
    }
}

impl std::error::Error for InvalidRedirectUri {}

/// What kind of client a redirect URI leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A website.
    Web,
    /// A loopback address, on any port.
    LoopbackAddress,
    /// `localhost`, on this port alone: which address it is depends on the device (RFC 8252,
    /// section 8.3).
    Localhost,
    /// A scheme that belongs to an app (RFC 8252, section 7.1).
    PrivateScheme,
}

/// A redirect URI that may be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectUri {
    text: String,
    kind: Kind,
}

impl RedirectUri {
    /// Checks a URI.
    ///
    /// # Errors
    /// Why it may not be registered.
    pub fn parse(text: &str) -> Result<Self, InvalidRedirectUri> {
        if text.len() > LENGTH {
            return Err(InvalidRedirectUri::TooLong);
        }
        if text.contains('#') {
            return Err(InvalidRedirectUri::Fragment);
        }
        let (scheme, rest) = text.split_once(':').ok_or(InvalidRedirectUri::NotAUri)?;
        if !is_scheme(scheme) || !has_uri_characters(rest) {
            return Err(InvalidRedirectUri::NotAUri);
        }
        let kind = match scheme {
            "https" => {
                Authority::parse(rest)?;
                Kind::Web
            }
            "http" => match Authority::parse(rest)?.host {
                "127.0.0.1" | "[::1]" => Kind::LoopbackAddress,
                "localhost" => Kind::Localhost,
                _ => return Err(InvalidRedirectUri::PlainHttp),
            },
            _ if is_reversed_domain(scheme) && !rest.is_empty() => Kind::PrivateScheme,
            _ => return Err(InvalidRedirectUri::Scheme),
        };
        Ok(Self {
            text: text.to_owned(),
            kind,
        })
    }

    /// The URI as it was registered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it leads to an app on a device of the user, where other programs could listen too.
    pub fn is_native(&self) -> bool {
        self.kind != Kind::Web
    }

    /// Whether an answer may be sent to this URI.
    pub fn allows(&self, requested: &str) -> bool {
        if requested == self.text {
            return true;
        }
        let (Kind::LoopbackAddress, Ok(other)) = (self.kind, Self::parse(requested)) else {
            return false;
        };
        other.kind == Kind::LoopbackAddress && without_port(&other.text) == without_port(&self.text)
    }

    /// Whether a page of this origin, as in the header `Origin`, is one of its website.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let Some((scheme, rest)) = self.text.split_once(':') else {
            return false;
        };
        let Ok(own) = Authority::parse(rest) else {
            return false;
        };
        let Some((other_scheme, other_rest)) = origin.split_once(':') else {
            return false;
        };
        let Ok(other) = Authority::parse(other_rest) else {
            return false;
        };
        self.kind != Kind::PrivateScheme
            && scheme == other_scheme
            && own.host == other.host
            && other.after.is_empty()
            && (self.kind == Kind::LoopbackAddress || own.port(scheme) == other.port(scheme))
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What follows the scheme of a URI with a host.
struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
    /// Path and query; empty, or begins with `/` or `?`.
    after: &'a str,
}

impl<'a> Authority<'a> {
    fn parse(rest: &'a str) -> Result<Self, InvalidRedirectUri> {
        let rest = rest.strip_prefix("//").ok_or(InvalidRedirectUri::NotAUri)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        if authority.contains('@') {
            return Err(InvalidRedirectUri::UserInfo);
        }
        let host_end = authority.find(']').map_or(0, |at| at + 1);
        let colon = authority[host_end..].find(':').map(|at| host_end + at);
        let (host, port) = match colon {
            None => (authority, None),
            Some(at) => {
                let port = &authority[at + 1..];
                // One spelling alone: no leading zeros, no sign.
                let is_plain = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
                let port = port.parse().ok().filter(|_| is_plain);
                let port = port.ok_or(InvalidRedirectUri::Host)?;
                (&authority[..at], Some(port))
            }
        };
        match is_host(host) {
            true => Ok(Self { host, port, after }),
            false => Err(InvalidRedirectUri::Host),
        }
    }

    /// The port, which the scheme implies when it is not written.
    fn port(&self, scheme: &str) -> u16 {
        let implied = if scheme == "http" { 80 } else { 443 };
        self.port.unwrap_or(implied)
    }
}

/// A URI on a loopback address in two parts, without the port between them.
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let (_, rest) = uri.split_once(':')?;
    let authority = Authority::parse(rest).ok()?;
    Some((authority.host, authority.after))
}

/// A scheme in lower case (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// A domain name in reverse, such as `com.example.app`, of which an app is the owner.
fn is_reversed_domain(scheme: &str) -> bool {
    scheme.contains('.') && scheme.split('.').all(|label| !label.is_empty())
}

/// A host name in lower case, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or_default();
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(is_plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Whether a text consists of the characters of URIs, with valid percent-encoding (RFC 3986).
///
/// The brackets of IPv6 addresses are checked with the host; elsewhere they are refused.
fn has_uri_characters(rest: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%[]".contains(&b);
    let after_host = rest.strip_prefix("//").unwrap_or(rest);
    let path = after_host
        .find(['/', '?'])
        .map_or("", |at| &after_host[at..]);
    rest.bytes().all(is_plain)
        && !path.contains(['[', ']'])
        && rest.split('%').skip(1).all(|after| {
            let digits = after.as_bytes().get(..2);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> RedirectUri {
        RedirectUri::parse(text).unwrap_or_else(|e| panic!("{text} {e}"))
    }

    #[test]
    fn websites_apps_and_loopback_are_accepted() {
        for (text, is_native) in [
            ("https://app.example.com/callback", false),
            ("https://app.example.com", false),
            ("https://app.example.com:8443/a/b?c=d&e=%20", false),
            ("https://[2001:db8::1]/cb", false),
            ("https://localhost/cb", false),
            ("http://127.0.0.1/cb", true),
            ("http://127.0.0.1:8000/cb?x", true),
            ("http://[::1]:8000", true),
            ("http://localhost:3000/cb", true),
            ("com.example.app:/callback", true),
            ("com.example.app:callback", true),
            ("com.example.app://callback", true),
        ] {
            assert_eq!(uri(text).is_native(), is_native, "{text}");
        }
    }

    #[test]
    fn dangerous_and_ambiguous_uris_are_refused() {
        use InvalidRedirectUri as E;
        for (text, error) in [
            ("", E::NotAUri),
            ("/callback", E::NotAUri),
            ("//app.example.com/cb", E::NotAUri),
            ("app.example.com/cb", E::NotAUri),
            ("https:/app.example.com", E::NotAUri),
            ("https:app.example.com", E::NotAUri),
            ("HTTPS://app.example.com/cb", E::NotAUri),
            (" https://app.example.com/cb", E::NotAUri),
            ("https://app.example.com/ cb", E::NotAUri),
            ("https://app.example.com/\tcb", E::NotAUri),
            ("https://app.example.com\\@evil.example/", E::NotAUri),
            ("https://app.example.com/ü", E::NotAUri),
            ("https://app.example.com/%zz", E::NotAUri),
            ("https://app.example.com/%2", E::NotAUri),
            ("https://app.example.com/cb#", E::Fragment),
            ("https://app.example.com/cb#x", E::Fragment),
            ("https://app.example.com@evil.example/", E::UserInfo),
            ("https://user:password@app.example.com/", E::UserInfo),
            ("https://", E::Host),
            ("https:///cb", E::Host),
            ("https://APP.example.com/cb", E::Host),
            ("https://*.example.com/cb", E::Host),
            ("https://app..example.com/cb", E::Host),
            ("https://app.example.com./cb", E::Host),
            ("https://-a.example/cb", E::Host),
            ("https://app.example.com:/cb", E::Host),
            ("https://app.example.com:0/cb", E::Host),
            ("https://app.example.com:080/cb", E::Host),
            ("https://app.example.com:65536/cb", E::Host),
            ("https://[::1/cb", E::Host),
            ("https://%61pp.example.com/cb", E::Host),
            ("http://app.example.com/cb", E::PlainHttp),
            ("http://127.0.0.2/cb", E::PlainHttp),
            ("http://127.1/cb", E::PlainHttp),
            ("http://[::ffff:127.0.0.1]/cb", E::PlainHttp),
            ("http://localhost.example.com/cb", E::PlainHttp),
            ("javascript:alert(1)", E::Scheme),
            ("data:text/html,x", E::Scheme),
            ("vbscript:x", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("blob:https://app.example.com/x", E::Scheme),
            ("myapp://callback", E::Scheme),
            ("urn:ietf:wg:oauth:2.0:oob", E::Scheme),
            ("com.example.app:", E::Scheme),
            ("com..app:/cb", E::Scheme),
            ("mailto:root@example.com", E::Scheme),
        ] {
            assert_eq!(RedirectUri::parse(text).err(), Some(error), "{text}");
        }
        let long = format!("https://app.example.com/{}", "x".repeat(2000));
        assert_eq!(RedirectUri::parse(&long), Err(E::TooLong));
    }

    #[test]
    fn requested_uris_match_exactly() {
        let registered = "https://app.example.com/cb?x=1";
        assert!(uri(registered).allows(registered));
        for other in [
            "https://app.example.com/cb",
            "https://app.example.com/cb?x=1&y=2",
            "https://app.example.com/cb?x=1#",
            "https://app.example.com:443/cb?x=1",
            "https://app.example.com/CB?x=1",
            "https://app.example.com/./cb?x=1",
            "https://app.example.com/%63b?x=1",
            "https://app.example.com.evil.example/cb?x=1",
            "http://app.example.com/cb?x=1",
            "",
        ] {
            assert!(!uri(registered).allows(other), "{other}");
        }
        assert!(!uri("com.example.app:/cb").allows("com.example.app:/cb2"));
        assert!(!uri("http://localhost/cb").allows("http://localhost:4711/cb"));
    }

    #[test]
    fn loopback_addresses_match_on_any_port() {
        for registered in ["http://127.0.0.1/cb", "http://127.0.0.1:1234/cb"] {
            for port in ["", ":1", ":1234", ":65535"] {
                let requested = format!("http://127.0.0.1{port}/cb");
                assert!(uri(registered).allows(&requested), "{requested}");
            }
            for other in [
                "http://127.0.0.1:0/cb",
                "http://127.0.0.1:65536/cb",
                "http://127.0.0.1:/cb",
                "http://127.0.0.1:1/cb/",
                "http://127.0.0.1:1/cb?x",
                "http://[::1]:1/cb",
                "http://localhost:1/cb",
                "http://127.0.0.1:1@evil.example/cb",
                "https://127.0.0.1:1/cb",
            ] {
                assert!(!uri(registered).allows(other), "{other}");
            }
        }
        assert!(uri("http://[::1]/cb").allows("http://[::1]:4711/cb"));
        // A website's port is part of it.
        assert!(!uri("https://127.0.0.1/cb").allows("https://127.0.0.1:4711/cb"));
    }

    #[test]
    fn origins_are_those_of_the_website() {
        for (registered, origin, is_allowed) in [
            ("https://a.example/cb", "https://a.example", true),
            ("https://a.example:443/cb", "https://a.example", true),
            ("https://a.example:8443/cb", "https://a.example:8443", true),
            ("https://a.example:8443/cb", "https://a.example", false),
            ("https://a.example/cb", "http://a.example", false),
            ("https://a.example/cb", "https://a.example/cb", false),
            ("https://a.example/cb", "https://b.a.example", false),
            ("https://a.example/cb", "null", false),
            ("http://localhost:3000/cb", "http://localhost:3000", true),
            ("http://localhost:3000/cb", "http://localhost:3001", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:4711", true),
            ("com.example.app://cb", "com.example.app://cb", false),
        ] {
            let allows = uri(registered).allows_origin(origin);
            assert_eq!(allows, is_allowed, "{registered} {origin}");
        }
    }
}
