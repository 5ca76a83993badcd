//! Mailboxes and host names: reads those of the settings, and writes recipients for SMTP.

use std::net::IpAddr;

use lettre::Address;
use lettre::message::header::{From as FromHeader, Headers};
use lettre::message::{Mailbox, Mailboxes};

use super::MailError;
use crate::domain::EmailAddress;

/// The address as SMTP writes it.
///
/// [`EmailAddress`] is stricter than lettre, whose limit of 64 characters for the local part the API does
/// not have. Bytes that must not occur in a header or command are checked once more.
pub(super) fn recipient(to: &EmailAddress) -> Result<Address, MailError> {
    let ascii = to.ascii();
    match ascii.rsplit_once('@') {
        Some((local, domain)) if ascii.bytes().all(|b| (0x21..0x7f).contains(&b)) => {
            Ok(Address::new_dangerous(local, domain))
        }
        _ => Err(MailError::Address {
            message: "the recipient's address cannot be written into a mail".to_owned(),
            source: None,
        }),
    }
}

/// Reads `a@b` or `Name <a@b>`.
pub(super) fn parse_mailbox(from: &str) -> Result<Mailbox, MailError> {
    let unusable = |source| MailError::Address {
        message: format!(
            "{from:?} is not a mailbox; write \"accounts@example.com\" or \"Name <accounts@example.com>\""
        ),
        source,
    };
    if from.chars().any(char::is_control) {
        return Err(unusable(None));
    }
    let trimmed = from.trim();
    let (name, address) = match trimmed
        .strip_suffix('>')
        .and_then(|rest| rest.rsplit_once('<'))
    {
        Some((name, address)) => (name.trim(), address.trim()),
        None => ("", trimmed),
    };
    let name = name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .map_or_else(|| name.to_owned(), unquoted);
    let (local, domain) = address
        .rsplit_once('@')
        .filter(|(local, _)| local.is_ascii())
        .ok_or_else(|| unusable(None))?;
    let domain = if domain.is_ascii() {
        domain.to_owned()
    } else {
        idna::domain_to_ascii(domain).map_err(|e| unusable(Some(e.into())))?
    };
    let address = Address::new(local, domain).map_err(|e| unusable(Some(e.into())))?;
    let sender = Mailbox::new(Some(name).filter(|n| !n.is_empty()), address);
    // The builder parses the header for each mail: a failure is better reported now.
    let mut headers = Headers::new();
    headers.set(FromHeader::from(Mailboxes::from(sender.clone())));
    match headers.get::<FromHeader>() {
        Some(_) => Ok(sender),
        None => Err(unusable(None)),
    }
}

/// Removes the backslashes from the content of a quoted string (RFC 5322, section 3.2.4).
fn unquoted(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// The host of a URL, if it is a DNS name with a dot.
pub(super) fn dns_host(url: &str) -> Option<String> {
    let host = idna::domain_to_ascii(&url_host(url)?).ok()?;
    let is_name = host.contains('.')
        && host.parse::<IpAddr>().is_err()
        && host
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(is_label_byte));
    is_name.then_some(host)
}

/// The host of a URL, if it is an IP address that other machines can reach.
pub(super) fn ip_host(url: &str) -> Option<IpAddr> {
    let ip: IpAddr = url_host(url)?.parse().ok()?;
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// The host of a URL, without brackets.
fn url_host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().map(str::to_owned),
        None => host.split(':').next().map(str::to_owned),
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_parsed_in_both_forms() {
        for (given, shown) in [
            ("a@example.com", "a@example.com"),
            (" accounts@localhost ", "accounts@localhost"),
            ("Ann Lee <a@example.com>", "Ann Lee <a@example.com>"),
            (
                "\"Lee, \\\"Ann\\\"\" <a@example.com>",
                "\"Lee, \\\"Ann\\\"\" <a@example.com>",
            ),
            ("<a@b\u{fc}cher.example>", "a@xn--bcher-kva.example"),
        ] {
            assert_eq!(parse_mailbox(given).unwrap().to_string(), shown, "{given}");
        }
        for wrong in [
            "",
            "accounts",
            "Name <>",
            "a@b, c@d",
            "Name <a@b> x",
            "N\r\nBcc: x@y <a@example.com>",
            "\u{e9}@example.com",
        ] {
            let error = parse_mailbox(wrong).unwrap_err();
            assert!(matches!(error, MailError::Address { .. }), "{wrong:?}");
            assert!(error.to_string().contains("write \"accounts@example.com\""));
        }
    }

    #[test]
    fn only_dns_names_with_a_dot_are_hosts() {
        assert_eq!(
            dns_host("https://u@id.example.org:1/p"),
            Some("id.example.org".to_owned())
        );
        assert_eq!(
            dns_host("https://B\u{fc}cher.example"),
            Some("xn--bcher-kva.example".to_owned())
        );
        for other in [
            "http://127.0.0.1:8000",
            "http://[::1]:80",
            "http://localhost",
            "",
            "http://a_b.c",
        ] {
            assert_eq!(dns_host(other), None, "{other}");
        }
    }

    #[test]
    fn only_reachable_addresses_are_ip_hosts() {
        for (url, ip) in [
            ("http://203.0.113.7:8000/p", Some("203.0.113.7")),
            ("https://[2001:db8::1]:8443", Some("2001:db8::1")),
            ("http://127.0.0.1:8000", None),
            ("http://[::1]", None),
            ("http://0.0.0.0:8000", None),
            ("https://id.example.org", None),
        ] {
            assert_eq!(
                ip_host(url).map(|ip| ip.to_string()).as_deref(),
                ip,
                "{url}"
            );
        }
    }
}
