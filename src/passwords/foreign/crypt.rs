//! Iterated and salted digests: SHA-crypt (`$5$`, `$6$`), phpass (`$P$`, `$H$`), and LDAP's
//! `{SSHA}` family.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::{ForeignHash, Parsed, number};

/// Longest password that is tried, in bytes: these forms hash the whole password in every round.
const LONGEST_PASSWORD: usize = 4096;

/// Rounds of SHA-crypt where the hash names none.
const DEFAULT_ROUNDS: u32 = 5000;

/// Rounds of SHA-crypt; fewer than the least count as the least. The most are 200 times the usual.
const LEAST_ROUNDS: u32 = 1000;
const MOST_ROUNDS: u32 = 1_000_000;

/// Longest salt of SHA-crypt, in bytes; what is longer is cut.
const SHA_CRYPT_SALT: usize = 16;

/// Binary logarithm of phpass's rounds; WordPress and phpBB use 11 to 13.
const PHPASS_EXPONENTS: std::ops::RangeInclusive<usize> = 7..=20;

/// Characters of phpass's salt.
const PHPASS_SALT: usize = 8;

/// The alphabet of crypt(3), in the order of its values.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Length of a salt of the `{SSHA}` family, in bytes.
const SSHA_SALT: std::ops::RangeInclusive<usize> = 4..=64;

#[derive(Clone, Copy)]
pub(super) enum ShaCryptFunction {
    Sha256,
    Sha512,
}

struct ShaCrypt {
    function: ShaCryptFunction,
    rounds: u32,
    salt: String,
    hash: String,
}

/// Parses `[rounds=<rounds>$]<salt>$<hash>` of SHA-crypt.
pub(super) fn parse_sha_crypt(function: ShaCryptFunction, rest: &str) -> Parsed {
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        None => (DEFAULT_ROUNDS, rest),
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$')?;
            (number(rounds)?.max(LEAST_ROUNDS), rest)
        }
    };
    let (salt, hash) = rest.split_once('$')?;
    let length = match function {
        ShaCryptFunction::Sha256 => 43,
        ShaCryptFunction::Sha512 => 86,
    };
    let is_sound = rounds <= MOST_ROUNDS
        && salt.len() <= SHA_CRYPT_SALT
        && salt.is_ascii()
        && hash.len() == length
        && hash.bytes().all(|byte| ALPHABET.contains(&byte));
    is_sound.then(|| -> Box<dyn ForeignHash> {
        Box::new(ShaCrypt {
            function,
            rounds,
            salt: salt.to_owned(),
            hash: hash.to_owned(),
        })
    })
}

impl ForeignHash for ShaCrypt {
    fn matches(&self, password: &str) -> Option<bool> {
        if password.len() > LONGEST_PASSWORD {
            return Some(false);
        }
        let (password, salt) = (password.as_bytes(), self.salt.as_bytes());
        let made = match self.function {
            ShaCryptFunction::Sha256 => {
                let digest = sha_crypt::<Sha256>(password, salt, self.rounds);
                let mut text = permuted(&digest, 10, 21);
                push_group(&mut text, [0, digest[31], digest[30]], 3);
                text
            }
            ShaCryptFunction::Sha512 => {
                let digest = sha_crypt::<Sha512>(password, salt, self.rounds);
                let mut text = permuted(&digest, 21, 22);
                push_group(&mut text, [0, 0, digest[63]], 2);
                text
            }
        };
        Some(made.as_bytes().ct_eq(self.hash.as_bytes()).into())
    }
}

/// The digest of SHA-crypt, by Ulrich Drepper's specification.
fn sha_crypt<D: Digest>(password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    let hash = |parts: &[&[u8]]| -> Vec<u8> {
        let mut hasher = D::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().to_vec()
    };
    let stretched = |block: &[u8], length: usize| -> Vec<u8> {
        block.iter().copied().cycle().take(length).collect()
    };
    let inner = hash(&[password, salt, password]);
    let mut start: Vec<u8> = [password, salt, &stretched(&inner, password.len())].concat();
    let mut bits = password.len();
    while bits > 0 {
        start.extend_from_slice(if bits & 1 == 1 { &inner } else { password });
        bits >>= 1;
    }
    let mut digest = hash(&[&start]);
    let p = stretched(&hash(&[&password.repeat(password.len())]), password.len());
    let s = stretched(
        &hash(&[&salt.repeat(16 + usize::from(digest[0]))]),
        salt.len(),
    );
    for round in 0..rounds {
        let is_odd = round % 2 == 1;
        let mut hasher = D::new();
        hasher.update(if is_odd { &p } else { &digest });
        if round % 3 != 0 {
            hasher.update(&s);
        }
        if round % 7 != 0 {
            hasher.update(&p);
        }
        hasher.update(if is_odd { &digest } else { &p });
        digest = hasher.finalize().to_vec();
    }
    digest
}

/// Encodes the bytes in the order of SHA-crypt: three columns of `third` bytes, of which each row
/// begins `step` bytes further.
fn permuted(digest: &[u8], third: usize, step: usize) -> String {
    let mut text = String::new();
    for row in 0..third {
        let byte = |column: usize| digest[(column * third + row * step) % (3 * third)];
        push_group(&mut text, [byte(0), byte(1), byte(2)], 4);
    }
    text
}

/// Appends three bytes, the most significant one first, as `length` characters, the least
/// significant one first.
fn push_group(text: &mut String, [high, middle, low]: [u8; 3], length: usize) {
    let mut value = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    for _ in 0..length {
        text.push(char::from(ALPHABET[value & 0x3f]));
        value >>= 6;
    }
}

struct Phpass {
    rounds: u32,
    salt: String,
    hash: String,
}

/// Parses `<exponent><salt of 8><hash of 22>` of phpass, which WordPress used until 6.7.
pub(super) fn parse_phpass(rest: &str) -> Parsed {
    if rest.len() != 1 + PHPASS_SALT + 22 || !rest.bytes().all(|byte| ALPHABET.contains(&byte)) {
        return None;
    }
    let exponent = ALPHABET
        .iter()
        .position(|byte| *byte == rest.as_bytes()[0])?;
    if !PHPASS_EXPONENTS.contains(&exponent) {
        return None;
    }
    let (salt, hash) = rest[1..].split_at(PHPASS_SALT);
    Some(Box::new(Phpass {
        rounds: 1 << exponent,
        salt: salt.to_owned(),
        hash: hash.to_owned(),
    }))
}

impl ForeignHash for Phpass {
    fn matches(&self, password: &str) -> Option<bool> {
        if password.len() > LONGEST_PASSWORD {
            return Some(false);
        }
        let mut digest = Md5::digest([self.salt.as_bytes(), password.as_bytes()].concat());
        for _ in 0..self.rounds {
            let mut hasher = Md5::new();
            hasher.update(digest);
            hasher.update(password.as_bytes());
            digest = hasher.finalize();
        }
        let mut made = String::new();
        for group in digest.chunks(3) {
            let byte = |at: usize| group.get(at).copied().unwrap_or(0);
            let length = group.len() + 1;
            push_group(&mut made, [byte(2), byte(1), byte(0)], length);
        }
        Some(made.as_bytes().ct_eq(self.hash.as_bytes()).into())
    }
}

#[derive(Clone, Copy)]
enum SshaFunction {
    Sha1,
    Sha256,
    Sha512,
}

struct Ssha {
    function: SshaFunction,
    digest: Vec<u8>,
    salt: Vec<u8>,
}

/// Parses `{SSHA}`, `{SSHA256}` and `{SSHA512}` of LDAP servers: the base64 of digest and salt.
pub(super) fn parse_ssha(scheme: &str, rest: &str) -> Parsed {
    let (function, length) = match scheme {
        "SSHA" => (SshaFunction::Sha1, 20),
        "SSHA256" => (SshaFunction::Sha256, 32),
        "SSHA512" => (SshaFunction::Sha512, 64),
        _ => return None,
    };
    let mut digest = STANDARD.decode(rest).ok()?;
    if digest.len() < length {
        return None;
    }
    let salt = digest.split_off(length);
    SSHA_SALT
        .contains(&salt.len())
        .then(|| -> Box<dyn ForeignHash> {
            Box::new(Ssha {
                function,
                digest,
                salt,
            })
        })
}

impl ForeignHash for Ssha {
    fn matches(&self, password: &str) -> Option<bool> {
        let salted = [password.as_bytes(), &self.salt].concat();
        let made = match self.function {
            SshaFunction::Sha1 => Sha1::digest(&salted).to_vec(),
            SshaFunction::Sha256 => Sha256::digest(&salted).to_vec(),
            SshaFunction::Sha512 => Sha512::digest(&salted).to_vec(),
        };
        Some(made.ct_eq(&self.digest).into())
    }
}
