//! JSON Web Tokens: issuing and checking them. Knows nothing of HTTP headers or of the database.
//!
//! Tokens are signed with Ed25519 (`EdDSA`, RFC 8037). Of the two asymmetric algorithms that every JOSE library knows,
//! it needs no randomness to sign, where a repeated nonce of ES256 gives the private key away; its signatures and keys
//! are the smallest; and in pure Rust it signs ten times and checks five times as fast. The algorithm is a property of
//! the key: what a token's header claims is compared with it, never obeyed.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use lru::LruCache;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{Timestamp, User, UserId};
use crate::store::StoredKey;

/// JOSE name of the one algorithm in use.
const EDDSA: &str = "EdDSA";

/// What a token is for, the claim `token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Goes into the `Authorization` header.
    Access,
    /// Is traded for the next pair.
    Refresh,
}

impl TokenType {
    /// The `typ` of the header: RFC 9068 for access tokens, so that one kind can never pass for the other.
    const fn header_typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
        }
    }
}

/// Why a token does not count.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not one of ours, changed on the way, expired, or of another kind.
    Invalid,
    /// A fault of ours; the text is for the log.
    Failed(String),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("the token is not valid"),
            Self::Failed(cause) => write!(f, "a token could not be made: {cause}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// How tokens are made.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// Claim `iss`.
    pub issuer: String,
    /// Claim `aud`, if there is to be one.
    pub audience: Option<String>,
    /// Life of an access token.
    pub access_life: Duration,
    /// Life of a refresh token.
    pub refresh_life: Duration,
}

/// What an accepted token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it is for.
    pub token_type: TokenType,
    /// The account.
    pub user_id: UserId,
    /// The session.
    pub session_id: String,
    /// The token's own id.
    pub id: String,
}

/// An access and a refresh token, as a sign-in answers them.
#[derive(Clone, Serialize, JsonSchema)]
pub struct TokenPair {
    /// For the `Authorization` header.
    pub access: String,
    /// For the next pair.
    pub refresh: String,
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    sub: String,
    user_id: UserId,
    token_type: TokenType,
    jti: &'a str,
    iat: i64,
    exp: i64,
    sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_staff: Option<bool>,
}

#[derive(Deserialize)]
struct CheckedClaims {
    user_id: UserId,
    token_type: TokenType,
    jti: String,
    exp: i64,
    sid: String,
}

/// A public key of the published set (RFC 7517, RFC 8037).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: String,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
}

/// The published key set.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

/// Makes a new key pair from 32 random bytes.
///
/// # Errors
/// When the key cannot be encoded.
pub fn generate_key(seed: [u8; 32], now: Timestamp) -> Result<StoredKey, TokenError> {
    let key = SigningKey::from_bytes(&seed);
    let public_key = key.verifying_key().to_bytes().to_vec();
    let private_key = key
        .to_pkcs8_der()
        .map_err(|e| TokenError::Failed(e.to_string()))?
        .as_bytes()
        .to_vec();
    Ok(StoredKey {
        kid: thumbprint(&public_key),
        algorithm: EDDSA.into(),
        private_key,
        is_sealed: false,
        public_key,
        created_at: now,
        retired_at: None,
    })
}

/// The key's id: its JWK thumbprint (RFC 7638, with the members of RFC 8037).
fn thumbprint(public_key: &[u8]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public_key);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(members.as_bytes()))
}

/// SHA-256 of a whole token.
type TokenDigest = [u8; 32];

/// Most tokens that are remembered as verified, some 200 bytes each; the one that was quiet for longest is forgotten first.
const VERIFIED_TOKENS: usize = 16_384;

/// Parts that the memory of verified tokens is divided into, so that threads seldom wait for each other.
const PARTS: usize = 16;

/// Tokens in each part.
const TOKENS_IN_PART: NonZeroUsize =
    NonZeroUsize::new(VERIFIED_TOKENS / PARTS).expect("there are more tokens than parts");

/// Tokens whose signature was found to be good, because to check one costs more than all the rest of a read. They are known
/// by a hash, so that nobody who reads the memory finds a token in it, and belong to the keys of their [`Tokens`]: whoever
/// takes other keys begins with an empty memory.
struct VerifiedTokens([Mutex<LruCache<TokenDigest, VerifiedToken>>; PARTS]);

#[derive(Clone)]
struct VerifiedToken {
    verified: Arc<Verified>,
    /// Unix seconds.
    expires: i64,
}

impl Default for VerifiedTokens {
    fn default() -> Self {
        // Unbounded at first, and bounded by hand below: a bounded one would take all its memory at once.
        Self(std::array::from_fn(|_| Mutex::new(LruCache::unbounded())))
    }
}

impl VerifiedTokens {
    fn part(&self, digest: &TokenDigest) -> MutexGuard<'_, LruCache<TokenDigest, VerifiedToken>> {
        self.0[usize::from(digest[0]) % PARTS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, digest: &TokenDigest) -> Option<VerifiedToken> {
        self.part(digest).get(digest).cloned()
    }

    fn remember(&self, digest: TokenDigest, token: VerifiedToken) {
        let mut part = self.part(&digest);
        part.put(digest, token);
        if part.len() > TOKENS_IN_PART.get() {
            part.pop_lru();
        }
    }

    fn forget(&self, digest: &TokenDigest) {
        self.part(digest).pop(digest);
    }
}

struct VerifyingKey {
    kid: String,
    key: DecodingKey,
    public: PublicKey,
}

/// Issues and checks tokens.
pub struct Tokens {
    options: TokenOptions,
    signing_kid: String,
    signing_key: EncodingKey,
    verifying_keys: Vec<VerifyingKey>,
    validation: Validation,
    verified: VerifiedTokens,
}

impl Tokens {
    /// Takes the keys of the database, the newest first.
    ///
    /// # Errors
    /// When there is none to sign with, or one is of an unknown kind.
    pub fn new(options: TokenOptions, keys: &[StoredKey]) -> Result<Self, TokenError> {
        if let Some(unknown) = keys.iter().find(|key| key.algorithm != EDDSA) {
            return Err(TokenError::Failed(format!(
                "signing key {} is for the unknown algorithm {}",
                unknown.kid, unknown.algorithm
            )));
        }
        let signing = keys
            .iter()
            .find(|key| key.retired_at.is_none())
            .ok_or_else(|| TokenError::Failed("there is no key to sign with".into()))?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The time is compared below, with our own clock and no leeway; audience and issuer matter to other services.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Ok(Self {
            options,
            signing_kid: signing.kid.clone(),
            signing_key: EncodingKey::from_ed_der(&signing.private_key),
            verifying_keys: keys.iter().map(verifying_key).collect(),
            validation,
            verified: VerifiedTokens::default(),
        })
    }

    /// How long a refresh token lives.
    pub fn refresh_life(&self) -> Duration {
        self.options.refresh_life
    }

    /// The public keys, for other services.
    pub fn key_set(&self) -> KeySet {
        KeySet {
            keys: self
                .verifying_keys
                .iter()
                .map(|key| key.public.clone())
                .collect(),
        }
    }

    /// Issues the pair of a session.
    ///
    /// # Errors
    /// Only by a fault of ours.
    pub fn issue(
        &self,
        user: &User,
        session_id: &str,
        access_id: &str,
        refresh_id: &str,
        now: Timestamp,
    ) -> Result<TokenPair, TokenError> {
        Ok(TokenPair {
            access: self.sign(TokenType::Access, user, session_id, access_id, now)?,
            refresh: self.sign(TokenType::Refresh, user, session_id, refresh_id, now)?,
        })
    }

    fn sign(
        &self,
        token_type: TokenType,
        user: &User,
        session_id: &str,
        id: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let (life, audience, person) = match token_type {
            TokenType::Access => (
                self.options.access_life,
                self.options.audience.as_deref(),
                Some(user),
            ),
            // A refresh token is for this server alone and travels less, so it says nothing of the person.
            TokenType::Refresh => (self.options.refresh_life, None, None),
        };
        let claims = IssuedClaims {
            iss: &self.options.issuer,
            aud: audience,
            sub: user.id.to_string(),
            user_id: user.id,
            token_type,
            jti: id,
            iat: now.unix_seconds(),
            exp: now.plus(life).unix_seconds(),
            sid: session_id,
            email: person.map(|user| user.email.as_str()),
            is_staff: person.map(|user| user.is_staff),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(token_type.header_typ().into());
        header.kid = Some(self.signing_kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing_key)
            .map_err(|e| TokenError::Failed(e.to_string()))
    }

    /// Checks signature, kind and time of a token. Whether its session and account still live is the caller's question.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] whatever is wrong with it.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Verified>, TokenError> {
        let digest = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.verified.find(&digest) {
            return if now.unix_seconds() < known.expires {
                Ok(known.verified)
            } else {
                self.verified.forget(&digest);
                Err(TokenError::Invalid)
            };
        }
        let (verified, expires) = self.check_signature(token)?;
        if now.unix_seconds() >= expires {
            return Err(TokenError::Invalid);
        }
        let verified = Arc::new(verified);
        let known = VerifiedToken {
            verified: Arc::clone(&verified),
            expires,
        };
        self.verified.remember(digest, known);
        Ok(verified)
    }

    /// Checks signature and kind of a token. The second from which on it does not count any more comes with what it says.
    fn check_signature(&self, token: &str) -> Result<(Verified, i64), TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let key = self
            .verifying_keys
            .iter()
            .find(|key| header.kid.as_deref() == Some(&key.kid))
            .ok_or(TokenError::Invalid)?;
        let claims = jsonwebtoken::decode::<CheckedClaims>(token, &key.key, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if header.typ.as_deref() != Some(claims.token_type.header_typ()) {
            return Err(TokenError::Invalid);
        }
        let verified = Verified {
            token_type: claims.token_type,
            user_id: claims.user_id,
            session_id: claims.sid,
            id: claims.jti,
        };
        Ok((verified, claims.exp))
    }
}

fn verifying_key(stored: &StoredKey) -> VerifyingKey {
    VerifyingKey {
        kid: stored.kid.clone(),
        key: DecodingKey::from_ed_der(&stored.public_key),
        public: PublicKey {
            kty: "OKP",
            crv: "Ed25519",
            x: URL_SAFE_NO_PAD.encode(&stored.public_key),
            kid: stored.kid.clone(),
            alg: EDDSA,
            usage: "sig",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Profile;

    fn user() -> User {
        User {
            id: 7,
            email: "user@example.com".into(),
            new_email: Some("new@example.com".into()),
            profile: Profile::default(),
            photo: None,
            is_active: true,
            is_staff: false,
            verified_at: None,
            last_login_at: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
        }
    }

    fn tokens(seed: u8) -> Tokens {
        let options = TokenOptions {
            issuer: "http://localhost:8000".into(),
            audience: None,
            access_life: Duration::from_mins(5),
            refresh_life: Duration::from_hours(1),
        };
        let key = generate_key([seed; 32], Timestamp::default()).unwrap();
        Tokens::new(options, &[key]).unwrap()
    }

    fn part(token: &str, index: usize) -> serde_json::Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn an_access_token_says_what_other_services_need() {
        let tokens = tokens(1);
        let now = Timestamp::from_unix_millis(1_700_000_000_999);
        let pair = tokens.issue(&user(), "session", "a", "r", now).unwrap();
        let kid = tokens.signing_kid.clone();
        assert_eq!(
            part(&pair.access, 0),
            serde_json::json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid})
        );
        assert_eq!(
            part(&pair.access, 1),
            serde_json::json!({
                "iss": "http://localhost:8000", "sub": "7", "user_id": 7, "token_type": "access", "jti": "a",
                "iat": 1_700_000_000, "exp": 1_700_000_300, "sid": "session", "email": "user@example.com",
                "is_staff": false,
            })
        );
        assert_eq!(part(&pair.refresh, 1)["email"], serde_json::Value::Null);
    }

    #[test]
    fn a_token_counts_until_the_second_of_its_expiry() {
        let tokens = tokens(1);
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let pair = tokens.issue(&user(), "session", "a", "r", now).unwrap();
        let verified = tokens
            .verify(&pair.access, now.plus(Duration::from_millis(299_999)))
            .unwrap();
        assert_eq!(
            *verified,
            Verified {
                token_type: TokenType::Access,
                user_id: 7,
                session_id: "session".into(),
                id: "a".into()
            }
        );
        assert_eq!(
            tokens.verify(&pair.access, now.plus(Duration::from_mins(5))),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn what_is_remembered_counts_no_longer_than_what_is_checked() {
        let tokens = tokens(1);
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let token = tokens
            .issue(&user(), "session", "a", "r", now)
            .unwrap()
            .access;
        let first = tokens.verify(&token, now).unwrap();
        // The second answer is the remembered one, and another token of the same signature is not.
        assert!(Arc::ptr_eq(&first, &tokens.verify(&token, now).unwrap()));
        let other = token.replacen('.', ".e", 1);
        assert_eq!(tokens.verify(&other, now), Err(TokenError::Invalid));
        let end = now.plus(Duration::from_mins(5));
        assert_eq!(tokens.verify(&token, end), Err(TokenError::Invalid));
        assert_eq!(tokens.verify(&token, end), Err(TokenError::Invalid));
    }

    #[test]
    fn the_memory_of_verified_tokens_is_bounded() {
        let memory = VerifiedTokens::default();
        let verified = Arc::new(Verified {
            token_type: TokenType::Access,
            user_id: 1,
            session_id: String::new(),
            id: String::new(),
        });
        let digest = |number: u32| Sha256::digest(number.to_be_bytes()).into();
        for number in 0..2 * 16_384 {
            let token = VerifiedToken {
                verified: Arc::clone(&verified),
                expires: 0,
            };
            memory.remember(digest(number), token);
        }
        let remembered: usize = memory.0.iter().map(|part| part.lock().unwrap().len()).sum();
        assert_eq!(remembered, VERIFIED_TOKENS);
        assert!(memory.find(&digest(0)).is_none());
        assert!(memory.find(&digest(2 * 16_384 - 1)).is_some());
    }

    #[test]
    fn what_others_made_does_not_count() {
        let (ours, theirs) = (tokens(1), tokens(2));
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let pair = theirs.issue(&user(), "session", "a", "r", now).unwrap();
        assert_eq!(ours.verify(&pair.access, now), Err(TokenError::Invalid));

        // Our own key id over their signature, no signature at all, and the public key used as a shared secret.
        let own = ours
            .issue(&user(), "session", "a", "r", now)
            .unwrap()
            .access;
        let (signed, _) = own.rsplit_once('.').unwrap();
        let (_, foreign_signature) = pair.access.rsplit_once('.').unwrap();
        assert!(ours.verify(&own, now).is_ok());
        assert_eq!(
            ours.verify(&format!("{signed}.{foreign_signature}"), now),
            Err(TokenError::Invalid)
        );
        let (_, claims) = signed.split_once('.').unwrap();
        for header in [
            serde_json::json!({"typ": "at+jwt", "alg": "none", "kid": ours.signing_kid}),
            serde_json::json!({"typ": "at+jwt", "alg": "HS256", "kid": ours.signing_kid}),
        ] {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            for signature in ["", foreign_signature] {
                assert_eq!(
                    ours.verify(&format!("{header}.{claims}.{signature}"), now),
                    Err(TokenError::Invalid)
                );
            }
        }
    }
}
