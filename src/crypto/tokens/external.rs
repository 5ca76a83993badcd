//! ID tokens of other issuers (OpenID Connect Core 1.0, section 3.1.3.7) and their public keys.
//!
//! The algorithm comes from the settings, and a key is used with it alone; what the header of a
//! token says is compared with it. Whose issuer a token may name is for the caller to say: see
//! [`Claims::text`].

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::{MAX_CLOCK_SKEW, provider};
use crate::domain::{IdTokenAlgorithm, Timestamp, printable};

/// Most keys of a set.
const MAX_KEYS: usize = 100;

/// Most keys with one id that are tried.
const MAX_SAME_ID: usize = 4;

/// Longest token in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Bytes of the modulus of an RSA key: 2048 to 8192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Longest `sub` in characters (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT: usize = 255;

/// Why an ID token is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdTokenProblem {
    /// It is not a signed JSON Web Token.
    #[error("it is not a signed JSON Web Token of at most {} KiB", MAX_TOKEN_BYTES / 1024)]
    Malformed,
    /// Its header names another algorithm than the settings.
    #[error("its algorithm is {found}, but id_token_alg is {expected}")]
    Algorithm {
        /// The one of the header.
        found: String,
        /// The one of the settings.
        expected: IdTokenAlgorithm,
    },
    /// It is another kind of token.
    #[error("its type is {0}, so it is not an ID token")]
    Type(String),
    /// Its key is not in the key set.
    #[error("its key {0:?} is not in the provider's key set")]
    UnknownKey(String),
    /// It names no key, and there are several.
    #[error("it names no key, and the provider's key set does not have exactly one")]
    UnnamedKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// The issuer is another one.
    #[error("its issuer is {0:?}")]
    Issuer(String),
    /// It has no usable subject.
    #[error("its subject is missing or not 1 to {MAX_SUBJECT} characters of ASCII")]
    Subject,
    /// It was issued for somebody else.
    #[error("its audience is {0}")]
    Audience(String),
    /// Another client asked for it.
    #[error("its authorized party is {0:?}")]
    AuthorizedParty(String),
    /// The nonce is another one.
    #[error("its nonce is missing or another one")]
    Nonce,
    /// It has expired, or has no expiry.
    #[error("it has expired, or the clock of one of the servers is wrong")]
    Expired,
    /// It was issued too long ago or in the future.
    #[error("it was not issued just now, or the clock of one of the servers is wrong")]
    IssuedAt,
    /// It is not valid yet.
    #[error("it is not valid yet, or the clock of one of the servers is wrong")]
    NotYet,
}

/// A public key of a provider.
struct ProviderKey {
    id: Option<String>,
    /// The issuer of the tokens that it signs, where the key says so. Microsoft's keys do.
    issuer: Option<String>,
    key: DecodingKey,
}

/// The public keys of a provider (RFC 7517) that fit an algorithm.
pub struct ProviderKeys {
    algorithm: IdTokenAlgorithm,
    keys: Vec<ProviderKey>,
}

impl ProviderKeys {
    /// Reads a key set. Keys of other algorithms and purposes, and those too weak to be used, are
    /// left out (RFC 7517, section 5).
    ///
    /// # Errors
    /// What is wrong with the set, for the log.
    pub fn parse(json: &[u8], algorithm: IdTokenAlgorithm) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(json).map_err(|_| "it is not JSON".to_owned())?;
        let Some(Value::Array(list)) = set.get("keys") else {
            return Err("it has no list \"keys\"".to_owned());
        };
        if list.len() > MAX_KEYS {
            return Err(format!("it has more than {MAX_KEYS} keys"));
        }
        let keys: Vec<ProviderKey> = list
            .iter()
            .filter_map(|key| ProviderKey::parse(key, algorithm))
            .collect();
        match keys.is_empty() {
            true => Err(format!(
                "none of its {} keys can verify {algorithm}; is id_token_alg right?",
                list.len()
            )),
            false => Ok(Self { algorithm, keys }),
        }
    }

    /// Whether there is a key that a token may be signed with.
    pub fn has_key_of(&self, token: &UnverifiedIdToken<'_>) -> bool {
        self.candidates(token).is_ok()
    }

    /// Verifies the signature of a token.
    ///
    /// # Errors
    /// [`IdTokenProblem`].
    pub fn verify(&self, token: &UnverifiedIdToken<'_>) -> Result<Claims, IdTokenProblem> {
        provider::install();
        let mut validation = Validation::new(jose_algorithm(self.algorithm));
        // Claims are checked by `Claims::check`, with this server's clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let candidates = self.candidates(token)?;
        for candidate in candidates.into_iter().take(MAX_SAME_ID) {
            let decoded =
                jsonwebtoken::decode::<Map<String, Value>>(token.text, &candidate.key, &validation);
            if let Ok(decoded) = decoded {
                return Ok(Claims {
                    claims: decoded.claims,
                    key_issuer: candidate.issuer.clone(),
                });
            }
        }
        Err(IdTokenProblem::Signature)
    }

    /// The keys with the id of the token. One without an id may be signed by an only key.
    fn candidates(
        &self,
        token: &UnverifiedIdToken<'_>,
    ) -> Result<Vec<&ProviderKey>, IdTokenProblem> {
        let Some(id) = &token.key_id else {
            return match &*self.keys {
                [key] => Ok(vec![key]),
                _ => Err(IdTokenProblem::UnnamedKey),
            };
        };
        let keys = self.keys.iter();
        let found: Vec<_> = keys.filter(|key| key.id.as_ref() == Some(id)).collect();
        match found.is_empty() {
            true => Err(IdTokenProblem::UnknownKey(shortened(id))),
            false => Ok(found),
        }
    }
}

impl ProviderKey {
    /// A key that verifies this algorithm; `None` for others.
    fn parse(key: &Value, algorithm: IdTokenAlgorithm) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let is_right = |name: &str, expected: &str| text(name).is_none_or(|text| text == expected);
        let may_verify = match key.get("key_ops") {
            None => true,
            Some(operations) => operations.as_array()?.iter().any(|name| name == "verify"),
        };
        (is_right("use", "sig") && is_right("alg", algorithm.as_str()) && may_verify)
            .then_some(())?;
        let bytes = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(text(name)?.trim_end_matches('='))
                .ok()
        };
        let is_type =
            |kty: &str, curve: &str| text("kty") == Some(kty) && text("crv") == Some(curve);
        let point = |curve: &str, length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            let is_point = is_type("EC", curve) && x.len() == length && y.len() == length;
            // An uncompressed point.
            is_point.then(|| DecodingKey::from_ec_der(&[&[4], &*x, &*y].concat()))
        };
        let key = match algorithm {
            IdTokenAlgorithm::Es256 => point("P-256", 32)?,
            IdTokenAlgorithm::Es384 => point("P-384", 48)?,
            IdTokenAlgorithm::EdDsa => {
                let x = bytes("x")?;
                (is_type("OKP", "Ed25519") && x.len() == 32)
                    .then(|| DecodingKey::from_ed_der(&x))?
            }
            IdTokenAlgorithm::Rs256
            | IdTokenAlgorithm::Rs384
            | IdTokenAlgorithm::Rs512
            | IdTokenAlgorithm::Ps256
            | IdTokenAlgorithm::Ps384
            | IdTokenAlgorithm::Ps512 => {
                let (modulus, exponent) = (bytes("n")?, bytes("e")?);
                // Some libraries encode a sign; `ring` wants none.
                let significant = |bytes: &[u8]| {
                    let zeros = bytes.iter().take_while(|b| **b == 0).count();
                    bytes[zeros..].to_vec()
                };
                let (modulus, exponent) = (significant(&modulus), significant(&exponent));
                let is_strong = RSA_BYTES.contains(&modulus.len())
                    && exponent.last().is_some_and(|last| last % 2 == 1)
                    && exponent != [1];
                (text("kty") == Some("RSA") && is_strong)
                    .then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))?
            }
        };
        Some(Self {
            id: text("kid").map(str::to_owned),
            issuer: text("issuer").map(str::to_owned),
            key,
        })
    }
}

const fn jose_algorithm(algorithm: IdTokenAlgorithm) -> Algorithm {
    match algorithm {
        IdTokenAlgorithm::Rs256 => Algorithm::RS256,
        IdTokenAlgorithm::Rs384 => Algorithm::RS384,
        IdTokenAlgorithm::Rs512 => Algorithm::RS512,
        IdTokenAlgorithm::Ps256 => Algorithm::PS256,
        IdTokenAlgorithm::Ps384 => Algorithm::PS384,
        IdTokenAlgorithm::Ps512 => Algorithm::PS512,
        IdTokenAlgorithm::Es256 => Algorithm::ES256,
        IdTokenAlgorithm::Es384 => Algorithm::ES384,
        IdTokenAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// A token of which nothing but its header was looked at.
pub struct UnverifiedIdToken<'a> {
    text: &'a str,
    key_id: Option<String>,
}

impl<'a> UnverifiedIdToken<'a> {
    /// Reads the header, which has to name the algorithm of the settings.
    ///
    /// # Errors
    /// [`IdTokenProblem`].
    pub fn parse(text: &'a str, expected: IdTokenAlgorithm) -> Result<Self, IdTokenProblem> {
        let malformed = || IdTokenProblem::Malformed;
        if text.len() > MAX_TOKEN_BYTES {
            return Err(malformed());
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [header, _, _] = &*parts else {
            return Err(malformed());
        };
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| malformed())?;
        let header: Map<String, Value> =
            serde_json::from_slice(&header).map_err(|_| malformed())?;
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        let found = member("alg").ok_or_else(malformed)?;
        if found != expected.as_str() {
            let found = shortened(found);
            return Err(IdTokenProblem::Algorithm { found, expected });
        }
        // An access token of the same issuer (RFC 9068) or a logout token is not an ID token.
        if let Some(kind) = member("typ") {
            let bare = kind.strip_prefix("application/").unwrap_or(kind);
            if !bare.eq_ignore_ascii_case("JWT") {
                return Err(IdTokenProblem::Type(shortened(kind)));
            }
        }
        Ok(Self {
            text,
            key_id: member("kid").map(str::to_owned),
        })
    }

    /// Identifies the token among all others: the hash of what is signed. The signature is not part
    /// of it, as one message has several valid ones (ECDSA).
    pub fn digest(&self) -> [u8; 32] {
        let signed = self.text.rsplit_once('.').map_or("", |(signed, _)| signed);
        Sha256::digest(signed.as_bytes()).into()
    }
}

/// What an ID token has to say.
pub struct Expected<'a> {
    /// Who it may be issued for: each of its audiences, and its authorized party.
    pub audiences: &'a [&'a str],
    /// The nonce of the request.
    pub nonce: &'a str,
    /// Whether the token may have the SHA-256 of the nonce in hexadecimal instead, as apps send it to
    /// Apple's and Google's libraries.
    pub may_hash_nonce: bool,
    /// How long ago it may have been issued, beside the tolerance of clocks of 60 s.
    pub max_age: Duration,
}

/// The claims of a token whose signature is right.
#[derive(Debug)]
pub struct Claims {
    claims: Map<String, Value>,
    key_issuer: Option<String>,
}

impl Claims {
    /// A claim that is a text which is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    /// A claim as it is.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// A claim that is a time in Unix seconds, which may have a fraction (RFC 7519, section 2).
    pub fn seconds(&self, name: &str) -> Option<i64> {
        let number = self.claims.get(name)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, and is compared only"
        )]
        let whole = |number: f64| number as i64;
        number.as_i64().or_else(|| number.as_f64().map(whole))
    }

    /// The issuer that the key of the token belongs to, where the key set says so.
    pub fn key_issuer(&self) -> Option<&str> {
        self.key_issuer.as_deref()
    }

    /// The account at the issuer.
    ///
    /// # Errors
    /// [`IdTokenProblem::Subject`].
    pub fn subject(&self) -> Result<&str, IdTokenProblem> {
        self.text("sub")
            .filter(|sub| {
                sub.len() <= MAX_SUBJECT && sub.bytes().all(|b| (b' '..=b'~').contains(&b))
            })
            .ok_or(IdTokenProblem::Subject)
    }

    /// Checks audience, nonce and times.
    ///
    /// # Errors
    /// [`IdTokenProblem`], the first one.
    pub fn check(&self, expected: &Expected<'_>, now: Timestamp) -> Result<(), IdTokenProblem> {
        self.check_audience(expected.audiences)?;
        self.check_nonce(expected)?;
        let now = now.unix_seconds();
        let skew = MAX_CLOCK_SKEW;
        if self
            .seconds("exp")
            .is_none_or(|exp| exp.saturating_add(skew) <= now)
        {
            return Err(IdTokenProblem::Expired);
        }
        let max_age = i64::try_from(expected.max_age.as_secs()).unwrap_or(i64::MAX);
        let oldest = now.saturating_sub(skew).saturating_sub(max_age);
        let is_recent = |iat: i64| (oldest..=now.saturating_add(skew)).contains(&iat);
        if !self.seconds("iat").is_some_and(is_recent) {
            return Err(IdTokenProblem::IssuedAt);
        }
        let has_begun = |nbf: i64| nbf <= now.saturating_add(skew);
        if self.claims.contains_key("nbf") && !self.seconds("nbf").is_some_and(has_begun) {
            return Err(IdTokenProblem::NotYet);
        }
        Ok(())
    }

    /// All audiences have to be known (OpenID Connect Core 1.0, section 3.1.3.7, rules 3 to 5).
    fn check_audience(&self, known: &[&str]) -> Result<(), IdTokenProblem> {
        let is_known =
            |audience: &Value| audience.as_str().is_some_and(|text| known.contains(&text));
        let audience = self.claims.get("aud");
        let (is_right, count) = match audience {
            Some(Value::Array(list)) => (list.iter().all(is_known), list.len()),
            Some(other) => (is_known(other), 1),
            None => (false, 0),
        };
        if !is_right || count == 0 {
            let found = audience.map_or_else(|| "missing".to_owned(), Value::to_string);
            return Err(IdTokenProblem::Audience(shortened(&found)));
        }
        let party = self.claims.get("azp");
        let is_party_right = match party {
            None => count == 1,
            Some(party) => is_known(party),
        };
        match is_party_right {
            true => Ok(()),
            false => Err(IdTokenProblem::AuthorizedParty(shortened(
                self.text("azp").unwrap_or_default(),
            ))),
        }
    }

    fn check_nonce(&self, expected: &Expected<'_>) -> Result<(), IdTokenProblem> {
        let found = self.text("nonce").unwrap_or_default().as_bytes();
        let is_equal = |nonce: &str| bool::from(nonce.as_bytes().ct_eq(found));
        let hashed = HEXLOWER.encode(&Sha256::digest(expected.nonce.as_bytes()));
        let is_right = is_equal(expected.nonce) || (expected.may_hash_nonce && is_equal(&hashed));
        match is_right && !expected.nonce.is_empty() {
            true => Ok(()),
            false => Err(IdTokenProblem::Nonce),
        }
    }
}

/// A text from outside for the log.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 120;
    let text = printable(text);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    };
    use serde_json::json;

    use super::*;
    use crate::crypto::random;

    /// A key of the tests that protects nothing.
    const RSA_KEY: &str = include_str!("../../../tests/support/rsa-key.txt");

    fn encoded(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key set of a new key, and a signature of it.
    fn signed(algorithm: IdTokenAlgorithm, message: &[u8]) -> (Value, Vec<u8>) {
        let random = random::system();
        let ec = |parameters, curve: &str, length: usize| {
            let document = EcdsaKeyPair::generate_pkcs8(parameters, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(parameters, document.as_ref(), &random).unwrap();
            let point = pair.public_key().as_ref();
            let (x, y) = (encoded(&point[1..=length]), encoded(&point[1 + length..]));
            let signature = pair.sign(&random, message).unwrap();
            (
                json!({"kty": "EC", "crv": curve, "x": x, "y": y}),
                signature.as_ref().to_vec(),
            )
        };
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let der = STANDARD.decode(RSA_KEY.replace(['\r', '\n'], "")).unwrap();
            let pair = RsaKeyPair::from_pkcs8(&der).unwrap();
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(encoding, &random, message, &mut signature)
                .unwrap();
            let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
            // With the zero in front that some libraries write.
            let modulus = encoded([vec![0], public.n].concat());
            (
                json!({"kty": "RSA", "n": modulus, "e": encoded(public.e)}),
                signature,
            )
        };
        let (mut key, signature) = match algorithm {
            IdTokenAlgorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            IdTokenAlgorithm::Rs384 => rsa(&RSA_PKCS1_SHA384),
            IdTokenAlgorithm::Rs512 => rsa(&RSA_PKCS1_SHA512),
            IdTokenAlgorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            IdTokenAlgorithm::Ps384 => rsa(&RSA_PSS_SHA384),
            IdTokenAlgorithm::Ps512 => rsa(&RSA_PSS_SHA512),
            IdTokenAlgorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32),
            IdTokenAlgorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48),
            IdTokenAlgorithm::EdDsa => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
                let x = encoded(pair.public_key());
                let signature = pair.sign(message).as_ref().to_vec();
                (json!({"kty": "OKP", "crv": "Ed25519", "x": x}), signature)
            }
        };
        key["kid"] = "it".into();
        (json!({ "keys": [key] }), signature)
    }

    /// A token and the key set of its key.
    fn token(algorithm: IdTokenAlgorithm) -> (String, Value) {
        let header = json!({"alg": algorithm.as_str(), "kid": "it"}).to_string();
        let message = format!("{}.{}", encoded(header), encoded("{\"sub\":\"ada\"}"));
        let (set, signature) = signed(algorithm, message.as_bytes());
        (format!("{message}.{}", encoded(signature)), set)
    }

    #[test]
    fn every_algorithm_verifies_its_own_tokens_alone() {
        for algorithm in IdTokenAlgorithm::ALL {
            let (text, set) = token(algorithm);
            let keys = ProviderKeys::parse(set.to_string().as_bytes(), algorithm).unwrap();
            let parsed = UnverifiedIdToken::parse(&text, algorithm).unwrap();
            let claims = keys.verify(&parsed).unwrap();
            assert_eq!(claims.subject(), Ok("ada"), "{algorithm}");
            for other in IdTokenAlgorithm::ALL
                .into_iter()
                .filter(|it| *it != algorithm)
            {
                assert!(UnverifiedIdToken::parse(&text, other).is_err());
                // A key that fits another algorithm too is used with that alone.
                if let Ok(keys) = ProviderKeys::parse(set.to_string().as_bytes(), other) {
                    let problem = keys.verify(&parsed).unwrap_err();
                    assert_eq!(problem, IdTokenProblem::Signature, "{algorithm} {other}");
                }
            }
        }
    }

    #[test]
    fn signature_is_not_part_of_the_digest() {
        let digest = |text: &str| {
            UnverifiedIdToken::parse(text, IdTokenAlgorithm::Es256)
                .unwrap()
                .digest()
        };
        let (text, _) = token(IdTokenAlgorithm::Es256);
        let (message, _) = text.rsplit_once('.').unwrap();
        assert_eq!(digest(&text), digest(&format!("{message}.AAAA")));
        let (other, _) = text.split_once('.').unwrap();
        assert_ne!(digest(&text), digest(&format!("{other}.e30.AAAA")));
    }

    #[test]
    fn times_may_have_a_fraction() {
        let claims = |exp: Value| Claims {
            claims: json!({ "exp": exp }).as_object().unwrap().clone(),
            key_issuer: None,
        };
        for (exp, seconds) in [
            (json!(1_700_000_000), Some(1_700_000_000)),
            (json!(1_700_000_000.9), Some(1_700_000_000)),
            (json!(1e300), Some(i64::MAX)),
            (json!("1700000000"), None),
            (json!(null), None),
        ] {
            assert_eq!(claims(exp.clone()).seconds("exp"), seconds, "{exp}");
        }
    }
}
