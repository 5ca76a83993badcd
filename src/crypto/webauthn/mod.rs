//! Verification of passkeys (Web Authentication level 3), as a relying party that asks for no
//! attestation.
//!
//! Owns the formats: the JSON form of credentials and options, client data, authenticator data, COSE
//! keys and signatures. It does not know accounts, and keeps no challenges: the caller looks up
//! whether the challenge of an answer is one of its own, and which passkey is meant.

mod assertion;
mod attestation;
mod authenticator_data;
mod client_data;
mod encoding;
mod options;
mod public_key;
mod registration;

pub use assertion::{Assertion, VerifiedAssertion};
pub use encoding::{Base64Url, encode};
pub use options::{CreationOptions, CredentialDescriptor, PasskeyAccount, RequestOptions};
pub use registration::{NewPasskey, Registration, known_transports};

/// Length of a challenge in bytes.
pub const CHALLENGE_BYTES: usize = 32;

/// Length of the user handle of an account in bytes, the longest that is allowed.
pub const USER_HANDLE_BYTES: usize = 64;

/// Longest id of a credential in bytes.
pub const CREDENTIAL_ID_BYTES: usize = 1023;

/// Checks that a key in the encoding of COSE is of an offered algorithm, and can have made
/// signatures.
///
/// # Errors
/// [`WebauthnError::PublicKey`].
pub fn check_public_key(bytes: &[u8]) -> Result<(), WebauthnError> {
    public_key::PublicKey::parse(bytes)?.check()
}

/// The site that passkeys are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty {
    /// The domain to which passkeys are bound.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// The origins of pages and apps that may use its passkeys.
    pub origins: Vec<String>,
}

/// Why an answer of an authenticator is refused. The text is for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebauthnError {
    /// It is not in the JSON form of a credential.
    #[error("the credential is not in its JSON form")]
    NotACredential,
    /// The client data is malformed.
    #[error("the client data is malformed")]
    ClientData,
    /// It answers a request of the other kind.
    #[error("the client data is of another type")]
    Type,
    /// It comes from another site.
    #[error("the origin is not one of ours")]
    Origin,
    /// A page of another site embeds ours.
    #[error("the page is embedded by another site")]
    CrossOrigin,
    /// The authenticator data is malformed.
    #[error("the authenticator data is malformed")]
    AuthenticatorData,
    /// It was made for another site.
    #[error("the passkey is of another relying party")]
    RelyingParty,
    /// Nobody was present, or the authenticator has not verified who.
    #[error("the user was not verified")]
    NotVerified,
    /// The attestation object is malformed.
    #[error("the attestation object is malformed")]
    Attestation,
    /// The public key is malformed, or of an algorithm that was not offered.
    #[error("the public key is malformed, or its algorithm was not offered")]
    PublicKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
}
