//! Networks by their addresses.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::TextValue;

/// One IP address or a network in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpNetwork(IpNet);

impl IpNetwork {
    /// Parses `10.1.2.3`, `10.0.0.0/8`, `::1` or `fd00::/8`.
    ///
    /// Host bits are cleared, and an IPv4-mapped IPv6 network (`::ffff:10.0.0.0/104`) becomes the
    /// IPv4 network.
    pub fn parse(text: &str) -> Option<Self> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().ok()?.trunc(),
        };
        Some(Self(unmapped(network)))
    }

    /// The network.
    pub const fn network(&self) -> IpNet {
        self.0
    }

    /// Whether the network contains the address. `::ffff:10.1.2.3` counts as IPv4.
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

impl TextValue for IpNetwork {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_addresses_in_either_notation() {
        let contains = |network: &str, address: &str| {
            IpNetwork::parse(network)
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
            assert_eq!(IpNetwork::parse(text), None, "{text}");
        }
    }

    #[test]
    fn networks_are_written_in_short_form() {
        let written = |text| IpNetwork::parse(text).unwrap().text();
        assert_eq!(written("127.0.0.1/32"), "127.0.0.1");
        assert_eq!(written("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(written("::1"), "::1");
    }
}
