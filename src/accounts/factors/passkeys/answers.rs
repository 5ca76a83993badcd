//! Verifying the answer of a passkey.

use super::challenges::use_up;
use crate::accounts::AccountError;
use crate::app::App;
use crate::crypto::webauthn::{Assertion, VerifiedAssertion};
use crate::domain::UserId;
use crate::store::{ChallengeSubject, Factors, PasskeyKey, PasskeyUse};

/// An answer that was checked.
pub(super) enum Checked {
    /// It is of this passkey.
    Right(PasskeyKey, VerifiedAssertion),
    /// It is not accepted; the account is that of the passkey that it names, if there is one.
    Wrong(Option<UserId>),
}

/// Checks an answer, whose challenge is used up with it whatever comes of it.
///
/// An answer that does not name its account is accepted where the account is known otherwise.
pub(super) async fn check(
    app: &App,
    json: &str,
    subject: ChallengeSubject,
    is_account_known: bool,
) -> Result<Checked, AccountError> {
    let wrong = |user_id, why: &str| {
        match user_id {
            Some(user_id) => log::info!("user {user_id}: passkey refused: {why}"),
            None => log::info!("passkey refused: {why}"),
        }
        Ok(Checked::Wrong(user_id))
    };
    let answer = match Assertion::parse(json) {
        Ok(answer) => answer,
        Err(e) => return wrong(None, &e.to_string()),
    };
    let is_ours = use_up(app, answer.challenge(), subject).await?;
    let key = app.store.find_passkey_key(answer.credential_id()).await?;
    let Some(key) = key else {
        return wrong(None, "it is unknown");
    };
    let user_id = Some(key.user_id);
    if !is_ours {
        return wrong(user_id, "the challenge is unknown, used or expired");
    }
    let is_owner = match answer.user_handle() {
        Some(handle) => handle == key.user_handle,
        None => is_account_known,
    };
    if !is_owner {
        return wrong(user_id, "it names another account");
    }
    match answer.verify(&app.relying_party, &key.public_key) {
        Ok(verified) => Ok(Checked::Right(key, verified)),
        Err(e) => wrong(user_id, &e.to_string()),
    }
}

/// Checks the answer of a passkey as a factor of a known account. `None` when it is not accepted.
pub(in crate::accounts::factors) async fn check_answer(
    app: &App,
    (user_id, factors): (UserId, &Factors),
    json: &str,
    subject: ChallengeSubject,
) -> Result<Option<PasskeyUse>, AccountError> {
    let Checked::Right(key, verified) = check(app, json, subject, true).await? else {
        return Ok(None);
    };
    let is_factor = factors.passkeys.iter().any(|passkey| passkey.id == key.id);
    let is_right = key.user_id == user_id && is_factor;
    Ok(is_right.then(|| used(key, verified)))
}

/// The use of a passkey, for the store.
pub(super) fn used(key: PasskeyKey, verified: VerifiedAssertion) -> PasskeyUse {
    PasskeyUse {
        id: key.id,
        sign_count: verified.sign_count,
        is_backed_up: verified.is_backed_up,
    }
}
