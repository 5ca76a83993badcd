//! The address that the server listens on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{TextValue, digits};

/// Where to accept connections: an IP address or `localhost`, and a port.
///
/// Port 0 means any free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    /// `None` means `localhost`.
    ip: Option<IpAddr>,
    port: u16,
}

impl ListenAddr {
    /// An address from its parts.
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip: Some(ip), port }
    }

    /// Parses `127.0.0.1:8000`, `[::1]:8000` or `localhost:8000`.
    ///
    /// `None` for anything else, other host names included: what they resolve to may change while
    /// the server runs.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self::new(address.ip(), address.port()));
        }
        let (host, port) = text.split_once(':')?;
        (host.eq_ignore_ascii_case("localhost")).then_some(())?;
        let port = digits(port)?;
        Some(Self { ip: None, port })
    }

    /// The addresses to try in this order until one can be bound.
    ///
    /// A single one, except for `localhost`: the IPv4 loopback address comes first, the IPv6 one is
    /// for machines without IPv4.
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

    /// Whether this is `0.0.0.0` or `[::]`, which can be listened on but not linked to.
    pub fn is_unspecified(&self) -> bool {
        self.ip.is_some_and(|ip| ip.is_unspecified())
    }

    /// Whether only programs on this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.ip.is_none_or(|ip| ip.to_canonical().is_loopback())
    }

    /// The URL of the server: the scheme, the configured host, and the port that was bound.
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
    fn url_has_the_bound_port() {
        let url = |text, port| ListenAddr::parse(text).unwrap().url("http", port);
        assert_eq!(url("127.0.0.1:0", 4711), "http://127.0.0.1:4711");
        assert_eq!(url("[::1]:0", 80), "http://[::1]:80");
        assert_eq!(url("localhost:8000", 8000), "http://localhost:8000");
        assert!(ListenAddr::parse("0.0.0.0:1").unwrap().is_unspecified());
        assert!(!ListenAddr::parse("localhost:1").unwrap().is_unspecified());
    }
}
