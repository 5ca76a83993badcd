//! JSON Web Tokens: issuing and checking them. Knows nothing of HTTP headers or of the database.
//!
//! Tokens are signed with Ed25519 (`EdDSA`, RFC 8037). Of the two asymmetric algorithms that every JOSE library knows,
//! it needs no randomness to sign, where a repeated nonce of ES256 gives the private key away; its signatures and keys
//! are the smallest; and in pure Rust it signs ten times and checks five times as fast. The algorithm is a property of
//! the key: what a token's header claims is compared with it, never obeyed.

mod eddsa;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{SessionRef, StoredKey, Timestamp, User, UserId};

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
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it is for.
    pub token_type: TokenType,
    /// The session and its account.
    pub session: SessionRef,
    /// The token's own id.
    pub id: String,
    /// Unix seconds from which on it does not count any more.
    pub expires: i64,
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

/// Most tokens that are remembered as verified, a kilobyte each with the account behind it.
const VERIFIED_TOKENS: usize = 16_384;

/// Parts that the memory of verified tokens is divided into, so that threads seldom wait for each other.
const PARTS: usize = 16;

/// Tokens in each part.
const TOKENS_IN_PART: usize = VERIFIED_TOKENS / PARTS;

/// Tokens whose signature was found to be good, because to check one costs more than all the rest of a read. They are known
/// by a hash, so that nobody who reads the memory finds a token in it, and belong to the keys of their [`Tokens`]: whoever
/// takes other keys begins with an empty memory.
#[derive(Default)]
struct VerifiedTokens([Mutex<VerifiedPart>; PARTS]);

/// The one that was checked longest ago is forgotten first: it is the one that expires first. To keep them in the order of
/// their use would touch several more places in memory with every use.
#[derive(Default)]
struct VerifiedPart {
    tokens: HashMap<TokenDigest, Arc<Verified>>,
    order: VecDeque<TokenDigest>,
}

impl VerifiedTokens {
    fn part(&self, digest: &TokenDigest) -> MutexGuard<'_, VerifiedPart> {
        self.0[usize::from(digest[0]) % PARTS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, digest: &TokenDigest) -> Option<Arc<Verified>> {
        self.part(digest).tokens.get(digest).cloned()
    }

    /// Remembers a token, and gives the one that stands for it from now on: another one when two have checked it at once.
    fn remember(&self, digest: TokenDigest, token: Verified) -> Arc<Verified> {
        let mut part = self.part(&digest);
        if let Some(known) = part.tokens.get(&digest) {
            return Arc::clone(known);
        }
        if part.tokens.len() >= TOKENS_IN_PART
            && let Some(oldest) = part.order.pop_front()
        {
            part.tokens.remove(&oldest);
        }
        let token = Arc::new(token);
        part.tokens.insert(digest, Arc::clone(&token));
        part.order.push_back(digest);
        token
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
        eddsa::install();
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

    /// Issues the token pair of a session; no token outlives `session_end`.
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
        session_end: Option<Timestamp>,
    ) -> Result<TokenPair, TokenError> {
        Ok(TokenPair {
            access: self.sign(
                TokenType::Access,
                user,
                session_id,
                access_id,
                now,
                session_end,
            )?,
            refresh: self.sign(
                TokenType::Refresh,
                user,
                session_id,
                refresh_id,
                now,
                session_end,
            )?,
        })
    }

    fn sign(
        &self,
        token_type: TokenType,
        user: &User,
        session_id: &str,
        id: &str,
        now: Timestamp,
        session_end: Option<Timestamp>,
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
        let expires_at = now.plus(life);
        let expires_at = session_end.map_or(expires_at, |end| expires_at.min(end));
        let claims = IssuedClaims {
            iss: &self.options.issuer,
            aud: audience,
            sub: user.id.to_string(),
            user_id: user.id,
            token_type,
            jti: id,
            iat: now.unix_seconds(),
            exp: expires_at.unix_seconds(),
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
        let counts = |verified: &Verified| now.unix_seconds() < verified.expires;
        if let Some(known) = self.verified.find(&digest) {
            return Some(known)
                .filter(|known| counts(known))
                .ok_or(TokenError::Invalid);
        }
        let verified = self.check_signature(token)?;
        if counts(&verified) {
            Ok(self.verified.remember(digest, verified))
        } else {
            Err(TokenError::Invalid)
        }
    }

    /// Checks signature and kind of a token.
    fn check_signature(&self, token: &str) -> Result<Verified, TokenError> {
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
        Ok(Verified {
            token_type: claims.token_type,
            session: SessionRef::new(claims.sid, claims.user_id),
            id: claims.jti,
            expires: claims.exp,
        })
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
        let pair = tokens
            .issue(&user(), "session", "a", "r", now, None)
            .unwrap();
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
        let pair = tokens
            .issue(&user(), "session", "a", "r", now, None)
            .unwrap();
        let verified = tokens
            .verify(&pair.access, now.plus(Duration::from_millis(299_999)))
            .unwrap();
        assert_eq!(
            *verified,
            Verified {
                token_type: TokenType::Access,
                session: SessionRef::new("session".into(), 7),
                id: "a".into(),
                expires: now.unix_seconds() + 300,
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
            .issue(&user(), "session", "a", "r", now, None)
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
        let digest = |number: u32| Sha256::digest(number.to_be_bytes()).into();
        for number in 0..2 * 16_384 {
            let token = Verified {
                token_type: TokenType::Access,
                session: SessionRef::new(String::new(), 1),
                id: String::new(),
                expires: 0,
            };
            memory.remember(digest(number), token);
        }
        for part in &memory.0 {
            let part = part.lock().unwrap();
            assert_eq!(part.tokens.len(), TOKENS_IN_PART);
            assert_eq!(part.order.len(), TOKENS_IN_PART);
        }
        assert!(memory.find(&digest(0)).is_none());
        assert!(memory.find(&digest(2 * 16_384 - 1)).is_some());
    }

    #[test]
    fn what_others_made_does_not_count() {
        let (ours, theirs) = (tokens(1), tokens(2));
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let pair = theirs
            .issue(&user(), "session", "a", "r", now, None)
            .unwrap();
        assert_eq!(ours.verify(&pair.access, now), Err(TokenError::Invalid));

        // Our own key id over their signature, no signature at all, and the public key used as a shared secret.
        let own = ours
            .issue(&user(), "session", "a", "r", now, None)
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
