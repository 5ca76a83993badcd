//! Tokens of OAuth clients: access tokens (RFC 9068), refresh tokens and ID tokens (OpenID Connect
//! Core, section 2).
//!
//! Keys of their own sign them, with the algorithm of the client, and only these verify them. So the
//! account API refuses tokens of clients and clients' endpoints refuse those of the account API, even
//! before their types are compared.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha512};

use super::keys::SigningKey;
use super::{MAX_CLOCK_SKEW, TokenError, Tokens};
use crate::domain::{
    AuthMethod, Authentication, OAuthClient, Scopes, SessionRef, SigningAlgorithm, Timestamp,
    UserId,
};

/// The kind of a token of a client, its claim `token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientTokenType {
    /// Reads the claims of the user, and may authorize requests to the client's own services.
    #[serde(rename = "client_access")]
    Access,
    /// Is exchanged for the next tokens.
    #[serde(rename = "client_refresh")]
    Refresh,
}

impl ClientTokenType {
    /// The `typ` of the header.
    const fn header_typ(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
        }
    }
}

/// The `typ` of the header of an ID token.
const ID_TOKEN_TYP: &str = "JWT";

/// What the tokens of a client's session say about it.
#[derive(Clone, Copy)]
pub struct ClientTokenSubject<'a> {
    /// The client.
    pub client: &'a OAuthClient,
    /// The account.
    pub user_id: UserId,
    /// The id of the session.
    pub session_id: &'a str,
    /// The last authentication of its owner.
    pub authentication: &'a Authentication,
    /// The granted scopes.
    pub scopes: &'a Scopes,
    /// When the session ends for good; no token outlives it.
    pub session_end: Option<Timestamp>,
}

/// What an ID token has beside the [`ClientTokenSubject`].
#[derive(Clone, Copy)]
pub struct IdTokenContent<'a> {
    /// The `nonce` of the authorization request.
    pub nonce: Option<&'a str>,
    /// The access token that it is issued with, for `at_hash`.
    pub access: &'a str,
    /// Further claims about the user, as the granted scopes allow.
    pub claims: &'a Map<String, Value>,
}

/// The content of a verified token of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedClientToken {
    /// Its kind.
    pub token_type: ClientTokenType,
    /// The session and its account.
    pub session: SessionRef,
    /// The token's own id.
    pub id: String,
    /// The client it was issued to.
    pub client_id: String,
    /// The granted scopes.
    pub scopes: Scopes,
    /// When it was issued, in Unix seconds.
    pub issued: i64,
    /// When it expires, in Unix seconds.
    pub expires: i64,
}

/// What an ID token says that comes back as a hint, which may have expired long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdTokenHint {
    /// The session and its account.
    pub session: SessionRef,
    /// The client it was issued to.
    pub client_id: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct ClientClaims {
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    scope: String,
    token_type: ClientTokenType,
    jti: String,
    iat: i64,
    exp: i64,
    sid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
}

#[derive(Serialize)]
struct IdTokenClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    azp: &'a str,
    iat: i64,
    exp: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "<[AuthMethod]>::is_empty")]
    amr: &'a [AuthMethod],
    at_hash: String,
    sid: &'a str,
    #[serde(flatten)]
    user: &'a Map<String, Value>,
}

#[derive(Clone, Deserialize)]
struct HintClaims {
    iss: String,
    sub: String,
    aud: String,
    sid: String,
}

impl Tokens {
    /// The claim `iss` of tokens of clients: the URL of this server (OpenID Connect Discovery,
    /// section 4.3).
    pub fn client_issuer(&self) -> &str {
        &self.options.client_issuer
    }

    /// Whether a key signs tokens of clients with this algorithm.
    pub fn signs_for_clients(&self, algorithm: SigningAlgorithm) -> bool {
        self.client_key(algorithm).is_ok()
    }

    /// The algorithms of the keys that sign tokens of clients.
    pub fn client_algorithms(&self) -> impl Iterator<Item = SigningAlgorithm> {
        self.client_keys.iter().map(|(algorithm, _)| *algorithm)
    }

    fn client_key(&self, algorithm: SigningAlgorithm) -> Result<&SigningKey, TokenError> {
        let mut keys = self.client_keys.iter();
        let found = keys.find(|(known, _)| *known == algorithm);
        found.map(|(_, key)| key).ok_or_else(|| {
            TokenError::Failed(format!("no key signs tokens of clients with {algorithm}"))
        })
    }

    /// Issues an access token of a client (RFC 9068), whose audience is the client itself.
    ///
    /// # Errors
    /// When no key signs with the client's algorithm.
    pub fn issue_client_access(
        &self,
        subject: ClientTokenSubject<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        self.sign_for_client(ClientTokenType::Access, subject, id, now)
    }

    /// Issues a refresh token of a client, which is for this server alone.
    ///
    /// # Errors
    /// As [`Tokens::issue_client_access`].
    pub fn issue_client_refresh(
        &self,
        subject: ClientTokenSubject<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        self.sign_for_client(ClientTokenType::Refresh, subject, id, now)
    }

    /// Issues an ID token (OpenID Connect Core, section 2).
    ///
    /// # Errors
    /// As [`Tokens::issue_client_access`].
    pub fn issue_id_token(
        &self,
        subject: ClientTokenSubject<'_>,
        content: IdTokenContent<'_>,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let algorithm = subject.client.settings.id_token_alg;
        let client_id = &subject.client.id;
        let claims = IdTokenClaims {
            iss: self.client_issuer(),
            sub: subject.user_id.to_string(),
            aud: client_id,
            azp: client_id,
            iat: now.unix_seconds(),
            exp: expiry(ClientTokenType::Access, subject, now).unix_seconds(),
            auth_time: subject.authentication.at.unix_seconds(),
            nonce: content.nonce,
            amr: &subject.authentication.methods,
            at_hash: left_half_hash(algorithm, content.access),
            sid: subject.session_id,
            user: content.claims,
        };
        self.sign_with(algorithm, ID_TOKEN_TYP, &claims)
    }

    fn sign_for_client(
        &self,
        token_type: ClientTokenType,
        subject: ClientTokenSubject<'_>,
        id: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        let is_access = token_type == ClientTokenType::Access;
        let client_id = &subject.client.id;
        let authentication = Some(subject.authentication).filter(|_| is_access);
        let claims = ClientClaims {
            iss: self.client_issuer().to_owned(),
            sub: subject.user_id.to_string(),
            aud: match token_type {
                ClientTokenType::Access => client_id.clone(),
                ClientTokenType::Refresh => self.client_issuer().to_owned(),
            },
            client_id: client_id.clone(),
            scope: subject.scopes.to_string(),
            token_type,
            jti: id.to_owned(),
            iat: now.unix_seconds(),
            exp: expiry(token_type, subject, now).unix_seconds(),
            sid: subject.session_id.to_owned(),
            auth_time: authentication.map(|known| known.at.unix_seconds()),
            amr: authentication
                .map(|known| {
                    known
                        .methods
                        .iter()
                        .map(|method| method.as_str().to_owned())
                })
                .into_iter()
                .flatten()
                .collect(),
        };
        let algorithm = subject.client.settings.id_token_alg;
        self.sign_with(algorithm, token_type.header_typ(), &claims)
    }

    fn sign_with(
        &self,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, TokenError> {
        let key = self.client_key(algorithm)?;
        let mut header = Header::new(key.algorithm);
        header.typ = Some(typ.into());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.key)
            .map_err(|e| TokenError::Failed(e.to_string()))
    }

    /// Verifies signature, issuer, kind and times of a token of a client. The caller checks its
    /// session, account and client.
    ///
    /// # Errors
    /// [`TokenError::Invalid`], whatever is wrong with it.
    pub fn verify_client_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<VerifiedClientToken, TokenError> {
        let (typ, claims): (_, ClientClaims) = self.decode_for_client(token)?;
        let now = now.unix_seconds();
        let is_valid = typ == claims.token_type.header_typ()
            && claims.iss == self.client_issuer()
            && now < claims.exp
            && claims.iat <= now + MAX_CLOCK_SKEW;
        if !is_valid {
            return Err(TokenError::Invalid);
        }
        Ok(VerifiedClientToken {
            token_type: claims.token_type,
            session: session(claims.sid, &claims.sub)?,
            id: claims.jti,
            client_id: claims.client_id,
            scopes: Scopes::parse_known(&claims.scope),
            issued: claims.iat,
            expires: claims.exp,
        })
    }

    /// Verifies signature and issuer of an ID token that comes back as `id_token_hint`. It may have
    /// expired (OpenID Connect RP-Initiated Logout, section 2), and its session may have ended.
    ///
    /// # Errors
    /// [`TokenError::Invalid`], whatever is wrong with it.
    pub fn verify_id_token_hint(&self, token: &str) -> Result<IdTokenHint, TokenError> {
        let (typ, claims): (_, HintClaims) = self.decode_for_client(token)?;
        if typ != ID_TOKEN_TYP || claims.iss != self.client_issuer() {
            return Err(TokenError::Invalid);
        }
        Ok(IdTokenHint {
            session: session(claims.sid, &claims.sub)?,
            client_id: claims.aud,
        })
    }

    /// Verifies the signature of a token by a key of clients: its `typ` and its claims.
    fn decode_for_client<T: DeserializeOwned + Clone>(
        &self,
        token: &str,
    ) -> Result<(String, T), TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        let key = self.verifying_key(header.kid.as_deref(), true)?;
        let claims = jsonwebtoken::decode::<T>(token, &key.key, &key.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        Ok((header.typ.unwrap_or_default(), claims))
    }
}

/// The session that claims name.
fn session(id: String, sub: &str) -> Result<SessionRef, TokenError> {
    let user_id = sub.parse().map_err(|_| TokenError::Invalid)?;
    Ok(SessionRef::new(id, user_id))
}

/// When a token expires: after its lifetime, or with its session.
fn expiry(
    token_type: ClientTokenType,
    subject: ClientTokenSubject<'_>,
    now: Timestamp,
) -> Timestamp {
    let settings = &subject.client.settings;
    let expires_at = now.plus(match token_type {
        ClientTokenType::Access => settings.access_lifetime(),
        ClientTokenType::Refresh => settings.refresh_lifetime(),
    });
    subject
        .session_end
        .map_or(expires_at, |end| expires_at.min(end))
}

/// The left half of a hash of an access token, with the hash of the signature's algorithm (OpenID
/// Connect Core, section 3.1.3.6). `EdDSA` with Ed25519 uses SHA-512.
fn left_half_hash(algorithm: SigningAlgorithm, token: &str) -> String {
    let half = match algorithm {
        SigningAlgorithm::Rs256 | SigningAlgorithm::Es256 => Sha256::digest(token)[..16].to_vec(),
        SigningAlgorithm::EdDsa => Sha512::digest(token)[..32].to_vec(),
    };
    URL_SAFE_NO_PAD.encode(half)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::{TokenOptions, TokenSubject, generate_key};
    use super::*;
    use crate::domain::{ClientSettings, RedirectUri, Scope, StoredKey};

    const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

    fn key(algorithm: SigningAlgorithm, is_for_clients: bool) -> StoredKey {
        StoredKey {
            is_for_clients,
            ..generate_key(algorithm, NOW).unwrap()
        }
    }

    fn tokens(keys: &[StoredKey]) -> Tokens {
        let options = TokenOptions {
            issuer: "another name".into(),
            client_issuer: "https://accounts.example.com".into(),
            audience: None,
            access_life: Duration::from_mins(5),
            refresh_life: Duration::from_hours(1),
        };
        Tokens::new(options, keys).unwrap()
    }

    fn client(algorithm: SigningAlgorithm) -> OAuthClient {
        let uri = RedirectUri::parse("https://app.example.com/cb").unwrap();
        OAuthClient {
            id: "app".into(),
            secret_hash: None,
            settings: ClientSettings {
                id_token_alg: algorithm,
                ..ClientSettings::new("App".into(), vec![uri])
            },
            is_from_file: false,
            created_at: NOW,
            updated_at: NOW,
        }
    }

    /// What signs for a client, for the session `session` of account 7.
    fn with_subject<T>(client: &OAuthClient, act: impl FnOnce(ClientTokenSubject<'_>) -> T) -> T {
        act(ClientTokenSubject {
            client,
            user_id: 7,
            session_id: "session",
            authentication: &Authentication::by(
                AuthMethod::Password,
                NOW.minus(Duration::from_mins(1)),
            ),
            scopes: &Scopes::of(&[Scope::Openid, Scope::Email]),
            session_end: None,
        })
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn tokens_of_clients_have_the_claims_of_the_specifications() {
        let own = key(SigningAlgorithm::Es256, false);
        for algorithm in SigningAlgorithm::ALL {
            let signing = key(algorithm, true);
            let tokens = tokens(&[own.clone(), signing.clone()]);
            let client = client(algorithm);
            let claims = json!({"email": "ann@example.com"});
            let [access, refresh, id_token] = with_subject(&client, |subject| {
                let access = tokens.issue_client_access(subject, "a", NOW).unwrap();
                let content = IdTokenContent {
                    nonce: Some("n-0S6"),
                    access: &access,
                    claims: claims.as_object().unwrap(),
                };
                let id_token = tokens.issue_id_token(subject, content, NOW).unwrap();
                let refresh = tokens.issue_client_refresh(subject, "r", NOW).unwrap();
                [access, refresh, id_token]
            });
            let header = |typ| json!({"typ": typ, "alg": algorithm.as_str(), "kid": signing.kid});
            assert_eq!(part(&access, 0), header("at+jwt"));
            assert_eq!(part(&refresh, 0), header("rt+jwt"));
            assert_eq!(part(&id_token, 0), header("JWT"));
            assert_eq!(
                part(&access, 1),
                json!({
                    "iss": "https://accounts.example.com", "sub": "7", "aud": "app",
                    "client_id": "app", "scope": "openid email", "token_type": "client_access",
                    "jti": "a", "iat": 1_700_000_000, "exp": 1_700_000_300, "sid": "session",
                    "auth_time": 1_699_999_940, "amr": ["pwd"],
                })
            );
            assert_eq!(
                part(&refresh, 1),
                json!({
                    "iss": "https://accounts.example.com", "sub": "7",
                    "aud": "https://accounts.example.com", "client_id": "app",
                    "scope": "openid email", "token_type": "client_refresh", "jti": "r",
                    "iat": 1_700_000_000, "exp": 1_702_592_000, "sid": "session",
                })
            );
            let hash = left_half_hash(algorithm, &access);
            let bytes = if algorithm == SigningAlgorithm::EdDsa {
                32
            } else {
                16
            };
            assert_eq!(URL_SAFE_NO_PAD.decode(&hash).unwrap().len(), bytes);
            assert_eq!(
                part(&id_token, 1),
                json!({
                    "iss": "https://accounts.example.com", "sub": "7", "aud": "app", "azp": "app",
                    "iat": 1_700_000_000, "exp": 1_700_000_300, "auth_time": 1_699_999_940,
                    "nonce": "n-0S6", "amr": ["pwd"], "at_hash": hash, "sid": "session",
                    "email": "ann@example.com",
                })
            );
        }
    }

    #[test]
    fn access_token_hash_is_that_of_the_specification() {
        // OpenID Connect Core, appendix A.3.
        assert_eq!(
            left_half_hash(
                SigningAlgorithm::Rs256,
                "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
            ),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
    }

    #[test]
    fn verified_tokens_say_what_was_issued() {
        let tokens = tokens(&[
            key(SigningAlgorithm::Es256, false),
            key(SigningAlgorithm::Es256, true),
        ]);
        let client = client(SigningAlgorithm::Es256);
        let access = with_subject(&client, |subject| {
            tokens.issue_client_access(subject, "a", NOW).unwrap()
        });
        let verified = tokens.verify_client_token(&access, NOW).unwrap();
        let expected = VerifiedClientToken {
            token_type: ClientTokenType::Access,
            session: SessionRef::new("session".into(), 7),
            id: "a".into(),
            client_id: "app".into(),
            scopes: Scopes::of(&[Scope::Openid, Scope::Email]),
            issued: 1_700_000_000,
            expires: 1_700_000_300,
        };
        assert_eq!(verified, expected);
        for now in [
            NOW.plus(Duration::from_mins(5)),
            NOW.minus(Duration::from_secs(61)),
        ] {
            let refused = tokens.verify_client_token(&access, now);
            assert_eq!(refused, Err(TokenError::Invalid));
        }
        // No token outlives its session.
        let end = NOW.plus(Duration::from_secs(7));
        let refresh = with_subject(&client, |subject| {
            let subject = ClientTokenSubject {
                session_end: Some(end),
                ..subject
            };
            tokens.issue_client_refresh(subject, "r", NOW).unwrap()
        });
        assert_eq!(part(&refresh, 1)["exp"], end.unix_seconds());
    }

    #[test]
    fn tokens_of_clients_and_of_the_account_api_are_never_exchanged() {
        let (own, others) = (
            key(SigningAlgorithm::Es256, false),
            key(SigningAlgorithm::Es256, true),
        );
        let tokens = tokens(&[own.clone(), others.clone()]);
        let client = client(SigningAlgorithm::Es256);
        let claims = Map::new();
        with_subject(&client, |subject| {
            let access = tokens.issue_client_access(subject, "a", NOW).unwrap();
            let refresh = tokens.issue_client_refresh(subject, "r", NOW).unwrap();
            let content = IdTokenContent {
                nonce: None,
                access: &access,
                claims: &claims,
            };
            let id_token = tokens.issue_id_token(subject, content, NOW).unwrap();
            for token in [&access, &refresh, &id_token] {
                assert_eq!(tokens.verify(token, NOW), Err(TokenError::Invalid));
            }
            // An ID token is a hint alone, and nothing else is one.
            let hint = tokens.verify_id_token_hint(&id_token).unwrap();
            assert_eq!((hint.session.user_id, &*hint.client_id), (7, "app"));
            let refused = tokens.verify_client_token(&id_token, NOW);
            assert_eq!(refused, Err(TokenError::Invalid));
            for token in [&access, &refresh] {
                let refused = tokens.verify_id_token_hint(token);
                assert_eq!(refused, Err(TokenError::Invalid));
            }
            // The account API's tokens, even when the keys are made to be those of clients.
            let pair = tokens
                .issue(
                    TokenSubject {
                        user: &super::super::tests::user(),
                        session_id: "session",
                        authentication: subject.authentication,
                        session_end: None,
                    },
                    "a",
                    "r",
                    NOW,
                )
                .unwrap();
            let swapped = self::tokens(&[
                StoredKey {
                    is_for_clients: false,
                    ..others.clone()
                },
                StoredKey {
                    is_for_clients: true,
                    ..own.clone()
                },
            ]);
            for token in [&pair.access, &pair.refresh] {
                for tokens in [&tokens, &swapped] {
                    let refused = tokens.verify_client_token(token, NOW);
                    assert_eq!(refused, Err(TokenError::Invalid));
                    let refused = tokens.verify_id_token_hint(token);
                    assert_eq!(refused, Err(TokenError::Invalid));
                }
            }
            for token in [&access, &refresh, &id_token] {
                assert_eq!(swapped.verify(token, NOW), Err(TokenError::Invalid));
            }
        });
    }

    #[test]
    fn retired_keys_verify_and_missing_ones_are_an_error() {
        let own = key(SigningAlgorithm::Es256, false);
        let old = key(SigningAlgorithm::EdDsa, true);
        let client = client(SigningAlgorithm::EdDsa);
        let access = with_subject(&client, |subject| {
            let tokens = tokens(&[own.clone(), old.clone()]);
            tokens.issue_client_access(subject, "a", NOW).unwrap()
        });
        let retired = StoredKey {
            retired_at: Some(NOW),
            ..old
        };
        let tokens = tokens(&[own, key(SigningAlgorithm::Rs256, true), retired]);
        assert!(tokens.verify_client_token(&access, NOW).is_ok());
        assert!(!tokens.signs_for_clients(SigningAlgorithm::EdDsa));
        let failed = with_subject(&client, |subject| {
            tokens.issue_client_access(subject, "a", NOW)
        });
        assert!(matches!(failed, Err(TokenError::Failed(_))), "{failed:?}");
        let algorithms: Vec<_> = tokens.client_algorithms().collect();
        assert_eq!(algorithms, [SigningAlgorithm::Rs256]);
        assert_eq!(tokens.key_set().keys.len(), 3, "all of them are published");
    }
}
