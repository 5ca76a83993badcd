//! The passkeys of an account: listing, naming and removing them.

use crate::accounts::new_password::notices;
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::site_ways;
use crate::accounts::{AccountError, Caller, Client, unread};
use crate::app::App;
use crate::domain::{FieldReader, Fields};
use crate::mail::MailContent;
use crate::store::{DeletePasskey, DeletePasskeyOutcome, Passkey};

/// Longest name of a passkey, in characters.
pub(in crate::accounts) const NAME_LENGTH: usize = 64;

/// The passkeys of the caller, oldest first.
///
/// # Errors
/// Only store errors.
pub async fn list_passkeys(app: &App, caller: &Caller) -> Result<Vec<Passkey>, AccountError> {
    Ok(app.store.find_factors(caller.user.id).await?.passkeys)
}

/// One passkey of the caller.
///
/// # Errors
/// [`AccountError::NotFound`].
pub async fn find_passkey(app: &App, caller: &Caller, id: &str) -> Result<Passkey, AccountError> {
    let passkeys = list_passkeys(app, caller).await?;
    let mut passkeys = passkeys.into_iter();
    let found = passkeys.find(|passkey| passkey.id == id);
    found.ok_or(AccountError::NotFound)
}

/// Whether a passkey signs in to the site under its present domain.
pub fn is_current(app: &App, passkey: &Passkey) -> bool {
    passkey.rp_id == app.relying_party.id
}

/// Renames a passkey of the caller.
///
/// # Errors
/// [`AccountError::Fields`]; [`AccountError::NotFound`]; [`AccountError::SessionEnded`].
pub async fn rename_passkey(
    app: &App,
    caller: &Caller,
    id: &str,
    fields: &Fields,
    client: &Client,
) -> Result<Passkey, AccountError> {
    let mut reader = FieldReader::new(fields);
    let name = read_name(&mut reader);
    reader.finish()?;
    let name = name.ok_or_else(unread)?;
    let context = client.context(Some(caller));
    let renamed = app
        .store
        .rename_passkey(caller.user.id, id, &name, context)
        .await?;
    renamed.ok_or(AccountError::NotFound)
}

/// Reads the name of a passkey. Line breaks and the like become blanks.
pub(in crate::accounts) fn read_name(reader: &mut FieldReader<'_>) -> Option<String> {
    let name = reader.required_text("name", Some(NAME_LENGTH))?;
    Some(without_controls(&name))
}

/// A name without line breaks and the like.
pub(in crate::accounts) fn without_controls(name: &str) -> String {
    name.replace(char::is_control, " ")
}

/// Removes a passkey of the caller.
///
/// # Errors
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::LastWayIn`] when the account could not sign in without it.
pub async fn delete_passkey(
    app: &App,
    caller: &Caller,
    id: &str,
    client: &Client,
) -> Result<(), AccountError> {
    let caller = &recheck(app, caller).await?;
    require_recent(app, caller).await?;
    let passkey = find_passkey(app, caller, id).await?;
    let content = MailContent::PasskeyRemoved {
        name: passkey.name,
        ip: client.shown_ip(),
    };
    let user_id = caller.user.id;
    let deletion = DeletePasskey {
        user_id,
        id: passkey.id,
        ways: site_ways(app),
        notices: notices(app, &content),
        context: client.context(Some(caller)),
        now: app.clock.now(),
    };
    match app.store.delete_passkey(deletion).await? {
        DeletePasskeyOutcome::Deleted => {
            app.outbox.wake().await;
            log::info!("user {user_id}: passkey removed");
            Ok(())
        }
        DeletePasskeyOutcome::NotFound => Err(AccountError::NotFound),
        DeletePasskeyOutcome::LastWayIn => Err(AccountError::LastWayIn),
    }
}
