//! Signing keys: generation, publication as JSON Web Keys (RFC 7517), and use.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{TokenError, provider, rsa};
use crate::crypto::random;
use crate::domain::{SigningAlgorithm, StoredKey, Timestamp};

/// A public key of the published set (RFC 7517, RFC 7518, RFC 8037).
///
/// The members of the key follow from its type: `crv` and `x` of an `OKP` key (EdDSA), `crv`, `x`
/// and `y` of an `EC` key (ES256), `n` and `e` of an `RSA` key (RS256).
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct PublicKey {
    kty: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    kid: String,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
}

/// The published key set.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KeySet {
    pub(super) keys: Vec<PublicKey>,
}

/// Generates a key pair for the tokens of the account API.
///
/// RSA takes up to a few seconds, the other algorithms microseconds.
///
/// # Errors
/// When the random number generator or the self-test of the new key fails.
pub fn generate_key(algorithm: SigningAlgorithm, now: Timestamp) -> Result<StoredKey, TokenError> {
    let (private_key, public_key) = generate_pair(algorithm)
        .ok_or_else(|| TokenError::Failed(format!("cannot generate a key for {algorithm}")))?;
    let key = StoredKey {
        kid: PublicKey::new(algorithm, &public_key, String::new())
            .map(|key| key.thumbprint())
            .unwrap_or_default(),
        algorithm: algorithm.as_str().into(),
        private_key,
        is_sealed: false,
        public_key,
        created_at: now,
        retired_at: None,
        is_for_clients: false,
    };
    test_key(algorithm, &key)?;
    Ok(key)
}

/// Private and public key in the form in which they are stored.
fn generate_pair(algorithm: SigningAlgorithm) -> Option<(Vec<u8>, Vec<u8>)> {
    let random = &random::system();
    match algorithm {
        SigningAlgorithm::Es256 => {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, random).ok()?;
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), random).ok()?;
            Some((document.as_ref().into(), pair.public_key().as_ref().into()))
        }
        SigningAlgorithm::EdDsa => {
            let document = Ed25519KeyPair::generate_pkcs8(random).ok()?;
            let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).ok()?;
            Some((document.as_ref().into(), pair.public_key().as_ref().into()))
        }
        SigningAlgorithm::Rs256 => {
            let key = rsa::generate(&mut random::generator())?;
            Some((key.private_key, key.modulus))
        }
    }
}

/// Signs and verifies a message, which also completes the checks of a new RSA key.
fn test_key(algorithm: SigningAlgorithm, key: &StoredKey) -> Result<(), TokenError> {
    provider::install();
    let jose = jose_algorithm(algorithm);
    let message = b"self-test";
    let passed = jsonwebtoken::crypto::sign(message, &encoding_key(algorithm, key), jose)
        .and_then(|signature| {
            jsonwebtoken::crypto::verify(&signature, message, &decoding_key(algorithm, key), jose)
        })
        .map_err(|e| TokenError::Failed(format!("a new key is unusable: {e}")))?;
    passed
        .then_some(())
        .ok_or_else(|| TokenError::Failed("a new key fails its self-test".into()))
}

/// The algorithm of a stored key.
///
/// # Errors
/// When the program does not know it.
pub(super) fn algorithm_of(key: &StoredKey) -> Result<SigningAlgorithm, TokenError> {
    SigningAlgorithm::parse(&key.algorithm).ok_or_else(|| {
        TokenError::Failed(format!(
            "signing key {} has the unknown algorithm {}",
            key.kid, key.algorithm
        ))
    })
}

const fn jose_algorithm(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
    }
}

fn encoding_key(algorithm: SigningAlgorithm, key: &StoredKey) -> EncodingKey {
    match algorithm {
        SigningAlgorithm::Es256 => EncodingKey::from_ec_der(&key.private_key),
        SigningAlgorithm::EdDsa => EncodingKey::from_ed_der(&key.private_key),
        SigningAlgorithm::Rs256 => EncodingKey::from_rsa_der(&key.private_key),
    }
}

fn decoding_key(algorithm: SigningAlgorithm, key: &StoredKey) -> DecodingKey {
    match algorithm {
        SigningAlgorithm::Es256 => DecodingKey::from_ec_der(&key.public_key),
        SigningAlgorithm::EdDsa => DecodingKey::from_ed_der(&key.public_key),
        SigningAlgorithm::Rs256 => {
            DecodingKey::from_rsa_raw_components(&key.public_key, &rsa::EXPONENT)
        }
    }
}

/// The key that signs tokens.
pub(super) struct SigningKey {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

impl SigningKey {
    pub(super) fn new(stored: &StoredKey) -> Result<Self, TokenError> {
        let algorithm = algorithm_of(stored)?;
        Ok(Self {
            kid: stored.kid.clone(),
            algorithm: jose_algorithm(algorithm),
            key: encoding_key(algorithm, stored),
        })
    }
}

/// A key that verifies tokens.
pub(super) struct VerifyingKey {
    pub(super) kid: String,
    /// Whether it verifies tokens of OAuth clients, rather than those of the account API.
    pub(super) is_for_clients: bool,
    pub(super) key: DecodingKey,
    /// Allows the algorithm of the key alone, whatever the header of a token claims.
    pub(super) validation: Validation,
    pub(super) public: PublicKey,
}

impl VerifyingKey {
    pub(super) fn new(stored: &StoredKey) -> Result<Self, TokenError> {
        let algorithm = algorithm_of(stored)?;
        let mut validation = Validation::new(jose_algorithm(algorithm));
        // `Tokens` compares times with its own clock; audience and issuer matter to other services.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let public = PublicKey::new(algorithm, &stored.public_key, stored.kid.clone());
        Ok(Self {
            kid: stored.kid.clone(),
            is_for_clients: stored.is_for_clients,
            key: decoding_key(algorithm, stored),
            validation,
            public: public.ok_or_else(|| {
                TokenError::Failed(format!("signing key {} is damaged", stored.kid))
            })?,
        })
    }
}

impl PublicKey {
    /// The key as a JWK. `None` when the bytes are not a public key of the algorithm.
    fn new(algorithm: SigningAlgorithm, public_key: &[u8], kid: String) -> Option<Self> {
        let encode = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let key = Self {
            kid,
            alg: algorithm.as_str(),
            usage: "sig",
            ..Self::default()
        };
        match (algorithm, public_key) {
            // An uncompressed point: 4, then both coordinates.
            (SigningAlgorithm::Es256, [4, point @ ..]) if point.len() == 64 => Some(Self {
                kty: "EC",
                crv: Some("P-256"),
                x: encode(&point[..32]),
                y: encode(&point[32..]),
                ..key
            }),
            (SigningAlgorithm::EdDsa, bytes) if bytes.len() == 32 => Some(Self {
                kty: "OKP",
                crv: Some("Ed25519"),
                x: encode(bytes),
                ..key
            }),
            (SigningAlgorithm::Rs256, modulus) if modulus.len() >= 256 => Some(Self {
                kty: "RSA",
                n: encode(modulus),
                e: encode(&rsa::EXPONENT),
                ..key
            }),
            _ => None,
        }
    }

    /// The SHA-256 thumbprint of RFC 7638, which is the id of new keys.
    fn thumbprint(&self) -> String {
        let members = [
            ("crv", self.crv),
            ("e", self.e.as_deref()),
            ("kty", Some(self.kty)),
            ("n", self.n.as_deref()),
            ("x", self.x.as_deref()),
            ("y", self.y.as_deref()),
        ];
        let members: Vec<String> = members
            .into_iter()
            .filter_map(|(name, value)| Some(format!(r#""{name}":"{}""#, value?)))
            .collect();
        let json = format!("{{{}}}", members.join(","));
        URL_SAFE_NO_PAD.encode(Sha256::digest(json.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_are_those_of_the_specifications() {
        // RFC 7638, section 3.1.
        let rsa = PublicKey {
            kty: "RSA",
            n: Some(
                "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6t\
                 Soc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-6\
                 5YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLy\
                 rdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJz\
                 KnqDKgw"
                    .into(),
            ),
            e: Some("AQAB".into()),
            ..PublicKey::default()
        };
        assert_eq!(
            rsa.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        // RFC 8037, appendix A.3.
        let ed25519 = PublicKey {
            kty: "OKP",
            crv: Some("Ed25519"),
            x: Some("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into()),
            ..PublicKey::default()
        };
        assert_eq!(
            ed25519.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn generated_keys_have_the_members_of_their_type() {
        for (algorithm, members) in [
            (SigningAlgorithm::Es256, &["kty", "crv", "x", "y"][..]),
            (SigningAlgorithm::EdDsa, &["kty", "crv", "x"]),
            (SigningAlgorithm::Rs256, &["kty", "n", "e"]),
        ] {
            let key = generate_key(algorithm, Timestamp::default()).unwrap();
            let public = VerifyingKey::new(&key).unwrap().public;
            assert_eq!(public.thumbprint(), key.kid);
            let json = serde_json::to_value(&public).unwrap();
            let names: Vec<&String> = json.as_object().unwrap().keys().collect();
            assert_eq!(names, [members, &["kid", "alg", "use"]].concat());
            assert_eq!(json["alg"], algorithm.as_str());
            if algorithm == SigningAlgorithm::Rs256 {
                assert_eq!((key.public_key.len(), &json["e"]), (256, &"AQAB".into()));
            }
        }
    }

    #[test]
    fn keys_of_earlier_versions_still_sign() {
        // Of tests/schemas/1.data.sql, written by another library.
        let hex = "3051020101300506032b657004220420aa37a4c6c1589e0f125de432b11fb5d1f1f7ce88b28fbcc4\
                   bc118f9756c3e6d08121008a840bbcf0784f8d85eed08c77d4f267869ed7ea16777a8057cc20ae99\
                   d1424a";
        let private_key: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let key = StoredKey {
            kid: "EBhhqu7twdhVtSGUbqlCtmKHiMG75qfCJ0EI_OWaeU8".into(),
            algorithm: "EdDSA".into(),
            public_key: private_key[private_key.len() - 32..].into(),
            private_key,
            is_sealed: false,
            created_at: Timestamp::default(),
            retired_at: None,
            is_for_clients: false,
        };
        test_key(SigningAlgorithm::EdDsa, &key).unwrap();
        let public = VerifyingKey::new(&key).unwrap().public;
        assert_eq!(public.thumbprint(), key.kid);
    }

    #[test]
    fn two_signatures_of_one_message_differ() {
        let key = generate_key(SigningAlgorithm::Es256, Timestamp::default()).unwrap();
        let sign = || {
            let key = encoding_key(SigningAlgorithm::Es256, &key);
            jsonwebtoken::crypto::sign(b"message", &key, Algorithm::ES256).unwrap()
        };
        assert_ne!(sign()[..43], sign()[..43], "the nonce is another one");
    }
}
