//! Argon2 and scrypt: the PHC string format, Django, Firebase, and better-auth.

use std::ops::RangeInclusive;

use ::argon2::Argon2;
use aes::Aes256;
use aes::cipher::{BlockEncrypt as _, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use icu_normalizer::ComposingNormalizerBorrowed;
use subtle::ConstantTimeEq as _;

use super::{ForeignHash, Parsed, any_base64, fields, number};

/// Most memory for one verification, in KiB: five times that of Django's Argon2. Every hashing
/// thread may need it at once.
const MOST_MEMORY_KIB: u64 = 512 * 1024;

/// Most memory that one verification may write, in KiB, counting every pass over the same memory.
/// Django's Argon2 writes 200 MiB, its scrypt 80 MiB.
const MOST_WRITTEN_KIB: u64 = 2 * 1024 * 1024;

/// Length of Argon2's salt, in bytes; the algorithm takes none shorter.
const ARGON2_SALT_BYTES: RangeInclusive<usize> = 8..=64;

/// Length of Argon2's hash, in bytes, as the PHC string format has it. Other passwords too would
/// match a shorter one.
const ARGON2_HASH_BYTES: RangeInclusive<usize> = 12..=64;

/// Length of the hash of Django's and better-auth's scrypt, in bytes.
const SCRYPT_HASH_BYTES: usize = 64;

/// Length of Firebase's signer key, and so of its hashes, in bytes.
const FIREBASE_KEY_BYTES: RangeInclusive<usize> = 16..=128;

/// Length of better-auth's salt, in hexadecimal digits.
const BETTER_AUTH_SALT: usize = 32;

struct Argon2Hash {
    hasher: Argon2<'static>,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Parses `argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<hash>`, the last two in base64
/// without padding. Hashes older than the version field lack it; the parameters have this order,
/// as in Argon2's reference implementation.
pub(super) fn parse_argon2(rest: &str) -> Parsed {
    let (variant, rest) = rest.split_once('$')?;
    let variant = match variant {
        "argon2d" => ::argon2::Algorithm::Argon2d,
        "argon2i" => ::argon2::Algorithm::Argon2i,
        "argon2id" => ::argon2::Algorithm::Argon2id,
        _ => return None,
    };
    let (version, rest) = match rest.strip_prefix("v=") {
        Some(rest) => rest.split_once('$')?,
        None => ("16", rest),
    };
    let version = ::argon2::Version::try_from(number(version)?).ok()?;
    let [costs, salt, hash] = fields(rest)?;
    let (memory, costs) = costs.strip_prefix("m=")?.split_once(",t=")?;
    let (passes, lanes) = costs.split_once(",p=")?;
    let (memory, passes, lanes) = (number(memory)?, number(passes)?, number(lanes)?);
    if !is_affordable(u64::from(memory), passes) {
        return None;
    }
    let salt = STANDARD_NO_PAD.decode(salt).ok()?;
    let hash = STANDARD_NO_PAD.decode(hash).ok()?;
    if !ARGON2_SALT_BYTES.contains(&salt.len()) || !ARGON2_HASH_BYTES.contains(&hash.len()) {
        return None;
    }
    let params = ::argon2::Params::new(memory, passes, lanes, Some(hash.len())).ok()?;
    Some(Box::new(Argon2Hash {
        hasher: Argon2::new(variant, version, params),
        salt,
        hash,
    }))
}

impl ForeignHash for Argon2Hash {
    fn matches(&self, password: &str) -> Option<bool> {
        let mut made = vec![0; self.hash.len()];
        let blocks = self.hasher.params().block_count();
        let mut memory = vec![::argon2::Block::default(); blocks];
        self.hasher
            .hash_password_into_with_memory(password.as_bytes(), &self.salt, &mut made, &mut memory)
            .ok()?;
        Some(made.ct_eq(&self.hash).into())
    }
}

/// What is done with a password before or after scrypt.
enum ScryptVariant {
    /// Nothing.
    Plain,
    /// The password is normalised to NFKC before (better-auth).
    Nfkc,
    /// The derived key encrypts this signer key after, by AES-256 in counter mode (Firebase).
    Firebase { signer_key: Vec<u8> },
}

struct Scrypt {
    variant: ScryptVariant,
    params: ::scrypt::Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Parses Django's `<N>$<salt as it is>$<r>$<p>$<hash in base64>`.
pub(super) fn parse_django_scrypt(rest: &str) -> Parsed {
    let [work_factor, salt, block_size, lanes, hash] = fields(rest)?;
    let work_factor = number(work_factor)?;
    let hash = STANDARD.decode(hash).ok()?;
    let is_possible = work_factor > 1 && work_factor.is_power_of_two();
    if !is_possible || salt.is_empty() || hash.len() != SCRYPT_HASH_BYTES {
        return None;
    }
    let params = scrypt_params(work_factor.ilog2(), number(block_size)?, number(lanes)?)?;
    Some(Box::new(Scrypt {
        variant: ScryptVariant::Plain,
        params,
        salt: salt.as_bytes().to_vec(),
        hash,
    }))
}

/// Parses `v=1,n=<memory cost>,r=<rounds>,p=1,ss=<salt separator>,sk=<signer key>$<salt>$<hash>`,
/// the form that Supabase's GoTrue defined for the hashes of Firebase; binary parts are base64.
pub(super) fn parse_firebase(rest: &str) -> Parsed {
    let [params, salt, hash] = fields(rest)?;
    let (exponent, params) = params.strip_prefix("v=1,n=")?.split_once(",r=")?;
    let (block_size, params) = params.split_once(",p=")?;
    let (lanes, params) = params.split_once(",ss=")?;
    let (separator, signer_key) = params.split_once(",sk=")?;
    let signer_key = any_base64(signer_key)?;
    let hash = any_base64(hash)?;
    if !FIREBASE_KEY_BYTES.contains(&signer_key.len()) || hash.len() != signer_key.len() {
        return None;
    }
    let mut salt = any_base64(salt).filter(|salt| !salt.is_empty())?;
    salt.extend(any_base64(separator)?);
    let params = scrypt_params(number(exponent)?, number(block_size)?, number(lanes)?)?;
    Some(Box::new(Scrypt {
        variant: ScryptVariant::Firebase { signer_key },
        params,
        salt,
        hash,
    }))
}

/// Parses better-auth's `<salt>:<hash>`, both hexadecimal; the digits themselves are the salt.
pub(super) fn parse_better_auth(text: &str) -> Parsed {
    let (salt, hash) = text.split_once(':')?;
    let hash = hex(hash)?;
    if salt.len() != BETTER_AUTH_SALT || hash.len() != SCRYPT_HASH_BYTES {
        return None;
    }
    hex(salt)?;
    Some(Box::new(Scrypt {
        variant: ScryptVariant::Nfkc,
        params: scrypt_params(14, 16, 1)?,
        salt: salt.as_bytes().to_vec(),
        hash,
    }))
}

fn scrypt_params(exponent: u32, block_size: u32, lanes: u32) -> Option<::scrypt::Params> {
    let work_factor = 1_u32.checked_shl(exponent)?;
    // scrypt keeps a block of 128·r bytes for each of the p lanes, and beside them fills N such
    // blocks for every lane. 128 bytes are an eighth of a KiB.
    let kib = |blocks: u32| (u64::from(blocks) * u64::from(block_size)).div_ceil(8);
    let (filled, kept) = (kib(work_factor), kib(lanes));
    if exponent == 0 || !is_affordable(filled, lanes) || !is_affordable(filled + kept, 1) {
        return None;
    }
    let exponent = u8::try_from(exponent).ok()?;
    ::scrypt::Params::new(exponent, block_size, lanes, SCRYPT_HASH_BYTES).ok()
}

impl ForeignHash for Scrypt {
    fn matches(&self, password: &str) -> Option<bool> {
        let mut made = vec![0; SCRYPT_HASH_BYTES];
        let mut derive = |password: &str| {
            ::scrypt::scrypt(password.as_bytes(), &self.salt, &self.params, &mut made).ok()
        };
        match &self.variant {
            ScryptVariant::Plain => derive(password)?,
            ScryptVariant::Nfkc => {
                derive(&ComposingNormalizerBorrowed::new_nfkc().normalize(password))?;
            }
            ScryptVariant::Firebase { signer_key } => {
                derive(password)?;
                made = encrypt(made.first_chunk()?, signer_key);
            }
        }
        Some(made.ct_eq(&self.hash).into())
    }
}

/// AES-256 in counter mode, from counter zero.
fn encrypt(key: &[u8; 32], text: &[u8]) -> Vec<u8> {
    let cipher = Aes256::new(key.into());
    let mut encrypted = Vec::with_capacity(text.len());
    for (counter, block) in (0_u128..).zip(text.chunks(16)) {
        let mut stream = counter.to_be_bytes().into();
        cipher.encrypt_block(&mut stream);
        encrypted.extend(block.iter().zip(stream).map(|(text, key)| text ^ key));
    }
    encrypted
}

/// Whether memory of that size, filled that often, stays within the bounds.
fn is_affordable(memory_kib: u64, times: u32) -> bool {
    memory_kib <= MOST_MEMORY_KIB && memory_kib * u64::from(times) <= MOST_WRITTEN_KIB
}

/// Lower-case hexadecimal digits as bytes.
fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()
        })
        .collect()
}
