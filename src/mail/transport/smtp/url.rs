//! Parses the URL of a mail server.

use std::net::IpAddr;

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    None,
    StartTlsIfOffered,
    StartTls,
    Wrapped,
}

/// The parts of an SMTP URL.
pub(super) struct SmtpUrl {
    pub(super) encryption: Encryption,
    /// User and password, decoded.
    pub(super) credentials: Option<(String, String)>,
    /// A name or an IP address without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) hello_name: Option<String>,
}

impl SmtpUrl {
    /// The error says what is wrong without quoting the URL.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.trim().split_once("://").ok_or("it is not a URL")?;
        if rest.contains('#') {
            return Err("an SMTP URL has no part after \"#\"");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port)?;
        let port = port
            .map(|port| port.parse::<u16>().ok().filter(|port| *port > 0))
            .map(|port| port.ok_or("the port is not a number from 1 to 65535"))
            .transpose()?;
        let credentials = userinfo.map(parse_credentials).transpose()?;
        let tls = match query {
            "" => None,
            query => Some(query.strip_prefix("tls=").ok_or("only ?tls= is known")?),
        };
        let encryption = match (scheme.to_ascii_lowercase().as_str(), tls) {
            ("smtps", None | Some("required")) => Encryption::Wrapped,
            ("smtps", _) => return Err("smtps:// is always encrypted and takes no ?tls="),
            ("smtp", Some("required")) => Encryption::StartTls,
            ("smtp", Some("opportunistic")) => Encryption::StartTlsIfOffered,
            ("smtp", Some("none")) => Encryption::None,
            ("smtp", Some(_)) => return Err("tls is one of none, opportunistic, required"),
            ("smtp", None) if is_loopback(&host) => Encryption::None,
            ("smtp", None) => Encryption::StartTls,
            _ => return Err("the scheme is smtp or smtps"),
        };
        let hello_name = match path.trim_end_matches('/') {
            "" => None,
            // A password with an unencoded slash ends up here and must not be sent in HELO.
            name if is_host_name(name) => Some(name.to_owned()),
            _ => return Err("the path is not a host name"),
        };
        Ok(Self {
            encryption,
            credentials,
            host,
            port,
            hello_name,
        })
    }
}

/// Splits `host:port`; an IPv6 address is in brackets.
fn split_port(text: &str) -> Result<(String, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
        let is_address = address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        return match (is_address, rest, rest.strip_prefix(':')) {
            (true, "", _) => Ok((address.to_owned(), None)),
            (true, _, Some(port)) => Ok((address.to_owned(), Some(port))),
            _ => Err("only an IPv6 address can be in brackets"),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if is_host_name(host) {
        Ok((host.to_ascii_lowercase(), port))
    } else {
        Err("the host is not a host name")
    }
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn parse_credentials(userinfo: &str) -> Result<(String, String), &'static str> {
    let (user, password) = userinfo
        .split_once(':')
        .ok_or("there is a user without a password")?;
    let (user, password) = (percent_decoded(user)?, percent_decoded(password)?);
    if user.is_empty() || password.is_empty() {
        return Err("user or password is empty");
    }
    Ok((user, password))
}

fn percent_decoded(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "a % in user or password is not followed by the two digits of a UTF-8 byte";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = rest.next().map(char::from)?.to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let (high, low) = digit().zip(digit()).ok_or(WRONG)?;
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_decide_the_encryption() {
        for (url, encryption) in [
            ("smtp://mail.example.com", Encryption::StartTls),
            ("SMTP://u:p@mail.example.com:25", Encryption::StartTls),
            ("smtp://mail.example.com?tls=required", Encryption::StartTls),
            (
                "smtp://mail.example.com/?tls=opportunistic",
                Encryption::StartTlsIfOffered,
            ),
            ("smtp://mail.example.com:25?tls=none", Encryption::None),
            ("smtp://localhost:1025", Encryption::None),
            ("smtp://mail.localhost", Encryption::None),
            ("smtp://127.0.0.2", Encryption::None),
            ("smtp://[::1]:1025", Encryption::None),
            ("smtp://localhost?tls=required", Encryption::StartTls),
            ("smtp://localhost.example.com", Encryption::StartTls),
            ("smtp://[2001:db8::1]", Encryption::StartTls),
            ("smtps://u:p@mail.example.com", Encryption::Wrapped),
            ("smtps://localhost", Encryption::Wrapped),
        ] {
            let parsed = SmtpUrl::parse(url)
                .map_err(|e| format!("{url}: {e}"))
                .unwrap();
            assert_eq!(parsed.encryption, encryption, "{url}");
        }
    }

    #[test]
    fn urls_are_parsed() {
        let url =
            SmtpUrl::parse("smtp://a%40b:p%2F%c3%a9@w@Mail.Example.com:2525/my.host").unwrap();
        assert_eq!(
            url.credentials,
            Some(("a@b".to_owned(), "p/\u{e9}@w".to_owned()))
        );
        assert_eq!(url.host, "mail.example.com");
        assert_eq!(url.port, Some(2525));
        assert_eq!(url.hello_name.as_deref(), Some("my.host"));
    }
}
