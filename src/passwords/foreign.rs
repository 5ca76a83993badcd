//! Password hashes made elsewhere: which of them can be checked at sign-in, and checking them.
//!
//! Owns the reading of the forms that imported accounts bring along: Django's (`django.contrib.auth.hashers`), plain
//! bcrypt, and plain Argon2 in the PHC string format. It writes no hash, and it does not know what becomes of one that
//! fits: replacing it by an own one is left to the sign-in. Checking is slow on purpose and takes the thread it is
//! called on, so only the hashing threads of the parent module call it.
//!
//! A hash carries its own price, and one that asks for hours or for all the memory would hold a hashing thread for as
//! long as somebody tries to sign in. Hashes dearer than the bounds below therefore count as unknown, so that the
//! import refuses them instead of a sign-in. The bounds are several times what any of the forms is commonly used with,
//! and allow for at most about ten seconds of an ordinary core.

use std::ops::RangeInclusive;
use std::str::FromStr as _;

use argon2::Argon2;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bcrypt::HashParts;
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::digest;

/// Longest hash that is looked at, in bytes. Django's own column holds 128 characters.
const LONGEST_HASH: usize = 512;

/// Highest cost of bcrypt: 32 times the work of Django's 12.
const HIGHEST_BCRYPT_COST: u32 = 17;

/// Most rounds of PBKDF2: ten times those of Django 5.2.
const MOST_PBKDF2_ROUNDS: u32 = 10_000_000;

/// Most memory for one check, in KiB: five times that of Django's Argon2. Every hashing thread may need it at once.
const MOST_MEMORY_KIB: u64 = 512 * 1024;

/// Most memory that one check may write, every pass over the same memory counted anew, in KiB. Django's Argon2 writes
/// 200 MiB, its scrypt 80 MiB.
const MOST_WRITTEN_KIB: u64 = 2 * 1024 * 1024;

/// Length of Argon2's salt, in bytes; it takes none shorter.
const ARGON2_SALT_BYTES: RangeInclusive<usize> = 8..=64;

/// Length of Argon2's hash, in bytes, as the PHC string format has it. A shorter one would be fitted by other passwords
/// too.
const ARGON2_HASH_BYTES: RangeInclusive<usize> = 12..=64;

/// Length of the hash of Django's scrypt, in bytes.
const SCRYPT_HASH_BYTES: usize = 64;

/// Whether `hash` has a form, own or foreign, that can be checked at sign-in, is well-formed, and stays within the
/// bounds of this module. Cheap: nothing is hashed.
///
/// The forms:
/// - Django's `bcrypt_sha256$`, `bcrypt$`, `pbkdf2_sha256$`, `pbkdf2_sha1$`, `argon2$` and `scrypt$`;
/// - plain bcrypt of the versions `$2a$`, `$2b$` and `$2y$`. `$2x$` marks hashes of a faulty implementation that read
///   letters beyond ASCII wrongly, and is unknown;
/// - plain `$argon2id$`, `$argon2i$` and `$argon2d$`;
/// - whatever begins with `!`, which is how Django marks an account without a usable password.
#[must_use]
pub fn is_known(hash: &str) -> bool {
    Form::parse(hash).is_some()
}

/// Whether the password fits a hash of one of the forms of [`is_known`]; `None` when the hash is none of them. An
/// account without a usable password is fitted by no password, and says so without the work of a real check.
pub(super) fn verify(password: &str, hash: &str) -> Option<bool> {
    Form::parse(hash)?.fits(password)
}

/// A hash taken apart.
enum Form<'a> {
    Unusable,
    Bcrypt {
        /// Whether bcrypt is given the hexadecimal SHA-256 of the password, as in the own form.
        digested: bool,
        hash: &'a str,
    },
    Pbkdf2 {
        function: Pbkdf2Function,
        rounds: u32,
        salt: &'a str,
        hash: Vec<u8>,
    },
    Argon2 {
        hasher: Box<Argon2<'static>>,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Scrypt {
        params: scrypt::Params,
        salt: &'a str,
        hash: Vec<u8>,
    },
}

#[derive(Clone, Copy)]
enum Pbkdf2Function {
    Sha1,
    Sha256,
}

impl<'a> Form<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST_HASH {
            return None;
        }
        if text.starts_with('!') {
            return Some(Self::Unusable);
        }
        let (algorithm, rest) = text.split_once('$')?;
        match algorithm {
            "bcrypt_sha256" => Self::bcrypt(true, rest),
            "bcrypt" => Self::bcrypt(false, rest),
            "pbkdf2_sha256" => Self::pbkdf2(Pbkdf2Function::Sha256, 32, rest),
            "pbkdf2_sha1" => Self::pbkdf2(Pbkdf2Function::Sha1, 20, rest),
            "argon2" => Self::argon2(rest),
            "scrypt" => Self::scrypt(rest),
            // The plain forms begin with the dollar sign themselves.
            "" if rest.starts_with("argon2") => Self::argon2(rest),
            "" => Self::bcrypt(false, text),
            _ => None,
        }
    }

    /// `$2b$<cost of two digits>$<salt and hash>`.
    fn bcrypt(digested: bool, hash: &'a str) -> Option<Self> {
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
        (4..=HIGHEST_BCRYPT_COST)
            .contains(&cost)
            .then_some(Self::Bcrypt { digested, hash })
    }

    /// `<rounds>$<salt as it is>$<hash in base64>`.
    fn pbkdf2(function: Pbkdf2Function, hash_bytes: usize, rest: &'a str) -> Option<Self> {
        let [rounds, salt, hash] = fields(rest)?;
        let rounds = number(rounds)?;
        let hash = STANDARD.decode(hash).ok()?;
        let known = (1..=MOST_PBKDF2_ROUNDS).contains(&rounds)
            && !salt.is_empty()
            && hash.len() == hash_bytes;
        known.then_some(Self::Pbkdf2 {
            function,
            rounds,
            salt,
            hash,
        })
    }

    /// `argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<hash>`, the last two in base64 without padding. Hashes older
    /// than the version field lack it, and the parameters stand in this order, as in Argon2's reference implementation.
    fn argon2(rest: &'a str) -> Option<Self> {
        let (variant, rest) = rest.split_once('$')?;
        let variant = match variant {
            "argon2d" => argon2::Algorithm::Argon2d,
            "argon2i" => argon2::Algorithm::Argon2i,
            "argon2id" => argon2::Algorithm::Argon2id,
            _ => return None,
        };
        let (version, rest) = match rest.strip_prefix("v=") {
            Some(rest) => rest.split_once('$')?,
            None => ("16", rest),
        };
        let version = argon2::Version::try_from(number(version)?).ok()?;
        let [costs, salt, hash] = fields(rest)?;
        let (memory, costs) = costs.strip_prefix("m=")?.split_once(",t=")?;
        let (passes, lanes) = costs.split_once(",p=")?;
        let (memory, passes, lanes) = (number(memory)?, number(passes)?, number(lanes)?);
        if !affordable(u64::from(memory), passes) {
            return None;
        }
        let salt = STANDARD_NO_PAD.decode(salt).ok()?;
        let hash = STANDARD_NO_PAD.decode(hash).ok()?;
        if !ARGON2_SALT_BYTES.contains(&salt.len()) || !ARGON2_HASH_BYTES.contains(&hash.len()) {
            return None;
        }
        let params = argon2::Params::new(memory, passes, lanes, Some(hash.len())).ok()?;
        Some(Self::Argon2 {
            hasher: Box::new(Argon2::new(variant, version, params)),
            salt,
            hash,
        })
    }

    /// `<N>$<salt as it is>$<r>$<p>$<hash in base64>`.
    fn scrypt(rest: &'a str) -> Option<Self> {
        let [work_factor, salt, block_size, lanes, hash] = fields(rest)?;
        let work_factor = number(work_factor)?;
        let (block_size, lanes) = (number(block_size)?, number(lanes)?);
        // scrypt keeps a block of 128·r bytes for each of the p lanes, and beside them fills N such blocks anew for
        // every lane. 128 bytes are an eighth of a KiB.
        let kib = |blocks: u32| (u64::from(blocks) * u64::from(block_size)).div_ceil(8);
        let (filled, kept) = (kib(work_factor), kib(lanes));
        if !affordable(filled, lanes) || !affordable(filled + kept, 1) {
            return None;
        }
        let hash = STANDARD.decode(hash).ok()?;
        let possible = work_factor > 1 && work_factor.is_power_of_two();
        if !possible || salt.is_empty() || hash.len() != SCRYPT_HASH_BYTES {
            return None;
        }
        let exponent = u8::try_from(work_factor.ilog2()).ok()?;
        let params = scrypt::Params::new(exponent, block_size, lanes, SCRYPT_HASH_BYTES).ok()?;
        Some(Self::Scrypt { params, salt, hash })
    }

    fn fits(&self, password: &str) -> Option<bool> {
        match self {
            Self::Unusable => Some(false),
            Self::Bcrypt { digested, hash } => {
                // Without digesting, bcrypt reads 72 bytes and no more. Hashes of longer passwords were made so, and
                // only cutting lets their owners in.
                let fits = if *digested {
                    bcrypt::verify(digest(password), hash)
                } else {
                    bcrypt::verify(password, hash)
                };
                fits.ok()
            }
            Self::Pbkdf2 {
                function,
                rounds,
                salt,
                hash,
            } => {
                let mut made = vec![0; hash.len()];
                let derive = match function {
                    Pbkdf2Function::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>,
                    Pbkdf2Function::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>,
                };
                derive(password.as_bytes(), salt.as_bytes(), *rounds, &mut made);
                Some(made.ct_eq(hash).into())
            }
            Self::Argon2 { hasher, salt, hash } => {
                let mut made = vec![0; hash.len()];
                let mut memory = vec![argon2::Block::default(); hasher.params().block_count()];
                hasher
                    .hash_password_into_with_memory(
                        password.as_bytes(),
                        salt,
                        &mut made,
                        &mut memory,
                    )
                    .ok()?;
                Some(made.ct_eq(hash).into())
            }
            Self::Scrypt { params, salt, hash } => {
                let mut made = vec![0; hash.len()];
                scrypt::scrypt(password.as_bytes(), salt.as_bytes(), params, &mut made).ok()?;
                Some(made.ct_eq(hash).into())
            }
        }
    }
}

/// Whether so much memory, filled so many times, stays within the bounds.
fn affordable(memory_kib: u64, times: u32) -> bool {
    memory_kib <= MOST_MEMORY_KIB && memory_kib * u64::from(times) <= MOST_WRITTEN_KIB
}

/// The fields between dollar signs, when there are exactly that many.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split('$').collect::<Vec<_>>().try_into().ok()
}

/// A number exactly as every hasher writes it: digits alone, without a leading zero.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: &str = "river-Boat-2291";
    const BEYOND_ASCII: &str = "pässwört-密码-😀";
    /// Longer than bcrypt reads, and than a block of SHA-256, which HMAC treats differently.
    const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-ümlaut-and-a-tail-that-goes-\
                        beyond-seventy-two-bytes";

    /// Made by Django 5.2 with bcrypt 5.0 and argon2-cffi 25.1, at low cost.
    const DJANGO: &[(&str, &str)] = &[
        (
            ASCII,
            "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuBh97FWWvRedaNKU0mQ/EPOPuyk9oNAa",
        ),
        (
            ASCII,
            "bcrypt_sha256$$2b$06$QhDIQPlwbMcJHxkVN/ZOK.RYm0DGpwFFg4iKxefxuv1D/gwBsU4Om",
        ),
        (
            BEYOND_ASCII,
            "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuuQigQi5z3sokMh0odfqwJXoG3BVtP7S",
        ),
        (
            LONG,
            "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuvMuLAzc7v5sWei.T4viDUDtMFQpeHu.",
        ),
        (
            ASCII,
            "bcrypt$$2b$04$abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.",
        ),
        (
            ASCII,
            "bcrypt$$2a$06$eVq5WrXvAuktpIES1r2HU.DwNLmYFmgO0YaO3bPaxID/uDG/5QJeq",
        ),
        (
            BEYOND_ASCII,
            "bcrypt$$2b$04$abcdefghijklmnopqrstuuS0ZZ/8FXRYut69zTTik.l0R/ZzyOXue",
        ),
        (
            ASCII,
            "pbkdf2_sha256$1000$seasalt$c4CsE8ycS3AWCM2yZHjzC/ejmg4XkwmEM5kI7oLfgoc=",
        ),
        (
            ASCII,
            "pbkdf2_sha256$1$seasalt1$6nxmV+gGfodCDrskfcP3euWTjp3GPsMllkIhT30LHJU=",
        ),
        (
            BEYOND_ASCII,
            "pbkdf2_sha256$1000$seasalt$O94NvpXQ9wW2Y0HaqLUdrjdZdHoFEIHoDvIG+Xfmc50=",
        ),
        (
            LONG,
            "pbkdf2_sha256$1000$seasalt$4YpmxLSx+iMyJy3ojIm+NcL9Dv/qaZTC5rh2a97MjTY=",
        ),
        (
            ASCII,
            "pbkdf2_sha1$1000$seasalt$d3xOOhnoMERKhH4W99rFb8GSIII=",
        ),
        (
            BEYOND_ASCII,
            "pbkdf2_sha1$1000$seasalt$2FwIhgiD/sTlRtO3aJGjeWSnjyw=",
        ),
        (
            LONG,
            "pbkdf2_sha1$1000$seasalt$yi+EmPuJHX5KnhT+m1Q0+GZDzFc=",
        ),
        (
            ASCII,
            "argon2$argon2id$v=19$m=128,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$Gv/xUfHgB0n2y8M+NMsmFogAjREOdi8VZGcHBTWJ7qc",
        ),
        (
            BEYOND_ASCII,
            "argon2$argon2id$v=19$m=128,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$scqb0mmywn9NRZv4pgT+ioBY5+cOh+bxoN6XS3XWtl8",
        ),
        (
            LONG,
            "argon2$argon2id$v=19$m=128,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$iFxYlEadvOu/8sb5cdXr3ALm9RmLVPa5AQKktkw0tVw",
        ),
        (
            ASCII,
            "argon2$argon2i$v=19$m=512,t=2,p=2$cf+xxc947X8igPMkNB2Rog$eDvM6D1pkOYOVf3LbuKwHHV5e5uQHgdZvVh4gEDxBog",
        ),
        (
            ASCII,
            "argon2$argon2d$v=19$m=64,t=1,p=1$bPeaU3f6aFtg/VtwKaLd8A$Co3poRXSdm3PEBKLUIKWJRDrtU2NzVsZwCqruu+ORQc",
        ),
        (
            ASCII,
            "scrypt$1024$seasalt$8$2$Wnvd1myFU1qvTjT3nXF1VPAK7Fw/dnlIVO91wWE++cb0Q8HfBpZRa20x8FQC4ESEjV/ScYV6H3hKQ4uE\
             75y4ww==",
        ),
        (
            BEYOND_ASCII,
            "scrypt$1024$seasalt$8$2$6H/A0nBsR7kqehnF7dcicx/tUe/ESVeN1ANvKpNF5nV3uJCm6gWkjAsQVQ75/4l0W4g4uRms05E0THKa\
             wGjAug==",
        ),
        (
            LONG,
            "scrypt$1024$seasalt$8$2$19aO8kRBxypQtrAtsnX9JrgsjZP/sCgzZzg8XUSsUmMhvCpvlNzSgi9hfRgtnkvAekqGLY8SDGDR6+F0\
             WiNfRA==",
        ),
    ];

    /// bcrypt by libxcrypt, Argon2 by its reference implementation.
    const PLAIN: &[(&str, &str)] = &[
        (
            BEYOND_ASCII,
            "$2a$04$abcdefghijklmnopqrstuuS0ZZ/8FXRYut69zTTik.l0R/ZzyOXue",
        ),
        (
            BEYOND_ASCII,
            "$2b$04$abcdefghijklmnopqrstuuS0ZZ/8FXRYut69zTTik.l0R/ZzyOXue",
        ),
        (
            ASCII,
            "$2y$04$abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.",
        ),
        (
            ASCII,
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$r0HbjpaqAxeY7/f98TlvnBkQGHRQXk1X9y3SdY+vl/k",
        ),
        (
            ASCII,
            "$argon2id$v=16$m=64,t=2,p=1$c29tZXNhbHQ$Vhjz5eGtD2OMxOZtWK9fU+mwnA8M8lBrB5BwNIBvkg8",
        ),
        (
            ASCII,
            "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ$yHEm7uBqPyTcTTZzu90FzQlE2+YzBKGSYiB2/G7Krh0",
        ),
        (
            ASCII,
            "$argon2i$m=64,t=2,p=1$c29tZXNhbHQ$DlEZXfrreJoxOKXY0yDEVcUh2LWS8mAzjNSyV8re33k",
        ),
        (
            ASCII,
            "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHQ$w6UnwNJiuvsRp/oCQKeq1aGSUZP3eiOIiyDWt6ohcus",
        ),
    ];

    #[test]
    fn hashes_of_others_are_fitted_by_their_password_alone() {
        for (password, hash) in DJANGO.iter().chain(PLAIN) {
            assert!(is_known(hash), "{hash}");
            assert_eq!(verify(password, hash), Some(true), "{hash}");
            for wrong in [
                format!("{password}x"),
                format!("x{password}"),
                String::new(),
            ] {
                assert_eq!(verify(&wrong, hash), Some(false), "{wrong:?} {hash}");
            }
        }
    }

    #[test]
    fn bcrypt_without_digest_reads_72_bytes() {
        // Made from the first 72 bytes, as python-bcrypt before 5.0 and PHP did for whatever was longer.
        let hash = "bcrypt$$2b$04$abcdefghijklmnopqrstuu9Hb4kp0FBc8Sg2LDdNTNjEX0aLTrgby";
        let plain = hash.strip_prefix("bcrypt$").unwrap();
        for hash in [hash, plain] {
            assert_eq!(verify(LONG, hash), Some(true));
            assert_eq!(verify(&format!("{LONG}x"), hash), Some(true));
            assert_eq!(verify(&LONG[1..], hash), Some(false));
        }

        let full = "bcrypt$$2b$06$idwFxrZIlcMwTfd9iFsZS.fuXcIQrOgfMz7BNNbo/vGvJVPp5ccqy";
        assert_eq!(verify(&"0123456789ab".repeat(6), full), Some(true));
        assert_eq!(verify(&"0123456789ab".repeat(6)[..71], full), Some(false));
    }

    #[test]
    fn passwords_are_compared_as_typed() {
        // Django's hashes of a password with blanks around it, and of one whose accent is a letter of its own.
        for (password, other, hash) in [
            (
                "  padded pass  ",
                "padded pass",
                "bcrypt_sha256$$2b$06$vEj6Cx/qSW0gTnUV0NO0.uXDGINDjkh.Qn0aaGuak66Pp8t8Vk3e2",
            ),
            (
                "cafe\u{301}-au-lait-7",
                "caf\u{e9}-au-lait-7",
                "bcrypt_sha256$$2b$06$3uQ101kluPlka143VZ8K3OH4uCCozK5zrmYnmQb32ZXBJEijEkWxi",
            ),
        ] {
            assert_eq!(verify(password, hash), Some(true), "{hash}");
            assert_eq!(verify(other, hash), Some(false), "{hash}");
        }
    }

    #[test]
    fn an_unusable_password_is_known_and_never_fits() {
        for hash in ["!", "!eRziGXGj23rGAvWEUnUKxf5WQP3hUEilT5JeOeuk"] {
            assert!(is_known(hash));
            for password in ["", "!", &hash[1..], hash] {
                assert_eq!(verify(password, hash), Some(false));
            }
        }
    }

    #[test]
    fn a_hash_cut_anywhere_is_unknown() {
        for (_, hash) in DJANGO.iter().chain(PLAIN) {
            // Argon2's hash has no fixed length, so that cutting it can leave a well-formed one, of another password.
            let argon2 = hash.contains("argon2");
            for end in 0..hash.len() {
                let cut = &hash[..end];
                if argon2 && end + 28 > hash.len() {
                    assert_ne!(verify(ASCII, cut), Some(true), "{cut}");
                } else {
                    assert!(!is_known(cut), "{cut}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_well_formed_is_unknown() {
        let bcrypt = "abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.";
        let sha256 = "c4CsE8ycS3AWCM2yZHjzC/ejmg4XkwmEM5kI7oLfgoc=";
        let argon2 = "c29tZXNhbHQ$r0HbjpaqAxeY7/f98TlvnBkQGHRQXk1X9y3SdY+vl/k";
        let scrypt = format!("{}==", "A".repeat(86));
        for hash in [
            String::new(),
            "$".into(),
            "$$$$$$$$".into(),
            ASCII.into(),
            "foo$1$2$3".into(),
            "md5$Yl6a4pnapF39GqrX01HYyt$39db8adf2a918c380519fd3cc33069e4".into(),
            format!(" $2b$04${bcrypt}"),
            format!("$2b$04${bcrypt}\n"),
            format!("$2x$04${bcrypt}"),
            format!("$2$04${bcrypt}"),
            format!("$2b$+4${bcrypt}"),
            format!("$2b$03${bcrypt}"),
            format!("$2b$04${}é", &bcrypt[..51]),
            format!("bcrypt_sha256$2b$04${bcrypt}"),
            format!("bcrypt$bcrypt$$2b$04${bcrypt}"),
            format!("pbkdf2_sha256$x$seasalt${sha256}"),
            format!("pbkdf2_sha256$0$seasalt${sha256}"),
            format!("pbkdf2_sha256$-1$seasalt${sha256}"),
            format!("pbkdf2_sha256$+1$seasalt${sha256}"),
            format!("pbkdf2_sha256$01$seasalt${sha256}"),
            format!("pbkdf2_sha256$1$${sha256}"),
            format!("pbkdf2_sha256$1$sea$salt${sha256}"),
            format!("pbkdf2_sha256$1$seasalt${}", &sha256[..43]),
            "pbkdf2_sha256$1$seasalt$".into(),
            "pbkdf2_sha256$1$seasalt$AAAA".into(),
            format!("pbkdf2_sha1$1$seasalt${sha256}"),
            format!("pbkdf2_sha512$1$seasalt${sha256}"),
            format!("argon2$v=19$m=64,t=2,p=1${argon2}"),
            format!("argon2$$argon2id$v=19$m=64,t=2,p=1${argon2}"),
            format!("$argon2x$v=19$m=64,t=2,p=1${argon2}"),
            format!("$argon2id$v=20$m=64,t=2,p=1${argon2}"),
            format!("$argon2id$v=19$m=64,p=1,t=2${argon2}"),
            format!("$argon2id$v=19$m=64,t=2${argon2}"),
            format!("$argon2id$v=19$m=64,t=0,p=1${argon2}"),
            format!("$argon2id$v=19$m=64,t=2,p=0${argon2}"),
            format!("$argon2id$v=19$m=15,t=2,p=2${argon2}"),
            format!("$argon2id$v=19$m=64,t=2,p=1,data=AAAA${argon2}"),
            format!("$argon2id$v=19$m=64,t=2,p=1${argon2}="),
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$".into(),
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$AAAA".into(),
            format!("$argon2id$v=19$m=64,t=2,p=1$c29t{}", &argon2[11..]),
            format!("scrypt$1000$seasalt$8$1${scrypt}"),
            format!("scrypt$0$seasalt$8$1${scrypt}"),
            format!("scrypt$1$seasalt$8$1${scrypt}"),
            format!("scrypt$1024$seasalt$0$1${scrypt}"),
            format!("scrypt$1024$seasalt$8$0${scrypt}"),
            format!("scrypt$1024$$8$1${scrypt}"),
            format!("scrypt$1024$seasalt$8${scrypt}"),
            "scrypt$1024$seasalt$8$1$AAAA".into(),
            format!("!{}", "x".repeat(LONGEST_HASH)),
        ] {
            assert!(!is_known(&hash), "{hash}");
            assert_eq!(verify(ASCII, &hash), None, "{hash}");
        }
    }

    #[test]
    fn the_price_of_a_check_is_bounded() {
        let bcrypt = "abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.";
        let sha256 = "c4CsE8ycS3AWCM2yZHjzC/ejmg4XkwmEM5kI7oLfgoc=";
        let argon2 = "c29tZXNhbHQ$r0HbjpaqAxeY7/f98TlvnBkQGHRQXk1X9y3SdY+vl/k";
        let scrypt = format!("{}==", "A".repeat(86));
        for (known, hash) in [
            (true, format!("$2b$17${bcrypt}")),
            (false, format!("$2b$18${bcrypt}")),
            (false, format!("bcrypt_sha256$$2b$31${bcrypt}")),
            (true, format!("pbkdf2_sha256$10000000$seasalt${sha256}")),
            (false, format!("pbkdf2_sha256$10000001$seasalt${sha256}")),
            (
                false,
                format!("pbkdf2_sha256$99999999999999999999$seasalt${sha256}"),
            ),
            (true, format!("$argon2id$v=19$m=524288,t=4,p=1${argon2}")),
            (false, format!("$argon2id$v=19$m=524288,t=5,p=1${argon2}")),
            (false, format!("$argon2id$v=19$m=524289,t=1,p=1${argon2}")),
            (
                false,
                format!("$argon2id$v=19$m=4294967295,t=4294967295,p=1${argon2}"),
            ),
            (
                false,
                format!("$argon2id$v=19$m=8,t=4294967295,p=1${argon2}"),
            ),
            (true, format!("scrypt$262144$seasalt$8$8${scrypt}")),
            (false, format!("scrypt$262144$seasalt$8$9${scrypt}")),
            (false, format!("scrypt$524288$seasalt$8$1${scrypt}")),
            (false, format!("scrypt$2$seasalt$4294967295$1${scrypt}")),
            (false, format!("scrypt$2$seasalt$1$1073741823${scrypt}")),
            (
                false,
                format!("scrypt$2147483648$seasalt$4294967295$4294967295${scrypt}"),
            ),
        ] {
            assert_eq!(is_known(&hash), known, "{hash}");
        }
    }
}
