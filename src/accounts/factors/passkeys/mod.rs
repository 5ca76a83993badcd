//! Passkeys: adding, listing, naming and removing them, and signing in with one.

mod answers;
mod challenges;
mod management;
mod registration;
mod sign_in;

use crate::app::App;
use crate::crypto::webauthn::{
    CHALLENGE_BYTES, CredentialDescriptor, RelyingParty, RequestOptions,
};
use crate::domain::{FieldReader, messages};
use crate::store::Passkey;

pub(super) use answers::check_answer;
use challenges::TIMEOUT;
pub(super) use challenges::{begin, second_step, sign_in as sign_in_subject};
pub(in crate::accounts) use management::{NAME_LENGTH, read_name, without_controls};
pub use management::{delete_passkey, find_passkey, is_current, list_passkeys, rename_passkey};
pub(in crate::accounts) use registration::read as read_registration;
pub use registration::{AddedPasskey, add_passkey, start_passkey};
pub(in crate::accounts) use sign_in::read as read_sign_in;
pub use sign_in::{PasskeyRequest, sign_in_with_passkey, start_passkey_sign_in};

/// Most passkeys of an account.
pub(in crate::accounts) const MOST_PASSKEYS: usize = 20;

/// The field of an answer.
pub(super) const CREDENTIAL: &str = "credential";

/// The field of the id of a sign-in.
pub(super) const SESSION_ID: &str = "session_id";

/// Longest id of a sign-in, in characters.
pub(super) const SESSION_ID_LENGTH: usize = 128;

/// The passkeys of an account that sign in to this site, for an authenticator.
fn descriptors(site: &RelyingParty, passkeys: &[Passkey]) -> Vec<CredentialDescriptor> {
    passkeys
        .iter()
        .filter(|passkey| passkey.rp_id == site.id)
        .map(|passkey| CredentialDescriptor::new(&passkey.credential_id, &passkey.transports))
        .collect()
}

/// Options for the use of one of the passkeys of an account.
pub(super) fn request_options(
    app: &App,
    challenge: &[u8; CHALLENGE_BYTES],
    passkeys: &[Passkey],
) -> RequestOptions {
    let site = &app.relying_party;
    RequestOptions::new(site, challenge, descriptors(site, passkeys), TIMEOUT)
}

/// Reads the answer of a passkey, as JSON.
pub(super) fn read_answer(reader: &mut FieldReader<'_>) -> Option<String> {
    let json = reader.required_object(CREDENTIAL, messages::INVALID_CREDENTIAL)?;
    Some(json.to_owned())
}
