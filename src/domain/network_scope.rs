//! What a limit per network counts: the network itself and, of IPv6, the wider ones around it.
//!
//! A customer gets an IPv6 /56 or /48 as easily as a /64, and they have 256 and 65,536 of those. A
//! limit on each /64 alone would be none. So an IPv6 client is counted three times, with allowances that
//! grow: four /64 exhaust their /56, and sixteen their /48. Neighbours of one provider, who share no
//! /48, do not notice each other.

use std::net::IpAddr;

use super::ClientNetwork;

/// The widths in bits of IPv6 prefixes, and how many times the allowance of a network they have.
const WIDTHS: [(u32, usize); 3] = [(64, 1), (56, 4), (48, 16)];

/// A network at one of the widths that limits count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NetworkScope {
    first: IpAddr,
    bits: u32,
    factor: usize,
}

impl NetworkScope {
    /// The scopes that a client of this network counts in, the narrowest first.
    pub fn of(network: ClientNetwork) -> impl Iterator<Item = Self> + Clone {
        let widths = match network.first() {
            IpAddr::V4(_) => &WIDTHS[..1],
            IpAddr::V6(_) => &WIDTHS[..],
        };
        widths.iter().map(move |(bits, factor)| Self {
            first: network.prefix(*bits),
            bits: *bits,
            factor: *factor,
        })
    }

    /// How many times the allowance of a network it has.
    pub fn factor(self) -> usize {
        self.factor
    }

    /// Whether a network is part of it.
    pub fn contains(self, network: ClientNetwork) -> bool {
        network.prefix(self.bits) == self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str) -> ClientNetwork {
        ip.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv4_address_is_its_only_scope() {
        let scopes: Vec<NetworkScope> = NetworkScope::of(network("203.0.113.7")).collect();
        assert_eq!(scopes.len(), 1);
        assert_eq!(scopes[0].factor(), 1);
        assert!(scopes[0].contains(network("::ffff:203.0.113.7")));
        assert!(!scopes[0].contains(network("203.0.113.8")));
        assert!(!scopes[0].contains(network("2001:db8::1")));
    }

    #[test]
    fn ipv6_network_counts_in_its_56_and_48_too() {
        let scopes: Vec<NetworkScope> = NetworkScope::of(network("2001:db8:1:234::5")).collect();
        let factors: Vec<usize> = scopes.iter().map(|scope| scope.factor()).collect();
        assert_eq!(factors, [1, 4, 16]);
        for (neighbour, is_in) in [
            ("2001:db8:1:234::9", [true, true, true]),
            ("2001:db8:1:2ff::9", [false, true, true]),
            ("2001:db8:1:999::9", [false, false, true]),
            ("2001:db8:2:234::9", [false, false, false]),
        ] {
            let network = network(neighbour);
            let contained: Vec<bool> = scopes.iter().map(|s| s.contains(network)).collect();
            assert_eq!(contained, is_in, "{neighbour}");
        }
    }
}
