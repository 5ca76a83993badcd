//! The client data: what the browser says about the request and the page that made it.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::encoding::Base64Url;
use super::{CHALLENGE_BYTES, RelyingParty, WebauthnError};

/// The type of client data that belongs to a new passkey.
pub(super) const CREATE: &str = "webauthn.create";

/// The type of client data that belongs to the use of a passkey.
pub(super) const GET: &str = "webauthn.get";

/// Client data (`CollectedClientData`), parsed but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientData {
    kind: String,
    pub(super) challenge: [u8; CHALLENGE_BYTES],
    origin: String,
    is_embedded: bool,
    /// What the authenticator signs of it.
    pub(super) hash: [u8; 32],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Collected {
    r#type: String,
    challenge: Base64Url,
    origin: String,
    #[serde(default)]
    cross_origin: Option<bool>,
    #[serde(default)]
    top_origin: Option<String>,
}

impl ClientData {
    /// Parses the bytes that the browser hashed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, WebauthnError> {
        let collected: Collected =
            serde_json::from_slice(bytes).map_err(|_| WebauthnError::ClientData)?;
        let challenge = collected.challenge.0.try_into();
        Ok(Self {
            kind: collected.r#type,
            challenge: challenge.map_err(|_| WebauthnError::ClientData)?,
            origin: collected.origin,
            is_embedded: collected.cross_origin == Some(true) || collected.top_origin.is_some(),
            hash: Sha256::digest(bytes).into(),
        })
    }

    /// Verifies all but the challenge (steps 7 to 11 of registration, 10 to 14 of authentication).
    pub(super) fn verify(&self, kind: &str, site: &RelyingParty) -> Result<(), WebauthnError> {
        if self.kind != kind {
            return Err(WebauthnError::Type);
        }
        if !site.origins.contains(&self.origin) {
            return Err(WebauthnError::Origin);
        }
        if self.is_embedded {
            return Err(WebauthnError::CrossOrigin);
        }
        Ok(())
    }
}
