//! Proof Key for Code Exchange (RFC 7636), with the method S256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Characters of a verifier (section 4.1).
const VERIFIER_LENGTH: std::ops::RangeInclusive<usize> = 43..=128;

/// Characters of a challenge: SHA-256 in base64url without padding (section 4.2).
const CHALLENGE_LENGTH: usize = 43;

/// The challenge of a verifier.
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Whether a text has the form of a challenge.
pub(crate) fn is_challenge(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() == CHALLENGE_LENGTH && text.bytes().all(is_plain)
}

/// Whether a text has the form of a verifier.
pub(crate) fn is_verifier(text: &str) -> bool {
    let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    VERIFIER_LENGTH.contains(&text.len()) && text.bytes().all(is_unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_is_that_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge(verifier), expected);
        assert!(is_verifier(verifier));
    }

    #[test]
    fn verifiers_have_the_form_of_the_rfc() {
        assert!(is_verifier(&"a-._~Z9".repeat(18)));
        for text in [
            &"a".repeat(42),
            &"a".repeat(129),
            &format!("{}+", "a".repeat(42)),
        ] {
            assert!(!is_verifier(text), "{text}");
        }
    }
}
