//! Who sends a request, also behind reverse proxies.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, FORWARDED, HeaderName, USER_AGENT};

use super::Head;
use crate::accounts::{Client, SessionKind};
use crate::config::ServerConfig;
use crate::domain::ClientNetwork;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client: the peer itself, or behind a trusted proxy the right-most address in
/// `X-Forwarded-For` (else `Forwarded`, RFC 7239) that is not a trusted proxy too. The client wrote
/// what is further left, so it proves nothing.
pub(super) fn of(peer: Option<SocketAddr>, headers: &HeaderMap, server: &ServerConfig) -> Client {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
        peer.ip().to_canonical()
    });
    let is_trusted = |ip: &IpAddr| {
        server
            .trusted_proxies
            .iter()
            .any(|network| network.contains(*ip))
    };
    Client {
        ip: if is_trusted(&peer) {
            last_untrusted(peer, headers, is_trusted)
        } else {
            peer
        },
        user_agent: headers
            .get(USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default(),
        accept_language: headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        session_kind: SessionKind::Tokens,
    }
}

/// Parses a forwarding header of a single trusted proxy; `None` when the value is not a header.
#[cfg(feature = "fuzzing")]
pub(crate) fn forwarded_for(header: &'static str, value: &str) -> Option<IpAddr> {
    let mut headers = HeaderMap::new();
    headers.append(header, value.parse().ok()?);
    let proxy = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Some(last_untrusted(proxy, &headers, |ip| *ip == proxy))
}

/// The network that a request counts for; `None` for trusted proxies and programs on this machine.
pub(super) fn limited_network(head: &Head, server: &ServerConfig) -> Option<ClientNetwork> {
    let ip = of(head.peer.map(|peer| peer.0), &head.headers, server).ip;
    let is_exempt = ip.to_canonical().is_loopback()
        || server
            .trusted_proxies
            .iter()
            .any(|network| network.contains(ip));
    (!is_exempt).then(|| ip.into())
}

/// Whether a request comes from a program on this machine and no proxy says it forwarded it.
pub(super) fn is_local(head: &Head) -> bool {
    head.peer
        .is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
        && !is_forwarded(&head.headers)
}

/// Whether a proxy says that it forwarded the request.
fn is_forwarded(headers: &HeaderMap) -> bool {
    [
        X_FORWARDED_FOR,
        FORWARDED,
        HeaderName::from_static("x-real-ip"),
        HeaderName::from_static("x-forwarded-host"),
        HeaderName::from_static("x-forwarded-proto"),
        http::header::VIA,
    ]
    .iter()
    .any(|name| headers.contains_key(name))
}

fn last_untrusted(
    peer: IpAddr,
    headers: &HeaderMap,
    is_trusted: impl Fn(&IpAddr) -> bool,
) -> IpAddr {
    let mut nearest = peer;
    for hop in hops(headers).iter().rev() {
        // An entry that is not an address ends the chain: nothing left of it can be trusted.
        let Some(ip) = hop else { return nearest };
        nearest = *ip;
        if !is_trusted(ip) {
            return nearest;
        }
    }
    nearest
}

/// The addresses in the forwarding headers, from left to right; `None` where an entry is not an
/// address.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values = |name: &HeaderName| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .flat_map(|value| {
                String::from_utf8_lossy(value.as_bytes())
                    .split(',')
                    .map(|entry| entry.trim().to_owned())
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    if headers.contains_key(X_FORWARDED_FOR) {
        return values(&X_FORWARDED_FOR)
            .iter()
            .map(|v| address(v))
            .collect();
    }
    values(&FORWARDED)
        .iter()
        .map(|element| {
            element
                .split(';')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
                .and_then(|(_, value)| address(value.trim().trim_matches('"')))
        })
        .collect()
}

/// Parses an address with or without brackets and port.
fn address(text: &str) -> Option<IpAddr> {
    let ip = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn ip_of(trusted: &[&str], peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut server = Config::defaults(false).server;
        server.trusted_proxies = trusted.iter().map(|t| t.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        of(Some(peer), &map, &server).ip.to_string()
    }

    #[test]
    fn untrusted_forwarding_headers_are_ignored() {
        let headers = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")];
        assert_eq!(ip_of(&[], "10.0.0.1", &headers), "10.0.0.1");
        assert_eq!(ip_of(&["10.0.0.2"], "10.0.0.1", &headers), "10.0.0.1");
    }

    #[test]
    fn right_most_untrusted_address_is_the_client() {
        let trusted = ["10.0.0.0/8", "::1"];
        for (header, value, expected) in [
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9", "1.2.3.4"),
            ("x-forwarded-for", "6.6.6.6, nonsense, 10.0.0.9", "10.0.0.9"),
            ("x-forwarded-for", "10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("x-forwarded-for", "1.2.3.4:5678", "1.2.3.4"),
            ("x-forwarded-for", "[2001:db8::1]:5678", "2001:db8::1"),
            ("x-forwarded-for", "::ffff:1.2.3.4", "1.2.3.4"),
            ("x-forwarded-for", "", "10.0.0.1"),
            (
                "forwarded",
                "for=6.6.6.6, For=\"[2001:db8::2]:99\";proto=https",
                "2001:db8::2",
            ),
            ("forwarded", "for=6.6.6.6, for=_hidden", "10.0.0.1"),
        ] {
            assert_eq!(
                ip_of(&trusted, "10.0.0.1", &[(header, value)]),
                expected,
                "{value}"
            );
        }
        assert_eq!(
            ip_of(
                &trusted,
                "::ffff:10.0.0.1",
                &[("x-forwarded-for", "1.2.3.4")]
            ),
            "1.2.3.4"
        );
    }
}
