//! The fields that each operation reads, for the API schema.
//!
//! Nothing is declared twice: a form records what the operation's own parser asks for.

use super::photo::PhotoChange;
use super::{
    confirm, deletion, email_undo, external, factors, invitations, password_change, password_reset,
    profile, refresh, staff, webhooks,
};
use crate::domain::{FieldErrors, FieldReader, FieldRule, Fields, Timestamp};

/// The fields of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The fields in reading order.
    pub rules: Vec<FieldRule>,
    /// The errors for an empty body.
    pub complaints: FieldErrors,
}

/// The form that `read` asks for.
fn form<T>(read: impl FnOnce(&mut FieldReader<'_>) -> T) -> Form {
    let nothing = Fields::json();
    let mut reader = FieldReader::new(&nothing);
    read(&mut reader);
    Form {
        rules: reader.rules().to_vec(),
        complaints: reader.finish().err().unwrap_or_default(),
    }
}

/// A date for parsing an empty form.
const ANY_DAY: Timestamp = Timestamp::from_unix_millis(0);

/// Signing up.
pub fn sign_up() -> Form {
    form(|reader| super::sign_up::read(reader, ANY_DAY))
}

/// Inviting an address.
pub fn invitation() -> Form {
    form(invitations::read)
}

/// Looking up an invitation.
pub fn invitation_token() -> Form {
    form(invitations::read_token)
}

/// Accepting an invitation.
pub fn acceptance() -> Form {
    form(|reader| invitations::read_acceptance(reader, ANY_DAY))
}

/// Updating an account.
pub fn update() -> Form {
    form(|reader| {
        let mut changes = profile::read_changes(reader, &PhotoChange::Absent, ANY_DAY);
        profile::read_staff_changes(reader, &mut changes);
    })
}

/// Deleting an account: the caller's own with its password, or as staff with a reason.
pub fn delete() -> Form {
    form(|reader| {
        deletion::read(reader);
        staff::read_optional_reason(reader);
    })
}

/// Confirming an address.
pub fn confirmation() -> Form {
    form(confirm::read)
}

/// Requesting a one-time password.
pub fn address() -> Form {
    form(confirm::read_address)
}

/// Signing in.
pub fn sign_in() -> Form {
    form(super::sign_in::read_all)
}

/// Presenting a refresh token.
pub fn refresh_token() -> Form {
    form(|reader| refresh::read(reader, refresh::REFRESH))
}

/// Presenting a token of either type.
pub fn token() -> Form {
    form(|reader| refresh::read(reader, refresh::TOKEN))
}

/// Resetting a password with a one-time password.
pub fn confirm_reset() -> Form {
    form(password_reset::read)
}

/// Advancing the clock, in development.
pub fn advance_clock() -> Form {
    form(read_advance)
}

/// Most seconds per clock advance: a hundred years.
const MOST_SECONDS: u64 = 3_155_760_000;

/// Reads by how many seconds to advance the clock.
pub fn read_advance(reader: &mut FieldReader<'_>) -> Option<u64> {
    reader.required_whole("advance_seconds", MOST_SECONDS)
}

/// Authenticating again.
pub fn reauthenticate() -> Form {
    form(super::reauthenticate::read)
}

/// Changing a password with the current one.
pub fn change_password() -> Form {
    form(password_change::read)
}

/// The second step of a sign-in.
pub fn second_step() -> Form {
    form(factors::read_second_step)
}

/// Beginning the second step of a sign-in with a passkey.
pub fn second_step_begin() -> Form {
    form(factors::read_ticket)
}

/// Signing in with a passkey.
pub fn passkey_sign_in() -> Form {
    form(factors::passkeys::read_sign_in)
}

/// What a provider answers.
pub fn provider_answer() -> Form {
    form(external::read_answer)
}

/// Signing in by the code of a provider's answer.
pub fn provider_code() -> Form {
    form(external::read_code)
}

/// Signing in by an ID token.
pub fn provider_token() -> Form {
    form(external::read_token)
}

/// Starting to connect an identity.
pub fn provider_link() -> Form {
    form(external::read_link)
}

/// Connecting an identity.
pub fn identity_connection() -> Form {
    form(external::read_connection)
}

/// Adding a passkey.
pub fn add_passkey() -> Form {
    form(factors::passkeys::read_registration)
}

/// Renaming a passkey.
pub fn rename_passkey() -> Form {
    form(factors::passkeys::read_name)
}

/// Enrolling an authenticator app.
pub fn activate_totp() -> Form {
    form(factors::read_activation)
}

/// Proving a second factor.
pub fn factor_code() -> Form {
    form(factors::read_code)
}

/// Removing all second factors of an account.
pub fn reset_factors() -> Form {
    form(factors::read_reason)
}

/// Undoing an address change.
pub fn undo() -> Form {
    form(email_undo::read)
}

/// Adding a webhook.
pub fn new_webhook() -> Form {
    form(webhooks::read_new)
}

/// Changing a webhook.
pub fn webhook_changes() -> Form {
    form(webhooks::read_changes)
}

/// Sending missed events again.
pub fn recovery() -> Form {
    form(webhooks::read_recovery)
}
