//! JSON Web Tokens: issuing and verifying. Knows nothing of HTTP headers or the database.
//!
//! Tokens are signed with ES256, EdDSA or RS256. The algorithm is a property of the key: the `alg` of
//! a token's header is compared with it, never obeyed. Keys of several algorithms can verify side by
//! side, and one of them signs.
//!
//! ```text
//! keys       generation, JSON Web Keys         verified   cache of verified tokens
//! provider   jsonwebtoken's cryptography       rsa        RSA key generation
//! client     tokens of OAuth clients
//! external   ID tokens of other issuers        assertion  proof of being a client of theirs
//! ```

mod assertion;
mod client;
pub mod external;
mod keys;
mod provider;
mod rsa;
mod verified;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Header;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{
    AuthMethod, Authentication, OWN_CLIENT_ID, SessionRef, SigningAlgorithm, StoredKey, Timestamp,
    User, UserId,
};
pub use assertion::AssertionKey;
pub use client::{
    ClientTokenSubject, ClientTokenType, IdTokenContent, IdTokenHint, VerifiedClientToken,
};
pub use keys::{KeySet, PublicKey, generate_key};
use keys::{SigningKey, VerifyingKey, algorithm_of};
use verified::VerifiedTokens;

/// How far ahead of the server's clock a token may have been issued, in seconds.
///
/// More means that the clock of this server or of another one was wrong.
const MAX_CLOCK_SKEW: i64 = 60;

/// The kind of a token, its claim `token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Authorizes requests.
    Access,
    /// Is exchanged for the next pair.
    Refresh,
}

impl TokenType {
    /// The `typ` of the header (RFC 9068 for access tokens), so that the kinds cannot be confused.
    const fn header_typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
        }
    }
}

/// Why a token is refused or cannot be issued.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not issued by this server, modified, expired, or of another kind.
    Invalid,
    /// An internal error; the text is for the log.
    Failed(String),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("the token is not valid"),
            Self::Failed(cause) => write!(f, "cannot issue tokens: {cause}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Settings of issued tokens.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// Claim `iss`.
    pub issuer: String,
    /// Claim `iss` of tokens of OAuth clients: the URL of this server.
    pub client_issuer: String,
    /// Claim `aud` of access tokens.
    pub audience: Option<String>,
    /// Lifetime of access tokens.
    pub access_life: Duration,
    /// Lifetime of refresh tokens.
    pub refresh_life: Duration,
}

/// The content of a verified token.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its kind.
    pub token_type: TokenType,
    /// The session and its account.
    pub session: SessionRef,
    /// The token's own id.
    pub id: String,
    /// How and when the owner of the session had last authenticated; `None` in refresh tokens.
    pub authentication: Option<Authentication>,
    /// When it was issued, in Unix seconds.
    pub issued: i64,
    /// When it expires, in Unix seconds.
    pub expires: i64,
}

/// An access and a refresh token, the response to a sign-in.
#[derive(Clone, Serialize, JsonSchema)]
pub struct TokenPair {
    /// The token for the `Authorization` header.
    pub access: String,
    /// The token for the next pair.
    pub refresh: String,
}

/// What the tokens of a session say about it.
#[derive(Clone, Copy)]
pub struct TokenSubject<'a> {
    /// The account.
    pub user: &'a User,
    /// The id of the session.
    pub session_id: &'a str,
    /// The last authentication of its owner.
    pub authentication: &'a Authentication,
    /// When the session ends for good; no token outlives it.
    pub session_end: Option<Timestamp>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "<[AuthMethod]>::is_empty")]
    amr: &'a [AuthMethod],
}

#[derive(Deserialize)]
struct CheckedClaims {
    user_id: UserId,
    token_type: TokenType,
    jti: String,
    iat: i64,
    exp: i64,
    sid: String,
    auth_time: Option<i64>,
    #[serde(default)]
    amr: Vec<String>,
}

/// Issues and verifies tokens.
pub struct Tokens {
    options: TokenOptions,
    algorithm: SigningAlgorithm,
    signing_key: SigningKey,
    /// The keys that sign tokens of clients, one for each algorithm.
    client_keys: Vec<(SigningAlgorithm, SigningKey)>,
    verifying_keys: Vec<VerifyingKey>,
    verified: VerifiedTokens,
}

impl Tokens {
    /// Uses these keys, newest first.
    ///
    /// # Errors
    /// When none of them signs for the account API, or one has an unknown algorithm.
    pub fn new(options: TokenOptions, keys: &[StoredKey]) -> Result<Self, TokenError> {
        let signing = keys
            .iter()
            .find(|key| key.retired_at.is_none() && !key.is_for_clients)
            .ok_or_else(|| TokenError::Failed("no key signs".into()))?;
        provider::install();
        Ok(Self {
            options,
            algorithm: algorithm_of(signing)?,
            signing_key: SigningKey::new(signing)?,
            client_keys: keys
                .iter()
                .filter(|key| key.retired_at.is_none() && key.is_for_clients)
                .map(|key| Ok((algorithm_of(key)?, SigningKey::new(key)?)))
                .collect::<Result<_, TokenError>>()?,
            verifying_keys: keys
                .iter()
                .map(VerifyingKey::new)
                .collect::<Result<_, _>>()?,
            verified: VerifiedTokens::default(),
        })
    }

    /// The algorithm of the key that signs tokens of the account API.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The lifetime of refresh tokens.
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

    /// Issues the token pair of a session.
    ///
    /// # Errors
    /// On an internal error.
    pub fn issue(
        &self,
        subject: TokenSubject<'_>,
        access_id: &str,
        refresh_id: &str,
        now: Timestamp,
    ) -> Result<TokenPair, TokenError> {
        Ok(TokenPair {
            access: self.issue_access(subject, access_id, now)?,
            refresh: self.sign(TokenType::Refresh, subject, refresh_id, now)?,
        })
    }

    /// Issues an access token alone.
    ///
    /// # Errors
    /// On an internal error.
    pub fn issue_access(
        &self,
        subject: TokenSubject<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        self.sign(TokenType::Access, subject, id, now)
    }

    fn sign(
        &self,
        token_type: TokenType,
        subject: TokenSubject<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let TokenSubject {
            user,
            session_id,
            authentication,
            session_end,
        } = subject;
        let (life, audience, person) = match token_type {
            TokenType::Access => (
                self.options.access_life,
                self.options.audience.as_deref(),
                Some(user),
            ),
            // A refresh token is for this server alone, so it has no claims about the user.
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
            // RFC 9068 requires it.
            client_id: person.map(|_| OWN_CLIENT_ID),
            email: person.map(|user| user.email.as_str()),
            is_staff: person.map(|user| user.is_staff),
            external_id: person.and_then(|user| user.external_id.as_deref()),
            auth_time: person.map(|_| authentication.at.unix_seconds()),
            amr: person.map_or(&[], |_| &authentication.methods),
        };
        let mut header = Header::new(self.signing_key.algorithm);
        header.typ = Some(token_type.header_typ().into());
        header.kid = Some(self.signing_key.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.signing_key.key)
            .map_err(|e| TokenError::Failed(e.to_string()))
    }

    /// Verifies signature, kind and times of a token. The caller checks its session and account.
    ///
    /// # Errors
    /// [`TokenError::Invalid`], whatever is wrong with it.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Verified>, TokenError> {
        let digest = Sha256::digest(token.as_bytes()).into();
        let now = now.unix_seconds();
        let is_valid =
            |verified: &Verified| now < verified.expires && verified.issued <= now + MAX_CLOCK_SKEW;
        if let Some(known) = self.verified.find(&digest) {
            return Some(known)
                .filter(|known| is_valid(known))
                .ok_or(TokenError::Invalid);
        }
        let verified = self.verify_signature(token)?;
        if is_valid(&verified) {
            Ok(self.verified.add(digest, verified))
        } else {
            Err(TokenError::Invalid)
        }
    }

    /// The key that a header names, among those of clients or the others.
    fn verifying_key(
        &self,
        kid: Option<&str>,
        is_for_clients: bool,
    ) -> Result<&VerifyingKey, TokenError> {
        self.verifying_keys
            .iter()
            .find(|key| key.is_for_clients == is_for_clients && kid == Some(&*key.kid))
            .ok_or(TokenError::Invalid)
    }

    /// Verifies signature and kind of a token.
    fn verify_signature(&self, token: &str) -> Result<Verified, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let key = self.verifying_key(header.kid.as_deref(), false)?;
        let claims = jsonwebtoken::decode::<CheckedClaims>(token, &key.key, &key.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        if header.typ.as_deref() != Some(claims.token_type.header_typ()) {
            return Err(TokenError::Invalid);
        }
        Ok(Verified {
            token_type: claims.token_type,
            session: SessionRef::new(claims.sid, claims.user_id),
            id: claims.jti,
            authentication: claims.auth_time.map(|seconds| Authentication {
                at: Timestamp::from_unix_seconds(seconds),
                methods: claims
                    .amr
                    .iter()
                    .filter_map(|name| AuthMethod::parse(name))
                    .collect(),
            }),
            issued: claims.iat,
            expires: claims.exp,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::domain::Profile;

    /// Account 7.
    pub(in crate::crypto::tokens) fn user() -> User {
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
            external_id: None,
            has_factor: false,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
        }
    }

    fn authentication() -> Authentication {
        let at = Timestamp::from_unix_millis(1_699_999_000_500);
        Authentication::by(AuthMethod::Password, at)
    }

    /// A pair of the session `session`, whose tokens are `a` and `r`.
    fn issue(tokens: &Tokens, now: Timestamp) -> TokenPair {
        let subject = TokenSubject {
            user: &user(),
            session_id: "session",
            authentication: &authentication(),
            session_end: None,
        };
        tokens.issue(subject, "a", "r", now).unwrap()
    }

    fn tokens_with(algorithm: SigningAlgorithm) -> Tokens {
        let options = TokenOptions {
            issuer: "http://localhost:8000".into(),
            client_issuer: "http://localhost:8000".into(),
            audience: None,
            access_life: Duration::from_mins(5),
            refresh_life: Duration::from_hours(1),
        };
        let key = generate_key(algorithm, Timestamp::default()).unwrap();
        Tokens::new(options, &[key]).unwrap()
    }

    fn tokens() -> Tokens {
        tokens_with(SigningAlgorithm::Es256)
    }

    fn part(token: &str, index: usize) -> serde_json::Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn access_tokens_have_the_claims_of_rfc_9068() {
        let tokens = tokens();
        let now = Timestamp::from_unix_millis(1_700_000_000_999);
        let pair = issue(&tokens, now);
        let kid = tokens.signing_key.kid.clone();
        assert_eq!(
            part(&pair.access, 0),
            serde_json::json!({"typ": "at+jwt", "alg": "ES256", "kid": kid})
        );
        assert_eq!(
            part(&pair.access, 1),
            serde_json::json!({
                "iss": "http://localhost:8000", "sub": "7", "user_id": 7, "token_type": "access",
                "jti": "a", "iat": 1_700_000_000, "exp": 1_700_000_300, "sid": "session",
                "client_id": "accounts-server", "email": "user@example.com", "is_staff": false,
                "auth_time": 1_699_999_000, "amr": ["pwd"],
            })
        );
        for claim in ["email", "client_id", "auth_time", "amr"] {
            assert_eq!(part(&pair.refresh, 1)[claim], serde_json::Value::Null);
        }
    }

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let tokens = tokens();
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let pair = issue(&tokens, now);
        let verified = tokens
            .verify(&pair.access, now.plus(Duration::from_millis(299_999)))
            .unwrap();
        assert_eq!(
            *verified,
            Verified {
                token_type: TokenType::Access,
                session: SessionRef::new("session".into(), 7),
                id: "a".into(),
                authentication: Some(Authentication::by(
                    AuthMethod::Password,
                    Timestamp::from_unix_millis(1_699_999_000_000),
                )),
                issued: now.unix_seconds(),
                expires: now.unix_seconds() + 300,
            }
        );
        assert_eq!(
            tokens.verify(&pair.access, now.plus(Duration::from_mins(5))),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn cached_tokens_expire_as_well() {
        let tokens = tokens();
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let token = issue(&tokens, now).access;
        let first = tokens.verify(&token, now).unwrap();
        // The second result is the cached one; another token with the same signature is not.
        assert!(Arc::ptr_eq(&first, &tokens.verify(&token, now).unwrap()));
        let other = token.replacen('.', ".e", 1);
        assert_eq!(tokens.verify(&other, now), Err(TokenError::Invalid));
        let end = now.plus(Duration::from_mins(5));
        assert_eq!(tokens.verify(&token, end), Err(TokenError::Invalid));
        assert_eq!(tokens.verify(&token, end), Err(TokenError::Invalid));
    }

    #[test]
    fn tokens_from_the_future_are_refused() {
        let tokens = tokens();
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let pair = issue(&tokens, now);
        let before = |seconds| now.minus(Duration::from_secs(seconds));
        for token in [&pair.access, &pair.refresh] {
            assert!(tokens.verify(token, before(60)).is_ok());
            // Also from the cache.
            let future = tokens.verify(token, before(61));
            assert_eq!(future, Err(TokenError::Invalid));
            assert!(tokens.verify(token, now).is_ok());
        }
    }

    #[test]
    fn keys_of_all_algorithms_verify_side_by_side() {
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let options = tokens().options;
        let mut keys: Vec<StoredKey> = Vec::new();
        let mut issued = Vec::new();
        for algorithm in SigningAlgorithm::ALL {
            for key in &mut keys {
                key.retired_at = Some(now);
            }
            keys.insert(0, generate_key(algorithm, now).unwrap());
            let tokens = Tokens::new(options.clone(), &keys).unwrap();
            assert_eq!(tokens.algorithm(), algorithm);
            issued.push((algorithm, issue(&tokens, now).access));
        }
        let tokens = Tokens::new(options, &keys).unwrap();
        for (algorithm, token) in &issued {
            assert_eq!(part(token, 0)["alg"], algorithm.as_str());
            assert!(tokens.verify(token, now).is_ok(), "{algorithm}");
            // The `alg` of the header has to be that of the key.
            let (_, rest) = token.split_once('.').unwrap();
            for other in SigningAlgorithm::ALL.map(SigningAlgorithm::as_str) {
                let mut header = part(token, 0);
                if header["alg"] != other {
                    header["alg"] = other.into();
                    let header = URL_SAFE_NO_PAD.encode(header.to_string());
                    let forged = tokens.verify(&format!("{header}.{rest}"), now);
                    assert_eq!(forged, Err(TokenError::Invalid), "{algorithm} as {other}");
                }
            }
            // A changed signature, and none.
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[10] ^= 1;
            for changed in [&bytes[..], &[]] {
                let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(changed));
                assert_eq!(tokens.verify(&forged, now), Err(TokenError::Invalid));
            }
        }
    }

    #[test]
    fn foreign_and_forged_tokens_are_refused() {
        let (ours, theirs) = (tokens(), tokens());
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let pair = issue(&theirs, now);
        assert_eq!(ours.verify(&pair.access, now), Err(TokenError::Invalid));

        // Our key id with their signature, no signature, and another algorithm.
        let own = issue(&ours, now).access;
        let (signed, _) = own.rsplit_once('.').unwrap();
        let (_, foreign_signature) = pair.access.rsplit_once('.').unwrap();
        assert!(ours.verify(&own, now).is_ok());
        assert_eq!(
            ours.verify(&format!("{signed}.{foreign_signature}"), now),
            Err(TokenError::Invalid)
        );
        let (_, claims) = signed.split_once('.').unwrap();
        for header in [
            serde_json::json!({"typ": "at+jwt", "alg": "none", "kid": ours.signing_key.kid}),
            serde_json::json!({"typ": "at+jwt", "alg": "HS256", "kid": ours.signing_key.kid}),
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
