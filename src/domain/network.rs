//! Client networks, the unit of rate limits.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// One IPv4 address, or the /64 of an IPv6 address: the least that a customer gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClientNetwork(IpAddr);

impl From<IpAddr> for ClientNetwork {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        })
    }
}

impl ClientNetwork {
    /// Its first address.
    pub fn first(self) -> IpAddr {
        self.0
    }

    /// The first address of the wider network that shares this many bits of an IPv6 address; the
    /// address itself of IPv4.
    pub fn prefix(self, bits: u32) -> IpAddr {
        match self.0 {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => {
                let rest = 128 - bits.clamp(1, 128);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> rest << rest))
            }
        }
    }

    /// The whole site: the IPv4 address, or the /48 of an IPv6 address, which one customer can get.
    pub fn site(self) -> String {
        match self.prefix(48) {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("{ip}/48"),
        }
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(ip) => ip.fmt(f),
            IpAddr::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_sites_are_their_48() {
        for (ip, site) in [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(ClientNetwork::from(ip).site(), site);
        }
    }

    #[test]
    fn ipv6_clients_share_their_64() {
        for (ip, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(ClientNetwork::from(ip).to_string(), network);
        }
    }
}
