//! The types of settings that have a form of their own, and how each is read from and written as text.
//!
//! Owns parsing and normalising; every type can be built by `parse` alone, so that whoever holds one knows its form to be
//! right. Deliberately does not know which settings there are, where a value came from or how a mistake is reported.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

/// A value that is written as one piece of text.
pub(super) trait TextValue: Sized {
    /// What a right value looks like, to follow the word "expected".
    const EXPECTED: &'static str;

    /// Reads the text; `None` when it has another form.
    fn parse(text: &str) -> Option<Self>;

    /// The text that `parse` reads to the same value.
    fn text(&self) -> String;
}

/// Something that must not reach a log, an error message or a terminal: `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps the value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where to accept connections: an IP address or `localhost`, and a port, of which 0 means any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    /// `None` stands for `localhost`.
    ip: Option<IpAddr>,
    port: u16,
}

impl ListenAddr {
    /// An address that needs no parsing.
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip: Some(ip), port }
    }

    /// Reads `127.0.0.1:8000`, `[::1]:8000` or `localhost:8000`. `None` for anything else, other host names too: what
    /// such a name stands for may change while the server runs.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self::new(address.ip(), address.port()));
        }
        let (host, port) = text.split_once(':')?;
        (host.eq_ignore_ascii_case("localhost")).then_some(())?;
        let port = digits(port)?;
        Some(Self { ip: None, port })
    }

    /// The addresses to try in this order until one can be bound. It is a single one except for `localhost`, which is the
    /// IPv4 loopback address, or the IPv6 one on a machine that has no other.
    pub fn socket_addrs(&self) -> Vec<SocketAddr> {
        match self.ip {
            Some(ip) => vec![SocketAddr::new(ip, self.port)],
            None => vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, self.port)),
            ],
        }
    }

    /// The port; 0 lets the system choose.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether this is `0.0.0.0` or `[::]`, all addresses of the machine: good to listen on, no address to put in a link.
    pub fn is_unspecified(&self) -> bool {
        self.ip.is_some_and(|ip| ip.is_unspecified())
    }

    /// Whether only programs on this machine reach it.
    pub fn is_loopback(&self) -> bool {
        self.ip.is_none_or(|ip| ip.to_canonical().is_loopback())
    }

    /// The scheme, the host as configured and the given port, the one that was bound where the configured one is 0.
    pub fn url(&self, scheme: &str, port: u16) -> String {
        format!("{scheme}://{}", Self { ip: self.ip, port })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, "localhost:{}", self.port),
        }
    }
}

impl TextValue for ListenAddr {
    const EXPECTED: &'static str =
        "an address and a port such as 127.0.0.1:8000, [::1]:8000 or localhost:8000";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// The URL under which clients reach the server: `http` or `https`, a host, perhaps a port and a path, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Reads a URL; slashes at its end are dropped, scheme and host come out in lower case. `None` for user names, queries,
    /// fragments and characters that a URL has to write with `%`.
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

    /// The URL, to which paths that begin with a slash are appended.
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

/// A web origin (RFC 6454) the way browsers write it into the header `Origin`, so that equal text means the same origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`. Scheme and host come out in lower case and a port that the scheme
    /// implies is dropped, as browsers do. `None` for anything else: `*`, `null`, a path, a slash at the end.
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

    /// What the header `Origin` has to equal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TextValue for Origin {
    const EXPECTED: &'static str = "origins such as https://app.example.com or http://localhost:5173, without path or slash at the end";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// Addresses of proxies whose forwarding headers count: one IP address or a network in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyNetwork(IpNet);

impl ProxyNetwork {
    /// Reads `10.1.2.3`, `10.0.0.0/8`, `::1` or `fd00::/8`. Host bits are cleared and an IPv4 network that is written as
    /// part of IPv6 (`::ffff:10.0.0.0/104`) becomes the IPv4 network that it stands for.
    pub fn parse(text: &str) -> Option<Self> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().ok()?.trunc(),
        };
        Some(Self(unmapped(network)))
    }

    /// Whether the address lies within. An IPv4 client of an IPv6 socket (`::ffff:10.1.2.3`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// The first 96 bits of every IPv4-mapped IPv6 address are fixed (RFC 4291, section 2.5.5.2).
const MAPPED_PREFIX_BITS: u8 = 96;

fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else {
        return network;
    };
    let ipv4 = six.addr().to_ipv4_mapped();
    let bits = six.prefix_len().checked_sub(MAPPED_PREFIX_BITS);
    match ipv4.zip(bits).map(|(ip, bits)| Ipv4Net::new(ip, bits)) {
        Some(Ok(four)) => IpNet::V4(four),
        _ => network,
    }
}

impl TextValue for ProxyNetwork {
    const EXPECTED: &'static str = "IP addresses or networks such as 10.0.0.0/8";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn text(&self) -> String {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().to_string()
        } else {
            self.0.to_string()
        }
    }
}

/// The ways to hand over a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTransportKind {
    /// To the server of `smtp_url`.
    Smtp,
    /// Printed to standard output.
    Stdout,
    /// To the local `sendmail` program.
    Sendmail,
    /// As one file each into `dir`.
    File,
}

impl MailTransportKind {
    const ALL: [Self; 4] = [Self::Smtp, Self::Stdout, Self::Sendmail, Self::File];

    /// The name in file, environment and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Stdout => "stdout",
            Self::Sendmail => "sendmail",
            Self::File => "file",
        }
    }
}

impl TextValue for MailTransportKind {
    const EXPECTED: &'static str = "one of smtp, stdout, sendmail and file";

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl TextValue for LogFormat {
    const EXPECTED: &'static str = "text or json";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

/// Whether the text says what is to be logged, as env_logger reads it: levels, alone or behind the path of a module.
pub(super) fn is_log_filter(text: &str) -> bool {
    let is_level = |level: &str| level.parse::<log::LevelFilter>().is_ok();
    let is_path = |path: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        !path.is_empty() && path.chars().all(is_part)
    };
    text.split(',').all(|piece| match piece.split_once('=') {
        Some((path, level)) => is_path(path) && is_level(level),
        None => is_level(piece),
    })
}

/// Whether lettre, which writes the header `From`, can read the text as one mailbox with or without a name.
pub(super) fn is_mailbox(text: &str) -> bool {
    is_one_line(text) && text.parse::<lettre::message::Mailbox>().is_ok()
}

/// Whether the text could be the URL of a mail server. The finer points, such as `?tls=`, are for the mail transport to
/// read; this is to notice at the start what is no such URL at all.
pub(super) fn is_smtp_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    matches!(scheme, "smtp" | "smtps")
        && !text.contains(char::is_whitespace)
        && is_one_line(text)
        && split_port(host_and_port).is_some_and(|(host, _)| !host.is_empty())
}

/// Whether a name could be an address and a value a one-time password.
pub(super) fn is_fixed_otp(address: &str, otp: &str) -> bool {
    is_one_line(address)
        && address.contains('@')
        && otp.len() == 6
        && otp.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the text is free of line ends and other control characters, and so can go into a header or a token.
pub(super) fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether a file can have this name.
pub(super) fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// A number in decimal digits alone: `FromStr` of the integer types would also take a sign.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    (text.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    text.parse().ok()
}

/// The pieces of `scheme://host:port/rest` that public URLs and origins have in common.
struct UrlParts {
    scheme: String,
    host: String,
    port: Option<u16>,
    /// Empty or beginning with a slash.
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

/// Splits a port from 1 on off the end, minding that an IPv6 address in brackets has colons of its own.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
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

/// A name in ASCII (others in their `xn--` form, as they go over the wire), an IPv4 address or an IPv6 address in brackets.
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

/// A span of time of at least a minute and at most a year, as `90m`, `6h` or `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(Duration);

impl Interval {
    const DAY: u64 = 24 * 3600;
    /// What a number can be followed by, and how many seconds each is; the longest first.
    const UNITS: [(char, u64); 3] = [('d', Self::DAY), ('h', 3600), ('m', 60)];

    /// A span of so many days, of which there are no more than 365.
    pub const fn days(days: u8) -> Self {
        Self(Duration::from_secs(days as u64 * Self::DAY))
    }

    /// How long it is.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TextValue for Interval {
    const EXPECTED: &'static str = "a span of time such as 90m, 6h or 1d, from a minute to a year";

    fn parse(text: &str) -> Option<Self> {
        let (_, unit) = Self::UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
        let count: u64 = digits(&text[..text.len() - 1])?;
        let seconds = count.checked_mul(*unit)?;
        (60..=365 * Self::DAY)
            .contains(&seconds)
            .then(|| Self(Duration::from_secs(seconds)))
    }

    fn text(&self) -> String {
        let seconds = self.0.as_secs();
        let (unit, length) = Self::UNITS
            .into_iter()
            .find(|(_, length)| seconds.is_multiple_of(*length))
            .expect("an interval is a number of minutes");
        format!("{}{unit}", seconds / length)
    }
}

/// A text that has not the form which a setting wants. Its `Display` says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidValue(&'static str);

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for InvalidValue {}

macro_rules! from_str {
    ($($Value:ty),+) => { $(
        impl std::str::FromStr for $Value {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::parse(text).ok_or(InvalidValue(<Self as TextValue>::EXPECTED))
            }
        }
    )+ };
}

from_str!(ListenAddr, PublicUrl, Origin, ProxyNetwork, Interval);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_ip_or_localhost_with_a_port() {
        for text in [
            "127.0.0.1:8000",
            "0.0.0.0:0",
            "[::1]:65535",
            "localhost:8000",
        ] {
            let address = ListenAddr::parse(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "8000",
            ":8000",
            "127.0.0.1",
            "localhost",
            "localhost:",
            "localhost:+80",
            "localhost:65536",
            "example.com:80",
            "::1:80",
            " 127.0.0.1:80",
        ] {
            assert_eq!(ListenAddr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn localhost_is_tried_as_ipv4_first() {
        let addresses = ListenAddr::parse("localhost:80").unwrap().socket_addrs();
        let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["127.0.0.1:80", "[::1]:80"]);
    }

    #[test]
    fn listen_address_as_url_has_the_port_that_was_bound() {
        let url = |text, port| ListenAddr::parse(text).unwrap().url("http", port);
        assert_eq!(url("127.0.0.1:0", 4711), "http://127.0.0.1:4711");
        assert_eq!(url("[::1]:0", 80), "http://[::1]:80");
        assert_eq!(url("localhost:8000", 8000), "http://localhost:8000");
        assert!(ListenAddr::parse("0.0.0.0:1").unwrap().is_unspecified());
        assert!(!ListenAddr::parse("localhost:1").unwrap().is_unspecified());
    }

    #[test]
    fn public_urls_lose_the_slash_at_their_end() {
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
    fn origins_come_out_as_browsers_write_them() {
        for (text, expected) in [
            ("https://App.example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(Origin::parse(text).expect(text).as_str(), expected);
        }
        for text in [
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/x",
            "https://*.example.com",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn proxy_networks_contain_their_addresses_in_either_notation() {
        let contains = |network: &str, address: &str| {
            ProxyNetwork::parse(network)
                .expect(network)
                .contains(address.parse().expect(address))
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.255.0.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.255.0.1"));
        assert!(contains("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(contains("127.0.0.1", "127.0.0.1"));
        assert!(contains("fd00::/8", "fd12::1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(!contains("127.0.0.1", "127.0.0.2"));
        assert!(!contains("::/0", "10.0.0.1"));
        for text in ["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.1:80"] {
            assert_eq!(ProxyNetwork::parse(text), None, "{text}");
        }
    }

    #[test]
    fn proxy_networks_are_written_in_short() {
        let written = |text| ProxyNetwork::parse(text).unwrap().text();
        assert_eq!(written("127.0.0.1/32"), "127.0.0.1");
        assert_eq!(written("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(written("::1"), "::1");
    }

    #[test]
    fn mailboxes_and_smtp_urls() {
        assert!(is_mailbox("accounts-server <accounts@localhost>"));
        assert!(is_mailbox("accounts@example.com"));
        assert!(!is_mailbox("accounts"));
        assert!(!is_mailbox("a@example.com, b@example.com"));
        assert!(!is_mailbox("a <a@example.com>\r\nBcc: b@example.com"));

        assert!(is_smtp_url(
            "smtps://user%40x:p%3Aw@mail.example.com:465?tls=required"
        ));
        assert!(is_smtp_url("smtp://[::1]:2525"));
        assert!(is_smtp_url("smtp://localhost"));
        for text in [
            "mail.example.com",
            "http://mail.example.com",
            "smtp://",
            "smtp://user@",
            "smtp://a b",
            "smtp://host:port",
        ] {
            assert!(!is_smtp_url(text), "{text}");
        }
    }

    #[test]
    fn intervals_are_numbers_with_a_unit() {
        for (text, seconds, written) in [
            ("1m", 60, "1m"),
            ("90m", 5400, "90m"),
            ("120m", 7200, "2h"),
            ("24h", 86_400, "1d"),
            ("365d", 31_536_000, "365d"),
        ] {
            let interval = Interval::parse(text).expect(text);
            assert_eq!(interval.duration().as_secs(), seconds);
            assert_eq!(interval.text(), written);
        }
        for text in [
            "",
            "d",
            "0m",
            "1",
            "1s",
            "-1d",
            "+1d",
            "1.5h",
            "366d",
            "1 d",
            "1D",
            "99999999999999999999m",
        ] {
            assert_eq!(Interval::parse(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.expose(), "hunter2");
    }
}
