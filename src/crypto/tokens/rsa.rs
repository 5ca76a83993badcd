//! RSA keys: generation, which `ring` does not offer, and their encoding.
//!
//! Signing and verification are `ring`'s. Primes are those of `crypto-primes`; every new key passes
//! the checks of `ring` and a trial signature before it is stored.

use crypto_bigint::{NonZero, U1024, U2048, Uint};
use crypto_primes::hazmat::{SetBits, SmallFactorsSieveFactory};
use crypto_primes::{Flavor, fips, sieve_and_find};
use rand::CryptoRng;

/// Bits of each of the two primes. Keys have 2048 bits, the minimum of RFC 7518.
const PRIME_BITS: u32 = 1024;

/// Miller-Rabin rounds per prime, of FIPS 186-5, table B.1, for an error below 2^-112.
const ROUNDS: usize = 5;

/// The public exponent of all keys, 65537.
pub(super) const EXPONENT: [u8; 3] = [1, 0, 1];

/// A new key pair.
pub(super) struct RsaKey {
    /// The private key in PKCS #1 DER (RFC 8017, appendix A.1.2).
    pub(super) private_key: Vec<u8>,
    /// The modulus in big-endian bytes.
    pub(super) modulus: Vec<u8>,
}

/// Generates a key pair. `None` when the generator of primes fails.
pub(super) fn generate(rng: &mut impl CryptoRng) -> Option<RsaKey> {
    // One attempt in about 30,000 fails, where a prime less one is a multiple of the exponent.
    (0..16).find_map(|_| {
        let (p, q) = (prime(rng)?, prime(rng)?);
        from_primes(p.max(q), p.min(q))
    })
}

/// A prime whose two highest bits are set, so that the product of two has twice its bits.
fn prime(rng: &mut impl CryptoRng) -> Option<U1024> {
    let sieve = SmallFactorsSieveFactory::new(Flavor::Any, PRIME_BITS, SetBits::TwoMsb).ok()?;
    let options = fips::FipsOptions::with_mr_iterations(ROUNDS).with_lucas_test();
    sieve_and_find(rng, sieve, |rng, candidate: &U1024| {
        fips::is_prime(rng, Flavor::Any, candidate, options)
    })
    .ok()?
}

/// The key pair of two primes, the larger one first. `None` when they do not fit the exponent.
fn from_primes(p: U1024, q: U1024) -> Option<RsaKey> {
    let one = U1024::ONE;
    let modulus: U2048 = p.concatenating_mul(&q);
    let (p1, q1) = (p.wrapping_sub(&one), q.wrapping_sub(&one));
    let totient: U2048 = p1.concatenating_mul(&q1);
    let exponent = U2048::from_u32(65_537);
    let private = exponent.invert_mod(&non_zero(totient)?).into_option()?;
    let (p1, q1) = (non_zero(p1)?, non_zero(q1)?);
    let (dp, dq) = (private.rem(&p1), private.rem(&q1));
    let inverse = q.invert_mod(&non_zero(p)?).into_option()?;
    let integers = [
        integer(&[0]),
        integer(&modulus.to_be_bytes()),
        integer(&EXPONENT),
        integer(&private.to_be_bytes()),
        integer(&p.to_be_bytes()),
        integer(&q.to_be_bytes()),
        integer(&dp.to_be_bytes()),
        integer(&dq.to_be_bytes()),
        integer(&inverse.to_be_bytes()),
    ];
    Some(RsaKey {
        private_key: tagged(0x30, &integers.concat()),
        modulus: modulus.to_be_bytes().to_vec(),
    })
}

fn non_zero<const LIMBS: usize>(number: Uint<LIMBS>) -> Option<NonZero<Uint<LIMBS>>> {
    NonZero::new(number).into_option()
}

/// A positive INTEGER in DER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zeros.min(bytes.len() - 1)..];
    // The highest bit is the sign.
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    tagged(0x02, &[sign, digits].concat())
}

/// A value in DER: tag, length, content of less than 64 KiB.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len())
        .expect("a key has less than 64 KiB")
        .to_be_bytes();
    let length = match (high, low) {
        (0, 0..=0x7f) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], &length[..], content].concat()
}
