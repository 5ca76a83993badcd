//! Rules for settings that stay plain text.

use super::url::split_port;

/// Whether the text is a log filter of `env_logger`: levels, alone or after a module path.
pub(in crate::config) fn is_log_filter(text: &str) -> bool {
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

/// Whether the text is one mailbox, with or without a name, as lettre parses it.
pub(in crate::config) fn is_mailbox(text: &str) -> bool {
    is_one_line(text) && text.parse::<lettre::message::Mailbox>().is_ok()
}

/// Whether the text looks like the URL of a mail server.
///
/// The mail transport parses the details, such as `?tls=`.
pub(in crate::config) fn is_smtp_url(text: &str) -> bool {
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

/// Whether the pair is a mail address and a one-time password.
pub(in crate::config) fn is_fixed_otp(address: &str, otp: &str) -> bool {
    is_one_line(address)
        && address.contains('@')
        && otp.len() == 6
        && otp.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the text has no line breaks or other control characters.
pub(in crate::config) fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Whether the text can be the URL of a page that mails link to.
pub(in crate::config) fn is_link(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && is_one_line(text)
        && !text.contains(char::is_whitespace)
}

/// Whether the text is a colour `#rrggbb` or empty.
pub(in crate::config) fn is_colour(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix('#').is_some_and(|digits| {
            digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

/// Whether the text is an address that a link on a page may lead to, or empty.
pub(in crate::config) fn is_web_link(text: &str) -> bool {
    text.is_empty()
        || ["https://", "http://", "mailto:"]
            .iter()
            .any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
            && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether the text can be the path of a file.
pub(in crate::config) fn is_path(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_and_smtp_urls_are_checked() {
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
}
