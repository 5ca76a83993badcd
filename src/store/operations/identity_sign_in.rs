//! Signing in by an identity: of an account that has it, or of somebody new.

use super::connection::{Connection, params};

use super::events::{Actor, insert_event};
use super::factors::{find_factors, insert_ticket as insert_factor_ticket};
use super::identities::{find_owner, insert_identity, mail_connection, note, note_use};
use super::identity_tickets::insert_ticket;
use super::otps::NO_PASSWORD;
use super::sessions::complete_session;
use super::sign_ups::create_sign_up;
use super::transaction::Transaction;
use super::users::insert_verified_user;
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::{
    IdentitySignIn, IdentitySignInOutcome, NewSignUp, NewUser, Newcomer, SignUpOutcome,
    StoreResult, UsedIdToken,
};

/// Signs in by an identity, which was proven.
pub(super) fn sign_in(
    connection: &Transaction<'_>,
    request: &IdentitySignIn,
) -> StoreResult<IdentitySignInOutcome> {
    if let Some(token) = &request.used_token
        && !use_token(connection, token, request.session.now)?
    {
        return Ok(IdentitySignInOutcome::Replayed);
    }
    let proven = &request.proven;
    if let Some(user_id) = find_owner(connection, &proven.issuer, &proven.subject)? {
        return start_session(connection, user_id, request, false);
    }
    let Some(newcomer) = &request.newcomer else {
        return Ok(IdentitySignInOutcome::Refused);
    };
    let email_key = newcomer.sign_up.email.key();
    match find_holder(connection, email_key, request.session.now)? {
        Some(Holder::Verified(user_id)) => match &newcomer.connection {
            // The provider's account alone does not get past a second factor.
            Some(mails)
                if newcomer.is_trusted && !find_factors(connection, user_id)?.is_enabled() =>
            {
                if !may_sign_in(connection, user_id)? {
                    return Ok(IdentitySignInOutcome::Refused);
                }
                let connected = (request.session.now, None);
                insert_identity(connection, user_id, (&request.new_id, proven), connected)?;
                mail_connection(connection, user_id, mails, request.session.now)?;
                note_connected(connection, user_id, request)?;
                start_session(connection, user_id, request, false)
            }
            _ => offer_connection(connection, user_id, request, newcomer),
        },
        Some(Holder::Former(user_id)) => offer_connection(connection, user_id, request, newcomer),
        // Staff has deactivated it before it was ever confirmed.
        Some(Holder::Inactive) => Ok(IdentitySignInOutcome::Refused),
        None if newcomer.is_trusted => create_account(connection, request, newcomer),
        None => create_pending(connection, request, newcomer),
    }
}

/// Uses up an ID token, in one statement; false when it was used before. Expired ones go, so that
/// the table holds those of a few minutes.
fn use_token(
    connection: &dyn Connection,
    token: &UsedIdToken,
    now: Timestamp,
) -> StoreResult<bool> {
    connection.run(
        "DELETE FROM used_id_tokens WHERE expires_at <= :now",
        params! { ":now": now.unix_millis() },
    )?;
    connection
        .execute(
            "INSERT INTO used_id_tokens (token_hash, expires_at) VALUES (:token_hash, :expires_at) \
             ON CONFLICT (token_hash) DO NOTHING",
            params! {
                ":token_hash": token.token_hash, ":expires_at": token.expires_at.unix_millis(),
            },
        )
        .map(|inserted| inserted > 0)
}

/// Who has an address, besides pending sign-ups.
enum Holder {
    /// An account has confirmed it.
    Verified(UserId),
    /// A link reserves it for an account that it was taken from.
    Former(UserId),
    /// A never-verified account that was deactivated.
    Inactive,
}

fn find_holder(
    connection: &dyn Connection,
    email_key: &str,
    now: Timestamp,
) -> StoreResult<Option<Holder>> {
    let own: Option<(UserId, bool, bool)> = connection.query_optional(
        "SELECT id, verified_at IS NOT NULL, is_active FROM users WHERE email_key = :email_key",
        params! { ":email_key": email_key },
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if let Some((user_id, true, _)) = own {
        return Ok(Some(Holder::Verified(user_id)));
    }
    let former: Option<UserId> = connection.query_optional(
        "SELECT user_id FROM email_undos WHERE email_key = :email_key AND expires_at > :now ORDER \
         BY sequence LIMIT 1",
        params! { ":email_key": email_key, ":now": now.unix_millis() },
        |row| row.get(0),
    )?;
    Ok(match (former, own) {
        (Some(user_id), _) => Some(Holder::Former(user_id)),
        (None, Some((_, false, false))) => Some(Holder::Inactive),
        _ => None,
    })
}

/// Whether an account is active and verified.
fn may_sign_in(connection: &dyn Connection, user_id: UserId) -> StoreResult<bool> {
    connection.query_row(
        "SELECT is_active AND verified_at IS NOT NULL FROM users WHERE id = :id",
        params! { ":id": user_id },
        |row| row.get(0),
    )
}

/// Starts a session of the account that has the identity, unless it may not sign in.
fn start_session(
    connection: &Transaction<'_>,
    user_id: UserId,
    request: &IdentitySignIn,
    is_new: bool,
) -> StoreResult<IdentitySignInOutcome> {
    let now = request.session.now;
    if !may_sign_in(connection, user_id)? {
        return Ok(IdentitySignInOutcome::Refused);
    }
    note_use(connection, &request.proven, now)?;
    let factors = find_factors(connection, user_id)?;
    if factors.is_enabled() {
        insert_factor_ticket(connection, user_id, &request.ticket)?;
        let factors = Box::new(factors);
        return Ok(IdentitySignInOutcome::SecondFactorRequired { factors });
    }
    let (context, notice) = (&request.context, request.notice.as_ref());
    let user = complete_session(connection, user_id, &request.session, context, notice)?;
    Ok(match user {
        Some(user) => IdentitySignInOutcome::Started {
            user: Box::new(user),
            is_new,
        },
        None => IdentitySignInOutcome::Refused,
    })
}

fn note_connected(
    connection: &Transaction<'_>,
    user_id: UserId,
    request: &IdentitySignIn,
) -> StoreResult<()> {
    let about = (user_id, request.proven.provider.as_str());
    let by = (Actor::Owner, &request.context);
    let now = request.session.now;
    note(connection, EventKind::IdentityConnected, about, by, now)
}

/// Stores a ticket for the account that has the address.
fn offer_connection(
    connection: &dyn Connection,
    user_id: UserId,
    request: &IdentitySignIn,
    newcomer: &Newcomer,
) -> StoreResult<IdentitySignInOutcome> {
    let ticket = (newcomer.ticket_hash.as_slice(), newcomer.ticket_expires_at);
    insert_ticket(connection, (user_id, None), &request.proven, ticket)?;
    Ok(IdentitySignInOutcome::AccountExists)
}

/// Creates a confirmed account without a password. Sign-ups that were pending for the address die.
fn create_account(
    connection: &Transaction<'_>,
    request: &IdentitySignIn,
    newcomer: &Newcomer,
) -> StoreResult<IdentitySignInOutcome> {
    let NewSignUp {
        email,
        profile,
        language,
        context,
        now,
        ..
    } = &newcomer.sign_up;
    let now = *now;
    let new = NewUser {
        email: email.clone(),
        password_hash: NO_PASSWORD.to_owned(),
        profile: profile.clone(),
        is_staff: false,
        now,
        context: context.clone(),
    };
    let Some(user_id) = insert_verified_user(connection, &new)? else {
        return Ok(IdentitySignInOutcome::Refused);
    };
    connection.run(
        "UPDATE users SET language = :language WHERE id = :user_id",
        params! { ":user_id": user_id, ":language": language },
    )?;
    forget_pending(connection, user_id)?;
    insert_identity(
        connection,
        user_id,
        (&request.new_id, &request.proven),
        (now, Some(now)),
    )?;
    for kind in [EventKind::SignUp, EventKind::SignUpConfirmed] {
        let provider = &request.proven.provider;
        let by = Actor::Owner;
        insert_event(connection, kind, Some(user_id), by, context, provider, now)?;
    }
    note_connected(connection, user_id, request)?;
    start_session(connection, user_id, request, true)
}

/// Removes what sign-ups and an import have left with an account that nobody had confirmed: codes,
/// links, factors and identities of the former owner.
fn forget_pending(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    for statement in [
        "DELETE FROM otps WHERE user_id = :user_id",
        "DELETE FROM otp_tokens WHERE user_id = :user_id",
        "DELETE FROM totp_devices WHERE user_id = :user_id",
        "DELETE FROM passkeys WHERE user_id = :user_id",
        "DELETE FROM recovery_codes WHERE user_id = :user_id",
        "DELETE FROM identities WHERE user_id = :user_id",
        "DELETE FROM identity_tickets WHERE user_id = :user_id",
    ] {
        connection.run(statement, params! { ":user_id": user_id })?;
    }
    Ok(())
}

/// Stores a sign-up whose identity takes effect with its ticket only, and mails its code. A sign-up
/// of the same identity whose mail went out a moment ago gets the ticket instead.
fn create_pending(
    connection: &Transaction<'_>,
    request: &IdentitySignIn,
    newcomer: &Newcomer,
) -> StoreResult<IdentitySignInOutcome> {
    let sign_up = &newcomer.sign_up;
    let throttled = match create_sign_up(connection, sign_up)? {
        SignUpOutcome::Created(_) => None,
        SignUpOutcome::Throttled { until } => Some(until),
        SignUpOutcome::EmailTaken => return Ok(IdentitySignInOutcome::Refused),
    };
    let pending: Option<(UserId, i64)> = connection.query_optional(
        "SELECT users.id, max(sign_ups.id) FROM sign_ups JOIN users ON users.id = sign_ups.user_id \
         WHERE users.email_key = :email_key AND users.verified_at IS NULL AND \
         sign_ups.password_hash = :password_hash AND sign_ups.expires_at > :now GROUP BY users.id",
        params! {
            ":email_key": sign_up.email.key(),
            ":password_hash": sign_up.password_hash,
            ":now": sign_up.now.unix_millis(),
        },
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    match (pending, throttled) {
        (Some((user_id, sign_up_id)), _) => {
            let ticket = (newcomer.ticket_hash.as_slice(), sign_up.expires_at);
            let target = (user_id, Some(sign_up_id));
            insert_ticket(connection, target, &request.proven, ticket)?;
            Ok(IdentitySignInOutcome::NotVerified { user_id })
        }
        (None, Some(until)) => Ok(IdentitySignInOutcome::Throttled { until }),
        (None, None) => Ok(IdentitySignInOutcome::Refused),
    }
}
