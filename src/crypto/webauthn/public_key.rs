//! Public keys of passkeys in the encoding of COSE (RFC 9052), and their signatures.

use minicbor::Decoder;
use minicbor::data::Type;
use ring::agreement;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::WebauthnError;
use crate::crypto::random;

/// An algorithm of signatures, by its number in the COSE registry.
pub(super) const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];

const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

/// Types of keys.
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;

/// Curves.
const P256: i64 = 1;
const ED25519_CURVE: i64 = 6;

/// Lengths of RSA moduli in bytes: those that are verified, 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Longest RSA exponent in bytes.
const EXPONENT_BYTES: usize = 4;

/// A public key of one of the algorithms that are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// A point of P-256, uncompressed.
    Es256([u8; 65]),
    /// A compressed point of Curve25519.
    EdDsa([u8; 32]),
    /// Modulus and exponent, big endian.
    Rs256(Vec<u8>, Vec<u8>),
}

impl PublicKey {
    /// Parses the key of a credential.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, WebauthnError> {
        Members::read(bytes)
            .and_then(Members::into_key)
            .ok_or(WebauthnError::PublicKey)
    }

    /// Its algorithm.
    pub(super) fn algorithm(&self) -> i64 {
        match self {
            Self::Es256(_) => ES256,
            Self::EdDsa(_) => EDDSA,
            Self::Rs256(..) => RS256,
        }
    }

    /// Checks that signatures with the key can exist, where that can be seen: a point has to be on
    /// its curve.
    pub(super) fn check(&self) -> Result<(), WebauthnError> {
        let Self::Es256(point) = self else {
            return Ok(());
        };
        let random = random::system();
        let private = agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random);
        let private = private.map_err(|_| WebauthnError::PublicKey)?;
        let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point);
        agreement::agree_ephemeral(private, &peer, |_| ()).map_err(|_| WebauthnError::PublicKey)
    }

    /// Verifies a signature.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), WebauthnError> {
        let verified = match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::EdDsa(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            Self::Rs256(n, e) => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
        };
        verified.map_err(|_| WebauthnError::Signature)
    }
}

/// The members of a COSE key that matter here.
#[derive(Default)]
struct Members<'a> {
    kind: Option<i64>,
    algorithm: Option<i64>,
    /// The curve, where the label -1 has a number.
    curve: Option<i64>,
    /// The modulus, where it has bytes.
    modulus: Option<&'a [u8]>,
    /// The first coordinate, or the exponent.
    x: Option<&'a [u8]>,
    y: Option<&'a [u8]>,
}

impl<'a> Members<'a> {
    /// Reads a map whose labels are integers. A label must not come twice.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let count = decoder.map().ok()??;
        let mut members = Self::default();
        for _ in 0..count {
            let is_first = match decoder.i64().ok()? {
                1 => members.kind.replace(decoder.i64().ok()?).is_none(),
                3 => members.algorithm.replace(decoder.i64().ok()?).is_none(),
                -1 if decoder.datatype().ok()? == Type::Bytes => {
                    members.modulus.replace(decoder.bytes().ok()?).is_none()
                }
                -1 => members.curve.replace(decoder.i64().ok()?).is_none(),
                -2 => members.x.replace(decoder.bytes().ok()?).is_none(),
                -3 => members.y.replace(decoder.bytes().ok()?).is_none(),
                _ => {
                    decoder.skip().ok()?;
                    true
                }
            };
            if !is_first {
                return None;
            }
        }
        (decoder.position() == bytes.len()).then_some(members)
    }

    /// The key, whose type, curve and algorithm have to agree.
    fn into_key(self) -> Option<PublicKey> {
        match (self.algorithm?, self.kind?, self.curve) {
            (ES256, EC2, Some(P256)) => {
                let mut point = [4; 65];
                let (x, y): (&[u8; 32], &[u8; 32]) =
                    (self.x?.try_into().ok()?, self.y?.try_into().ok()?);
                point[1..33].copy_from_slice(x);
                point[33..].copy_from_slice(y);
                Some(PublicKey::Es256(point))
            }
            (EDDSA, OKP, Some(ED25519_CURVE)) => Some(PublicKey::EdDsa(self.x?.try_into().ok()?)),
            (RS256, RSA, None) => {
                let (n, e) = (self.modulus?, self.x?);
                let is_number = |bytes: &[u8]| bytes.first().is_some_and(|byte| *byte != 0);
                let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
                let is_sound = is_number(n)
                    && is_number(e)
                    && is_odd(n)
                    && is_odd(e)
                    && e != [1]
                    && MODULUS_BYTES.contains(&n.len())
                    && e.len() <= EXPONENT_BYTES;
                is_sound.then(|| PublicKey::Rs256(n.to_vec(), e.to_vec()))
            }
            _ => None,
        }
    }
}
