//! URLs of other servers, parsed once and normalised.
//!
//! Two parsers that read one URL differently are a classic way around checks, so everything that is
//! connected to, signed for or shown comes from this one value. It is parsed as browsers do (WHATWG):
//! `2130706433`, `0x7f.1` and `0177.0.0.1` are 127.0.0.1.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

/// Longest URL in characters, after normalisation too.
const MAX_CHARS: usize = 2000;

/// Longest DNS name in characters, and longest part of one (RFC 1035, section 2.3.4).
const MAX_NAME_CHARS: usize = 253;
const MAX_LABEL_CHARS: usize = 63;

/// Why a text is not such a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlProblem {
    /// It does not begin as it has to.
    #[error("it has to begin with https:// and a host name")]
    Scheme,
    /// It is too long.
    #[error("it has more than {} characters", MAX_CHARS)]
    TooLong,
    /// It contains what a URL cannot.
    #[error("it contains a blank, a control character or a backslash")]
    Characters,
    /// It contains a user name or password.
    #[error("it contains a user name or password")]
    Credentials,
    /// It has a fragment, which is never sent.
    #[error("it has a fragment (#…), which is never sent")]
    Fragment,
    /// The host is invalid.
    #[error("its host is neither a DNS name nor an IP address")]
    Host,
    /// The port is invalid.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// Anything else.
    #[error("it is not a URL")]
    Malformed,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum EndpointHost {
    /// A DNS name in ASCII and lower case, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// The URL of another server: `https` or `http`, a host, optionally port, path and query.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// The whole URL.
    text: String,
    is_https: bool,
    host: EndpointHost,
    port: u16,
    /// Length of scheme, host and port in `text`; the path follows.
    origin_length: usize,
}

impl EndpointUrl {
    /// Parses and normalises a URL: names in lower case and as `xn--`, no default port, no `..`.
    ///
    /// # Errors
    /// [`UrlProblem`], which names the first reason and may be shown.
    pub fn parse(text: &str) -> Result<Self, UrlProblem> {
        if text.chars().count() > MAX_CHARS {
            return Err(UrlProblem::TooLong);
        }
        // The WHATWG parser drops some of these and takes a backslash for a slash.
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err(UrlProblem::Characters);
        }
        let authority = written_authority(text).ok_or(UrlProblem::Scheme)?;
        if authority.contains('@') {
            return Err(UrlProblem::Credentials);
        }
        if authority.contains('%') {
            return Err(UrlProblem::Host);
        }
        let url = Url::parse(text).map_err(|e| match e {
            url::ParseError::InvalidPort => UrlProblem::Port,
            url::ParseError::EmptyHost
            | url::ParseError::IdnaError
            | url::ParseError::InvalidIpv4Address
            | url::ParseError::InvalidIpv6Address
            | url::ParseError::InvalidDomainCharacter => UrlProblem::Host,
            _ => UrlProblem::Malformed,
        })?;
        if url.fragment().is_some() {
            return Err(UrlProblem::Fragment);
        }
        let host = match url.host().ok_or(UrlProblem::Host)? {
            Host::Ipv4(ip) => EndpointHost::Address(ip.into()),
            Host::Ipv6(ip) => EndpointHost::Address(ip.into()),
            Host::Domain(name) => EndpointHost::Name(dns_name(name).ok_or(UrlProblem::Host)?),
        };
        let port = url
            .port_or_known_default()
            .filter(|port| *port != 0)
            .ok_or(UrlProblem::Port)?;
        let is_https = url.scheme() == "https";
        let mut text = format!("{}://{}", url.scheme(), authority_of(&host, url.port()));
        let origin_length = text.len();
        text.push_str(&url[url::Position::BeforePath..url::Position::AfterQuery]);
        if text.len() > MAX_CHARS {
            return Err(UrlProblem::TooLong);
        }
        Ok(Self {
            text,
            is_https,
            host,
            port,
            origin_length,
        })
    }

    /// The normalised URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether requests are encrypted.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The port, that of the scheme where the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn host(&self) -> &EndpointHost {
        &self.host
    }

    /// Scheme, host and port: servers with the same origin share connections.
    pub(super) fn origin(&self) -> &str {
        &self.text[..self.origin_length]
    }

    /// Host and port, as the `Host` header has them.
    pub fn authority(&self) -> &str {
        let scheme = if self.is_https { "https://" } else { "http://" };
        &self.text[scheme.len()..self.origin_length]
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        &self.text[self.origin_length..]
    }

    /// The name that the certificate has to be valid for.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        match &self.host {
            EndpointHost::Address(ip) => ServerName::IpAddress((*ip).into()),
            EndpointHost::Name(name) => ServerName::try_from(name.clone())
                .expect("a name is checked when the URL is parsed"),
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Without path and query, which may contain a secret.
impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointUrl({}/…)", self.origin())
    }
}

/// Host and port as they are written after `http://` or `https://`.
fn written_authority(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let is_known = ["https", "http"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    (is_known && end > 0).then(|| &rest[..end])
}

/// A DNS name without the dot at its end; `None` where a certificate cannot be for it.
fn dns_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=MAX_LABEL_CHARS).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_name = name.len() <= MAX_NAME_CHARS && name.split('.').all(is_label);
    let is_for_tls = matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_)));
    (is_name && is_for_tls).then(|| name.to_owned())
}

fn authority_of(host: &EndpointHost, port: Option<u16>) -> String {
    let host = match host {
        EndpointHost::Name(name) => name.clone(),
        EndpointHost::Address(IpAddr::V4(ip)) => ip.to_string(),
        EndpointHost::Address(IpAddr::V6(ip)) => format!("[{ip}]"),
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalised() {
        for (text, expected) in [
            ("https://example.com", "https://example.com/"),
            (
                "HTTPS://Example.COM:443/A/../b?x=1",
                "https://example.com/b?x=1",
            ),
            ("https://example.com./hook", "https://example.com/hook"),
            ("http://example.com:80/", "http://example.com/"),
            ("http://example.com:8080", "http://example.com:8080/"),
            (
                "https://bücher.example/ü",
                "https://xn--bcher-kva.example/%C3%BC",
            ),
            ("https://my_host:8443/", "https://my_host:8443/"),
            ("https://example.com?x=1", "https://example.com/?x=1"),
            (
                "https://[2001:DB8::1]:8443/x",
                "https://[2001:db8::1]:8443/x",
            ),
            // Other ways to write 127.0.0.1 and 8.8.8.8.
            ("https://2130706433/", "https://127.0.0.1/"),
            ("https://0x7f000001/", "https://127.0.0.1/"),
            ("https://0x7f.1/", "https://127.0.0.1/"),
            ("https://0177.0.0.1/", "https://127.0.0.1/"),
            ("https://127.1/", "https://127.0.0.1/"),
            ("https://127.0.0.1./", "https://127.0.0.1/"),
            ("https://①②⑦.⓪.⓪.①/", "https://127.0.0.1/"),
            ("https://134744072/", "https://8.8.8.8/"),
            ("https://[::ffff:127.0.0.1]/", "https://[::ffff:127.0.0.1]/"),
        ] {
            let url = EndpointUrl::parse(text).map_err(|e| format!("{text}: {e}"));
            let url = url.unwrap();
            assert_eq!(url.as_str(), expected, "{text}");
            assert_eq!(EndpointUrl::parse(expected).as_ref(), Ok(&url));
            assert_eq!(format!("{}{}", url.origin(), url.target()), expected);
            assert!(url.origin().ends_with(url.authority()), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        let long_label = format!("https://{}.example/", "a".repeat(64));
        let long_name = format!("https://{}example/", "abcdefg.".repeat(40));
        let long_path = format!("https://example.com/{}", "a".repeat(2000));
        let grows = format!("https://example.com/{}", "ü".repeat(500));
        for (text, problem) in [
            ("", UrlProblem::Scheme),
            ("example.com", UrlProblem::Scheme),
            ("//example.com", UrlProblem::Scheme),
            ("https:example.com", UrlProblem::Scheme),
            ("https:///example.com", UrlProblem::Scheme),
            ("https://", UrlProblem::Scheme),
            ("https://?x", UrlProblem::Scheme),
            ("ftp://example.com", UrlProblem::Scheme),
            ("file:///etc/passwd", UrlProblem::Scheme),
            ("gopher://example.com", UrlProblem::Scheme),
            ("javascript:alert(1)//://", UrlProblem::Scheme),
            ("https://user@example.com", UrlProblem::Credentials),
            ("https://:secret@example.com", UrlProblem::Credentials),
            ("https://@example.com", UrlProblem::Credentials),
            ("https://example.com@127.0.0.1/", UrlProblem::Credentials),
            ("https://example.com#top", UrlProblem::Fragment),
            ("https://example.com/#", UrlProblem::Fragment),
            ("https://exa mple.com", UrlProblem::Characters),
            (" https://example.com", UrlProblem::Characters),
            ("https://example.com/a\tb", UrlProblem::Characters),
            ("https://example.com/\r\nHost: x", UrlProblem::Characters),
            ("https://example.com\\@127.0.0.1/", UrlProblem::Characters),
            ("https:\\\\example.com", UrlProblem::Characters),
            ("https://exa%6dple.com", UrlProblem::Host),
            ("https://[fe80::1%25eth0]/", UrlProblem::Host),
            ("https://[fe80::1%eth0]/", UrlProblem::Host),
            ("https://[::1/", UrlProblem::Host),
            ("https://::1/", UrlProblem::Host),
            ("https://a..example", UrlProblem::Host),
            ("https://.example", UrlProblem::Host),
            ("https://.", UrlProblem::Host),
            ("https://256.256.256.256", UrlProblem::Host),
            ("https://1.2.3.4.5", UrlProblem::Host),
            ("https://example.0x7f000001", UrlProblem::Host),
            ("https://exam*ple.com", UrlProblem::Host),
            ("https://example.com:0", UrlProblem::Port),
            ("https://example.com:65536", UrlProblem::Port),
            ("https://example.com:x", UrlProblem::Port),
            (&long_label, UrlProblem::Host),
            (&long_name, UrlProblem::Host),
            (&long_path, UrlProblem::TooLong),
            (&grows, UrlProblem::TooLong),
        ] {
            assert_eq!(EndpointUrl::parse(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn debug_output_hides_the_path() {
        let url = EndpointUrl::parse("https://hooks.example/T0/secret?token=x").unwrap();
        assert_eq!(format!("{url:?}"), "EndpointUrl(https://hooks.example/…)");
    }
}
