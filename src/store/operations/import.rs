//! Importing accounts.

use super::connection::{Connection, params};
use super::email_change::take_from_unconfirmed;
use super::events::{Actor, insert_event};
use super::factors::insert_device;
use super::identities::{self, import_identities};
use super::passkeys::{import_passkeys, import_refusal};
use super::rows::{profile_columns, profile_params, profile_values};
use super::sign_ups::insert_sign_up;
use super::transaction::Transaction;
use super::users::find_by_id;
use super::webhooks::emit;
use crate::domain::{EventKind, Timestamp, UserId, WebhookEventType};
use crate::store::{
    EventSubject, ImportRefusal, ImportSource, ImportedUser, RequestContext, SealTotp, StoreResult,
};

/// An id that no account has.
const NOBODY: UserId = 0;

/// Imports all accounts of the source; false when the source wants them rolled back.
pub(super) fn import_users(
    connection: &Transaction<'_>,
    source: &mut dyn ImportSource,
    seal_totp: &SealTotp,
    free_from: UserId,
    (context, now): (&RequestContext, Timestamp),
) -> StoreResult<bool> {
    connection.prefer_indexes()?;
    let mut imported: u64 = 0;
    while let Some(user) = source.next_user() {
        let outcome = insert(connection, &user, free_from, context)?;
        if let (Ok(user_id), Some(totp)) = (outcome, &user.totp)
            && let Some(device) = seal_totp(user_id, totp)
        {
            insert_device(connection, user_id, &device, totp.used_step)?;
        }
        if let (Ok(user_id), Some(passkeys)) = (outcome, &user.passkeys) {
            import_passkeys(connection, user_id, passkeys)?;
        }
        if let Ok(user_id) = outcome {
            import_identities(connection, user_id, &user.identities)?;
        }
        if let (Ok(user_id), true) = (outcome, source.notifies_webhooks()) {
            let (event, subject) = (WebhookEventType::UserCreated, EventSubject::Account);
            emit(connection, event, user_id, subject, now)?;
        }
        imported += u64::from(outcome.is_ok());
        source.imported(outcome);
    }
    if imported > 0 {
        connection.raise_user_ids()?;
        insert_event(
            connection,
            EventKind::UsersImported,
            None,
            Actor::FromContext,
            context,
            &imported.to_string(),
            now,
        )?;
    }
    Ok(source.keep())
}

/// Finds the account with an external id.
pub(in crate::store) fn find_by_external_id(
    connection: &dyn Connection,
    external_id: &str,
) -> StoreResult<Option<UserId>> {
    connection.query_optional(
        "SELECT id FROM users WHERE external_id = :external_id",
        params! { ":external_id": external_id },
        |row| row.get(0),
    )
}

fn insert(
    connection: &Transaction<'_>,
    user: &ImportedUser,
    free_from: UserId,
    context: &RequestContext,
) -> StoreResult<Result<UserId, ImportRefusal>> {
    if user.id.is_some_and(|id| id < free_from) {
        return Ok(Err(ImportRefusal::IdTaken));
    }
    // Checked before any account is removed, so that a refused account changes nothing.
    if let Some(id) = user.id
        && find_by_id(connection, id)?.is_some()
    {
        return Ok(Err(ImportRefusal::IdTaken));
    }
    if let Some(passkeys) = &user.passkeys
        && let Some(refusal) = import_refusal(connection, passkeys)?
    {
        return Ok(Err(refusal));
    }
    if let Some(refusal) = identities::import_refusal(connection, &user.identities)? {
        return Ok(Err(refusal));
    }
    let key = user.email.key();
    // The address of a never-verified account is unconfirmed, so it does not block a verified one.
    if user.verified_at.is_some() {
        take_from_unconfirmed(connection, key, NOBODY, (context, user.updated_at))?;
    }
    let taken: Option<UserId> = connection.query_optional(
        "SELECT id FROM users WHERE email_key = :key OR new_email_key = :key",
        params! { ":key": key },
        |row| row.get(0),
    )?;
    if taken.is_some() {
        return Ok(Err(ImportRefusal::EmailTaken));
    }
    if let Some(external_id) = &user.external_id
        && find_by_external_id(connection, external_id)?.is_some()
    {
        return Ok(Err(ImportRefusal::ExternalIdTaken));
    }
    let id = match user.id {
        Some(id) => Some(id),
        None => connection.new_user_id()?,
    };
    let inserted: Option<UserId> = connection.query_optional(
        concat!(
            "INSERT INTO users (id, email, email_key, password_hash, ",
            profile_columns!(),
            ", is_active, is_staff, verified_at, last_login_at, created_at, updated_at, language, \
             external_id) VALUES (:id, :email, :email_key, :password_hash, ",
            profile_values!(),
            ", :is_active, :is_staff, :verified_at, :last_login_at, :created_at, :updated_at, \
             :language, :external_id) ON CONFLICT (id) DO NOTHING RETURNING id"
        ),
        &profile_params(
            &user.profile,
            params! {
                ":id": id,
                ":email": user.email.as_str(),
                ":email_key": key,
                ":password_hash": user.password_hash,
                ":is_active": user.is_active,
                ":is_staff": user.is_staff,
                ":verified_at": user.verified_at.map(Timestamp::unix_millis),
                ":last_login_at": user.last_login_at.map(Timestamp::unix_millis),
                ":created_at": user.created_at.unix_millis(),
                ":updated_at": user.updated_at.unix_millis(),
                ":language": user.language,
                ":external_id": user.external_id,
            },
        ),
        |row| row.get(0),
    )?;
    if let (Some(id), None) = (inserted, user.verified_at) {
        // Without a sign-up a code has nothing to confirm.
        insert_sign_up(connection, id)?;
    }
    Ok(inserted.ok_or(ImportRefusal::IdTaken))
}
