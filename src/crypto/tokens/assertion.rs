//! Tokens by which this server proves to another one that it is its client.
//!
//! Apple has no client secrets: a client signs a short-lived token with a key of its own instead
//! (<https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret>).

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::{TokenError, provider};
use crate::domain::Timestamp;

/// How long an assertion is valid: it is made for one request.
const LIFETIME: Duration = Duration::from_mins(5);

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    iat: i64,
    exp: i64,
    aud: &'a str,
    sub: &'a str,
}

/// A key with P-256 that signs assertions (ES256).
pub struct AssertionKey {
    id: String,
    key: EncodingKey,
}

impl AssertionKey {
    /// A key in PKCS #8 and PEM, as Apple gives it out in a `.p8` file, and its id there.
    ///
    /// # Errors
    /// [`TokenError::Failed`] when it is another kind of key, or not PKCS #8.
    pub fn from_pem(id: &str, pem: &[u8]) -> Result<Self, TokenError> {
        let unusable =
            || TokenError::Failed("it is not a P-256 key in PKCS #8 (BEGIN PRIVATE KEY)".into());
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| unusable())?;
        let key = Self {
            id: id.to_owned(),
            key: EncodingKey::from_ec_der(der.secret_pkcs8_der()),
        };
        // A key of another kind fails at its first signature.
        key.sign("", "", "", Timestamp::default())
            .map_err(|_| unusable())?;
        Ok(key)
    }

    /// Signs an assertion of `issuer` that `subject` is its client, for `audience`.
    ///
    /// # Errors
    /// [`TokenError::Failed`] on an internal error.
    pub fn sign(
        &self,
        issuer: &str,
        subject: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<String, TokenError> {
        provider::install();
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        let claims = Assertion {
            iss: issuer,
            iat: now.unix_seconds(),
            exp: now.plus(LIFETIME).unix_seconds(),
            aud: audience,
            sub: subject,
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|e| TokenError::Failed(e.to_string()))
    }
}
