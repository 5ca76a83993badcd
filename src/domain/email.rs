//! Email addresses.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address that Django's `EmailValidator` accepts: the domain in lower case, the rest as typed.
///
/// Stricter than Django in two points: the local part is ASCII (Django's case-insensitive pattern
/// accepts letters such as the Kelvin sign, which fold to ASCII), and control characters are
/// refused.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress {
    text: String,
    key: String,
}

/// The text is not an email address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidEmail;

/// Django's limit in characters: 64 for the local part, 255 for the domain, and the `@`.
const LONGEST: usize = 320;

/// Longest address in SMTP, in octets (RFC 5321, section 4.5.3.1.3, without the angle brackets).
/// An international domain is several times longer in its ASCII form.
const LONGEST_IN_ASCII: usize = 254;

impl EmailAddress {
    /// Parses a trimmed address.
    ///
    /// # Errors
    /// When it has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        if text.chars().count() > LONGEST {
            return Err(InvalidEmail);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail)?;
        if !(is_dot_atom(local) || is_quoted_string(local)) {
            return Err(InvalidEmail);
        }
        let domain = canonical_domain(domain).ok_or(InvalidEmail)?;
        let text = format!("{local}@{domain}");
        let mut address = Self {
            text,
            key: String::new(),
        };
        let ascii = address.ascii();
        if !address.text.is_ascii() && ascii.len() > LONGEST_IN_ASCII {
            return Err(InvalidEmail);
        }
        // The local part is ASCII, and only ASCII letters fold (RFC 5321, section 2.4).
        address.key = ascii.to_ascii_lowercase();
        Ok(address)
    }

    /// The address with its domain in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The comparison key: the address in lower case, an international domain in its ASCII form.
    ///
    /// Two addresses are the same when their keys are.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The address with an international domain in its ASCII form (RFC 5890), as SMTP needs it.
    pub fn ascii(&self) -> String {
        match self.text.rsplit_once('@') {
            Some((local, domain)) if !domain.is_ascii() => match ascii_domain(domain) {
                Some(domain) => format!("{local}@{domain}"),
                None => self.text.clone(),
            },
            _ => self.text.clone(),
        }
    }

    /// The masked address for logs: recognisable to its owner, useless to others.
    pub fn masked(&self) -> String {
        let (local, domain) = self.text.rsplit_once('@').unwrap_or((&self.text, ""));
        let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
        let ending = domain.rsplit_once('.').map_or("", |(_, ending)| ending);
        format!("{}***@{}***.{ending}", first(local), first(domain))
    }
}

/// The key of the mailbox behind an address key: without the detail after a `+` (RFC 5233), by which
/// one mailbox has any number of addresses, and without the quotes that an address can do without.
pub fn mailbox_key(email_key: &str) -> String {
    let Some((local, domain)) = email_key.rsplit_once('@') else {
        return email_key.to_owned();
    };
    let quoted = local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let local = quoted.map_or_else(|| local.to_owned(), unescape);
    let user = match local.split_once('+') {
        Some((user, _)) if !user.is_empty() => user,
        _ => &local,
    };
    format!("{user}@{domain}")
}

/// The content of a quoted string without its backslashes.
fn unescape(quoted: &str) -> String {
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress({})", self.masked())
    }
}

fn ascii_domain(domain: &str) -> Option<String> {
    idna::domain_to_ascii(domain).ok()
}

/// The domain in lower case, an international one as UTS #46 maps it: full-width letters and
/// invisible characters make no difference. `None` when it is invalid.
fn canonical_domain(domain: &str) -> Option<String> {
    if domain.is_ascii() {
        let domain = domain.to_ascii_lowercase();
        return (domain == "localhost" || is_domain_name(&domain) || is_literal(&domain))
            .then_some(domain);
    }
    // Django accepts letters of the Basic Multilingual Plane only.
    let ascii = ascii_domain(domain).filter(|ascii| is_domain_name(ascii))?;
    let (domain, outcome) = idna::domain_to_unicode(&ascii);
    (outcome.is_ok() && domain.chars().all(|c| c <= '\u{ffff}')).then_some(domain)
}

/// RFC 5322's dot-atom, as in Django's `user_regex`.
fn is_dot_atom(local: &str) -> bool {
    local.split('.').all(|atom| {
        !atom.is_empty()
            && atom
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{}|~".contains(&b))
    })
}

/// RFC 5322's quoted-string without control characters and blanks, as in Django's `user_regex`.
fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return false;
    };
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        let plain = matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
        let escaped = byte == b'\\' && matches!(bytes.next(), Some(b'!'..=b'~'));
        if !plain && !escaped {
            return false;
        }
    }
    local.len() > 1
}

/// Labels of up to 63 letters, digits and inner hyphens. The top-level domain has at least two
/// characters and no digits, or is an international one in its ASCII form (`xn--…`).
fn is_domain_name(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((rest, top)) = domain.rsplit_once('.') else {
        return false;
    };
    let is_plain_top = top.len() >= 2 && !top.bytes().any(|b| b.is_ascii_digit());
    let is_international_top = top
        .strip_prefix("xn--")
        .is_some_and(|rest| !rest.is_empty());
    rest.split('.').all(is_label) && is_label(top) && (is_plain_top || is_international_top)
}

/// An IP address in brackets (RFC 5321), as Django accepts it.
fn is_literal(domain: &str) -> bool {
    domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|ip| ip.parse::<Ipv4Addr>().is_ok() || ip.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_a_detail_have_one_mailbox() {
        for (key, mailbox) in [
            ("user@example.com", "user@example.com"),
            ("user+a@example.com", "user@example.com"),
            ("user+a+b@example.com", "user@example.com"),
            ("user+@example.com", "user@example.com"),
            ("+a@example.com", "+a@example.com"),
            ("\"user\"@example.com", "user@example.com"),
            ("\"us\\er+a\"@example.com", "user@example.com"),
            ("\"a@b+c\"@example.com", "a@b@example.com"),
            ("user@a+b.example", "user@a+b.example"),
        ] {
            assert_eq!(mailbox_key(key), mailbox, "{key}");
        }
    }

    #[test]
    fn accepts_what_django_accepts() {
        for right in [
            "user@example.com",
            "USER+tag@example.co.uk",
            "a@b.co",
            "!#$%&'*+-/=?^_`{}|~@example.com",
            "a.b.c@example.com",
            "\"quoted\"@example.com",
            "\"a@b\"@example.com",
            "user@localhost",
            "user@[127.0.0.1]",
            "user@[::1]",
            "user@xn--bcher-kva.example",
            "user@bücher.example",
            "user@sub.sub.example.museum",
            "1@example.com",
            "\"\"@example.com",
            "user@a.b-c",
            "user@\u{4f8b}\u{3048}.jp",
        ] {
            assert!(EmailAddress::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "user",
            "@example.com",
            "user@",
            "user@example",
            "user@.com",
            "user@example..com",
            "user@-a.com",
            "user@a-.com",
            ".user@example.com",
            "user.@example.com",
            "us..er@example.com",
            "us er@example.com",
            "user@exam ple.com",
            "user@example.c",
            "user@example.123",
            "user@[300.0.0.1]",
            "user@127.0.0.1",
            "a@b@c.com",
            "user@example.com\n",
            "user\n@example.com",
            "üser@example.com",
            "\u{212a}@example.com",
            "user@example.com.",
            "\"a\u{1}\"@example.com",
            "user@exa_mple.com",
            "user@example.c0m",
            "user@[IPv6:::1]",
            "user@\u{1f600}.com",
            "\"",
            "\"@example.com",
            "<user@example.com>",
        ] {
            assert!(EmailAddress::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn domain_too_long_in_ascii_is_refused() {
        // These letters take several octets in a DNS name.
        let typed = |labels: usize| format!("a@{}example", "b\u{fc}cher.".repeat(labels));
        assert!(EmailAddress::parse(&typed(17)).is_ok());
        assert_eq!(EmailAddress::parse(&typed(18)), Err(InvalidEmail));
        // The length of an ASCII address is checked where its field is read.
        let long = format!("a@{}example", "b.".repeat(130));
        assert!(EmailAddress::parse(&long).is_ok());
    }

    #[test]
    fn only_the_domain_is_lowered() {
        let address = EmailAddress::parse("John.Doe@EXAMPLE.Com").unwrap();
        assert_eq!(address.as_str(), "John.Doe@example.com");
        assert_eq!(address.key(), "john.doe@example.com");
        assert_eq!(address.masked(), "J***@e***.com");
        assert_eq!(format!("{address:?}"), "EmailAddress(J***@e***.com)");
        let address = EmailAddress::parse("a@Bücher.example").unwrap();
        assert_eq!(address.ascii(), "a@xn--bcher-kva.example");
        // A Kelvin sign or an invisible blank does not make another mailbox.
        for spelling in [
            "a@\u{212a}ey.example",
            "a@k\u{200b}ey.example",
            "a@ｋｅｙ.example",
        ] {
            assert_eq!(
                EmailAddress::parse(spelling).unwrap().key(),
                "a@key.example"
            );
        }
    }
}
