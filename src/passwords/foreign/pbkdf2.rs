//! PBKDF2: Django, passlib, the PHC string format (also for Keycloak), and ASP.NET Identity.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::pbkdf2;
use subtle::ConstantTimeEq as _;

use super::{ForeignHash, Parsed, any_base64, fields, number};

/// Most rounds, counted for each block of the hash: ten times those of Django 5.2.
const MOST_ROUNDS: u32 = 10_000_000;

/// Length of a hash, in bytes, where the form leaves it open. Other passwords too would match a
/// shorter one.
const HASH_BYTES: RangeInclusive<usize> = 16..=128;

/// Longest salt, in bytes.
const LONGEST_SALT: usize = 256;

/// The hash function below PBKDF2.
#[derive(Clone, Copy)]
pub(super) enum Function {
    Sha1,
    Sha256,
    Sha512,
}

impl Function {
    const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

struct Pbkdf2 {
    function: Function,
    rounds: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Parses Django's `<rounds>$<salt as it is>$<hash in base64>`, whose hash has the length of the
/// function's digest.
pub(super) fn parse_django(function: Function, rest: &str) -> Parsed {
    let [rounds, salt, hash] = fields(rest)?;
    let hash = STANDARD.decode(hash).ok()?;
    if hash.len() != function.digest_bytes() {
        return None;
    }
    checked(function, number(rounds)?, salt.as_bytes().to_vec(), hash)
}

/// Parses `<rounds>$<salt>$<hash>` as passlib writes it, and `i=<rounds>[,l=<length>]$…` as the PHC
/// string format has it. Salt and hash are base64, with or without padding, and in either alphabet.
pub(super) fn parse_modular(function: Function, rest: &str) -> Parsed {
    let [params, salt, hash] = fields(rest)?;
    let hash = any_base64(hash)?;
    let rounds = match params.strip_prefix("i=") {
        None => number(params)?,
        Some(params) => match params.split_once(",l=") {
            None => number(params)?,
            Some((rounds, length)) if number(length)? as usize == hash.len() => number(rounds)?,
            Some(_) => return None,
        },
    };
    checked(function, rounds, any_base64(salt)?, hash)
}

/// Parses the base64 blob of ASP.NET Identity. Version 3: a byte 1, function, rounds and length of
/// the salt as big-endian numbers, salt, hash. Version 2: a byte 0, 16 bytes of salt, 32 of hash.
pub(super) fn parse_aspnet(text: &str) -> Parsed {
    let blob = STANDARD.decode(text).ok()?;
    let (version, rest) = blob.split_first()?;
    match version {
        0 if rest.len() == 48 => {
            let (salt, hash) = rest.split_at(16);
            checked(Function::Sha1, 1000, salt.to_vec(), hash.to_vec())
        }
        1 => {
            let (header, rest) = rest.split_first_chunk::<12>()?;
            let field = |at: usize| {
                u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let function = match field(0) {
                0 => Function::Sha1,
                1 => Function::Sha256,
                2 => Function::Sha512,
                _ => return None,
            };
            let salt_bytes = usize::try_from(field(8)).ok()?;
            let (salt, hash) = rest.split_at_checked(salt_bytes)?;
            checked(function, field(4), salt.to_vec(), hash.to_vec())
        }
        _ => None,
    }
}

fn checked(function: Function, rounds: u32, salt: Vec<u8>, hash: Vec<u8>) -> Parsed {
    let blocks = u32::try_from(hash.len().div_ceil(function.digest_bytes())).ok()?;
    let is_sound = rounds > 0
        && rounds.checked_mul(blocks)? <= MOST_ROUNDS
        && (1..=LONGEST_SALT).contains(&salt.len())
        && HASH_BYTES.contains(&hash.len());
    is_sound.then(|| -> Box<dyn ForeignHash> {
        Box::new(Pbkdf2 {
            function,
            rounds,
            salt,
            hash,
        })
    })
}

impl ForeignHash for Pbkdf2 {
    fn matches(&self, password: &str) -> Option<bool> {
        let mut made = vec![0; self.hash.len()];
        let algorithm = match self.function {
            Function::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Function::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Function::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let rounds = NonZeroU32::new(self.rounds)?;
        pbkdf2::derive(
            algorithm,
            rounds,
            &self.salt,
            password.as_bytes(),
            &mut made,
        );
        Some(made.ct_eq(&self.hash).into())
    }
}
