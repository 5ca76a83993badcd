//! The registration of a passkey (section 7.1 of the specification).

use serde::Deserialize;

use super::attestation::AttestationObject;
use super::authenticator_data::AuthenticatorData;
use super::client_data::{CREATE, ClientData};
use super::encoding::Base64Url;
use super::public_key::PublicKey;
use super::{CHALLENGE_BYTES, RelyingParty, WebauthnError};

/// Most transports that are kept of a passkey.
const MOST_TRANSPORTS: usize = 8;

/// Longest name of a transport.
const TRANSPORT_LENGTH: usize = 32;

/// The answer of an authenticator to creation options (`RegistrationResponseJSON`), parsed but not
/// verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    id: Vec<u8>,
    client_data: ClientData,
    attestation_object: Vec<u8>,
    transports: Vec<String>,
}

/// A passkey whose registration was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPasskey {
    /// The id that the authenticator gave it.
    pub credential_id: Vec<u8>,
    /// Its public key in the encoding of COSE.
    pub public_key: Vec<u8>,
    /// Its signature counter; 0 for authenticators without one.
    pub sign_count: u32,
    /// The model of the authenticator; zeros when it does not tell.
    pub aaguid: [u8; 16],
    /// How clients may reach the authenticator.
    pub transports: Vec<String>,
    /// Whether it can be copied to other devices.
    pub is_backup_eligible: bool,
    /// Whether it has been.
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

/// The only type of credentials.
#[derive(Deserialize)]
pub(super) enum PublicKeyType {
    #[serde(rename = "public-key")]
    PublicKey,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(rename = "clientDataJSON")]
    client_data: Base64Url,
    attestation_object: Base64Url,
    #[serde(default)]
    transports: Option<Vec<String>>,
}

impl Registration {
    /// Parses the JSON form of the credential.
    ///
    /// # Errors
    /// When it is malformed; the data of the authenticator is parsed later.
    pub fn parse(json: &str) -> Result<Self, WebauthnError> {
        let json: Json = serde_json::from_str(json).map_err(|_| WebauthnError::NotACredential)?;
        let PublicKeyType::PublicKey = json.r#type;
        if json.id != json.raw_id {
            return Err(WebauthnError::NotACredential);
        }
        let id = Base64Url::parse(&json.raw_id).ok_or(WebauthnError::NotACredential)?;
        Ok(Self {
            id: id.0,
            client_data: ClientData::parse(&json.response.client_data.0)?,
            attestation_object: json.response.attestation_object.0,
            transports: known_transports(json.response.transports.unwrap_or_default()),
        })
    }

    /// The challenge that it answers. The caller decides whether that is one of its own.
    pub fn challenge(&self) -> &[u8; CHALLENGE_BYTES] {
        &self.client_data.challenge
    }

    /// Verifies everything but the challenge.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn verify(self, site: &RelyingParty) -> Result<NewPasskey, WebauthnError> {
        self.client_data.verify(CREATE, site)?;
        let object = AttestationObject::parse(&self.attestation_object)?;
        let data = AuthenticatorData::parse(object.authenticator_data)?;
        data.verify(site)?;
        let credential = data.credential.as_ref();
        let credential = credential.ok_or(WebauthnError::AuthenticatorData)?;
        if credential.id != self.id {
            return Err(WebauthnError::NotACredential);
        }
        let key = PublicKey::parse(credential.public_key)?;
        key.check()?;
        let signed = [object.authenticator_data, &self.client_data.hash].concat();
        object.verify(&key, &signed)?;
        Ok(NewPasskey {
            credential_id: credential.id.to_vec(),
            public_key: credential.public_key.to_vec(),
            sign_count: data.sign_count,
            aaguid: credential.aaguid,
            transports: self.transports,
            is_backup_eligible: data.is_backup_eligible(),
            is_backed_up: data.is_backed_up(),
        })
    }
}

/// The transports that are kept: names as the specification writes them, each once.
pub fn known_transports(transports: Vec<String>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for name in transports {
        let is_name = !name.is_empty()
            && name.len() <= TRANSPORT_LENGTH
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if is_name && !known.contains(&name) && known.len() < MOST_TRANSPORTS {
            known.push(name);
        }
    }
    known
}
