//! The use of a passkey (section 7.2 of the specification).

use serde::Deserialize;

use super::authenticator_data::AuthenticatorData;
use super::client_data::{ClientData, GET};
use super::encoding::Base64Url;
use super::public_key::PublicKey;
use super::registration::PublicKeyType;
use super::{CHALLENGE_BYTES, CREDENTIAL_ID_BYTES, RelyingParty, WebauthnError};

/// The answer of an authenticator to request options (`AuthenticationResponseJSON`), parsed but not
/// verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    id: Vec<u8>,
    client_data: ClientData,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
    user_handle: Option<Vec<u8>>,
}

/// What the verified use of a passkey says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    /// Its signature counter. The caller compares it with the last one.
    pub sign_count: u32,
    /// Whether it has been copied to other devices.
    pub is_backed_up: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    id: String,
    raw_id: String,
    r#type: PublicKeyType,
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(rename = "clientDataJSON")]
    client_data: Base64Url,
    authenticator_data: Base64Url,
    signature: Base64Url,
    #[serde(default)]
    user_handle: Option<Base64Url>,
}

impl Assertion {
    /// Parses the JSON form of the credential.
    ///
    /// # Errors
    /// When it is malformed; the data of the authenticator is parsed later.
    pub fn parse(json: &str) -> Result<Self, WebauthnError> {
        let json: Json = serde_json::from_str(json).map_err(|_| WebauthnError::NotACredential)?;
        let PublicKeyType::PublicKey = json.r#type;
        let id = Base64Url::parse(&json.raw_id).ok_or(WebauthnError::NotACredential)?;
        let is_id = json.id == json.raw_id && id.0.len() <= CREDENTIAL_ID_BYTES;
        if !is_id {
            return Err(WebauthnError::NotACredential);
        }
        Ok(Self {
            id: id.0,
            client_data: ClientData::parse(&json.response.client_data.0)?,
            authenticator_data: json.response.authenticator_data.0,
            signature: json.response.signature.0,
            user_handle: json.response.user_handle.map(|handle| handle.0),
        })
    }

    /// The challenge that it answers. The caller decides whether that is one of its own.
    pub fn challenge(&self) -> &[u8; CHALLENGE_BYTES] {
        &self.client_data.challenge
    }

    /// The id of the passkey that it claims to be of.
    pub fn credential_id(&self) -> &[u8] {
        &self.id
    }

    /// The account that the authenticator names. `None` when it names none, as it may for a passkey
    /// that was asked for by its id.
    pub fn user_handle(&self) -> Option<&[u8]> {
        self.user_handle.as_deref()
    }

    /// Verifies everything but challenge, account and counter, with the public key of the passkey.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn verify(
        &self,
        site: &RelyingParty,
        public_key: &[u8],
    ) -> Result<VerifiedAssertion, WebauthnError> {
        self.client_data.verify(GET, site)?;
        let data = AuthenticatorData::parse(&self.authenticator_data)?;
        data.verify(site)?;
        let signed = [&self.authenticator_data[..], &self.client_data.hash].concat();
        PublicKey::parse(public_key)?.verify(&signed, &self.signature)?;
        Ok(VerifiedAssertion {
            sign_count: data.sign_count,
            is_backed_up: data.is_backed_up(),
        })
    }
}
