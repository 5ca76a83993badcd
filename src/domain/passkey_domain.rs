//! Domains of passkeys.

/// Longest domain, in characters.
const LENGTH: usize = 253;

/// Whether the text is a domain to which passkeys can be bound.
pub fn is_passkey_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    !is_address && text.len() <= LENGTH && text.split('.').all(is_label)
}
