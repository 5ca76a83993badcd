//! Options for authenticators in their JSON form (sections 5.1.8 and 5.1.9 of the specification).

use schemars::JsonSchema;
use serde::Serialize;

use super::encoding::encode;
use super::public_key::ALGORITHMS;
use super::{CHALLENGE_BYTES, RelyingParty};

const PUBLIC_KEY: &str = "public-key";
const REQUIRED: &str = "required";

/// Asks for a new passkey (`PublicKeyCredentialCreationOptionsJSON`).
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreationOptions {
    /// The site.
    rp: Site,
    /// The account.
    user: Account,
    /// Base64url; the answer contains it.
    challenge: String,
    /// The algorithms that are accepted: ES256, EdDSA and RS256.
    pub_key_cred_params: Vec<Algorithm>,
    /// Milliseconds.
    timeout: u64,
    /// Passkeys that the account has already.
    exclude_credentials: Vec<CredentialDescriptor>,
    authenticator_selection: AuthenticatorSelection,
    attestation: &'static str,
}

/// Asks for the use of a passkey (`PublicKeyCredentialRequestOptionsJSON`).
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    /// Base64url; the answer contains it.
    challenge: String,
    /// Milliseconds.
    timeout: u64,
    /// The domain to which passkeys are bound.
    rp_id: String,
    /// The passkeys that can answer; empty for all of the site.
    allow_credentials: Vec<CredentialDescriptor>,
    user_verification: &'static str,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "RelyingParty")]
struct Site {
    id: String,
    name: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PasskeyUser")]
struct Account {
    /// Base64url; random, the same for all passkeys of the account.
    id: String,
    /// The address.
    name: String,
    display_name: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PasskeyAlgorithm")]
struct Algorithm {
    r#type: &'static str,
    /// Its number in the COSE registry.
    alg: i64,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AuthenticatorSelection {
    resident_key: &'static str,
    require_resident_key: bool,
    user_verification: &'static str,
}

/// A passkey of an account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CredentialDescriptor {
    r#type: &'static str,
    /// Base64url.
    id: String,
    transports: Vec<String>,
}

impl CredentialDescriptor {
    /// The passkey with this id, which clients reach in these ways.
    pub fn new(id: &[u8], transports: &[String]) -> Self {
        Self {
            r#type: PUBLIC_KEY,
            id: encode(id),
            transports: transports.to_vec(),
        }
    }
}

/// The account that a passkey is made for.
#[derive(Clone, Copy, Debug)]
pub struct PasskeyAccount<'a> {
    /// Its random handle.
    pub handle: &'a [u8],
    /// Its address.
    pub name: &'a str,
    /// What the authenticator shows.
    pub display_name: &'a str,
}

impl CreationOptions {
    /// Options for a passkey that signs in without a name, after the authenticator has verified who
    /// is there.
    pub fn new(
        site: &RelyingParty,
        account: PasskeyAccount<'_>,
        challenge: &[u8; CHALLENGE_BYTES],
        known: Vec<CredentialDescriptor>,
        timeout: u64,
    ) -> Self {
        let algorithm = |alg| Algorithm {
            r#type: PUBLIC_KEY,
            alg,
        };
        Self {
            rp: Site {
                id: site.id.clone(),
                name: site.name.clone(),
            },
            user: Account {
                id: encode(account.handle),
                name: account.name.to_owned(),
                display_name: account.display_name.to_owned(),
            },
            challenge: encode(challenge),
            pub_key_cred_params: ALGORITHMS.map(algorithm).to_vec(),
            timeout,
            exclude_credentials: known,
            authenticator_selection: AuthenticatorSelection {
                resident_key: REQUIRED,
                require_resident_key: true,
                user_verification: REQUIRED,
            },
            attestation: "none",
        }
    }
}

impl RequestOptions {
    /// Options for the use of one of these passkeys, or of any of the site.
    pub fn new(
        site: &RelyingParty,
        challenge: &[u8; CHALLENGE_BYTES],
        allowed: Vec<CredentialDescriptor>,
        timeout: u64,
    ) -> Self {
        Self {
            challenge: encode(challenge),
            timeout,
            rp_id: site.id.clone(),
            allow_credentials: allowed,
            user_verification: REQUIRED,
        }
    }
}
