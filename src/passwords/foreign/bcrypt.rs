//! bcrypt: plain, as Django stores it, and as WordPress stores it since 6.8.

use std::str::FromStr as _;

use ::bcrypt::HashParts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::Sha384;

use super::{ForeignHash, Parsed};
use crate::passwords::digest;

/// Highest accepted cost: 32 times the work of Django's 12.
const HIGHEST_COST: u32 = 17;

/// Key of WordPress's HMAC, which separates its hashes from those of other programs.
const WORDPRESS_KEY: &[u8] = b"wp-sha384";

/// What bcrypt is given.
#[derive(Clone, Copy)]
pub(super) enum Input {
    /// The password. bcrypt reads 72 bytes of it; hashes of longer passwords were made so, and
    /// only cutting lets their owners in.
    Plain,
    /// The hexadecimal SHA-256 of the password (Django's `bcrypt_sha256`, and our own hashes).
    Sha256,
    /// The base64 of an HMAC-SHA-384 of the trimmed password (WordPress's `$wp$`).
    WordPress,
}

struct Bcrypt {
    input: Input,
    hash: String,
}

/// Parses `$2b$<cost of two digits>$<salt and hash>`.
///
/// `$2x$` marks hashes of a faulty implementation that read letters beyond ASCII wrongly, and is
/// unknown.
pub(super) fn parse(input: Input, hash: &str) -> Parsed {
    if !["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|version| hash.starts_with(version))
    {
        return None;
    }
    // The library would read a cost of "+5".
    if !hash.get(4..6)?.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let cost = HashParts::from_str(hash).ok()?.get_cost();
    if !(4..=HIGHEST_COST).contains(&cost) {
        return None;
    }
    Some(Box::new(Bcrypt {
        input,
        hash: hash.to_owned(),
    }))
}

impl ForeignHash for Bcrypt {
    fn matches(&self, password: &str) -> Option<bool> {
        let matches = match self.input {
            Input::Plain => ::bcrypt::verify(password, &self.hash),
            Input::Sha256 => ::bcrypt::verify(digest(password), &self.hash),
            Input::WordPress => ::bcrypt::verify(wordpress_input(password), &self.hash),
        };
        matches.ok()
    }
}

fn wordpress_input(password: &str) -> String {
    // PHP's `trim`.
    let trimmed = password.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0b']);
    let mut mac =
        Hmac::<Sha384>::new_from_slice(WORDPRESS_KEY).expect("HMAC takes keys of any length");
    mac.update(trimmed.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
