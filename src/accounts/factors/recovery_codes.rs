//! Recovery codes: drawing them, and replacing them.

use crate::accounts::new_password::notices;
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::{AccountError, Caller, Client};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{RECOVERY_CODES, RecoveryCode, UserId};
use crate::mail::MailContent;
use crate::store::ReplaceRecoveryCodes;

/// New codes, and the keyed hashes under which they are stored.
pub(super) fn new_codes(app: &App, user_id: UserId) -> (Vec<RecoveryCode>, Vec<Vec<u8>>) {
    let codes: Vec<_> = (0..RECOVERY_CODES)
        .map(|_| RecoveryCode::from_random(random::bytes()))
        .collect();
    let hash = |code| app.codes.hash_recovery_code(user_id, code);
    let hashes = codes.iter().map(hash).collect();
    (codes, hashes)
}

/// Replaces the caller's recovery codes; the old ones are void.
///
/// # Errors
/// [`AccountError::FactorNotEnabled`]; [`AccountError::ReauthenticationRequired`].
pub async fn regenerate_recovery_codes(
    app: &App,
    caller: &Caller,
    client: &Client,
) -> Result<Vec<RecoveryCode>, AccountError> {
    let caller = &recheck(app, caller).await?;
    require_recent(app, caller).await?;
    let (codes, recovery_codes) = new_codes(app, caller.user.id);
    let content = MailContent::RecoveryCodesReplaced {
        ip: client.shown_ip(),
    };
    let replacement = ReplaceRecoveryCodes {
        user_id: caller.user.id,
        recovery_codes,
        notices: notices(app, &content),
        context: client.context(Some(caller)),
        now: app.clock.now(),
    };
    if !app.store.replace_recovery_codes(replacement).await? {
        return Err(AccountError::FactorNotEnabled);
    }
    app.outbox.wake().await;
    log::info!("user {}: recovery codes replaced", caller.user.id);
    Ok(codes)
}
