//! Second factors.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::email_change::insert_notice_undo;
use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::factor_tries::{count_wrong, find_pause, forget_wrong};
use super::lock::Keys;
use super::notices::{notify_earlier_addresses, notify_owner};
use super::otps::insert_otp;
use super::passkeys::{delete_passkeys, list_passkeys, use_passkey};
use super::rows::{optional_timestamp, timestamp};
use super::sessions::{add_factor, authorize, complete_session, delete_sessions, note_revoked};
use super::transaction::Transaction;
use super::users::find_by_id;
use super::ways_in::{Way, has_way_in};
use crate::domain::{
    Authentication, EventKind, OtpPurpose, SecondFactor, SessionRef, Timestamp, UserId,
};
use crate::store::{
    ActivateOutcome, ActivateTotp, CompleteOutcome, CompleteSignIn, DeactivateTotp,
    FactorEnrolment, FactorProof, FactorRefusal, FactorStore, FactorTry, Factors, NewTicket,
    ReplaceRecoveryCodes, RequestContext, ResetFactors, StoreResult, Ticket, TotpDevice,
};

/// The factors of an account.
pub(super) fn find_factors(connection: &dyn Connection, user_id: UserId) -> StoreResult<Factors> {
    let totp = connection.query_optional(
        "SELECT device_id, secret, created_at, last_used_at FROM totp_devices WHERE user_id = \
         :user_id",
        params! { ":user_id": user_id },
        |row| {
            Ok(TotpDevice {
                id: row.get(0)?,
                secret: row.get(1)?,
                created_at: timestamp(row, 2)?,
                last_used_at: optional_timestamp(row, 3)?,
            })
        },
    )?;
    let recovery_codes_left = connection.query_row(
        "SELECT count(*) FROM recovery_codes WHERE user_id = :user_id",
        params! { ":user_id": user_id },
        |row| row.get(0),
    )?;
    Ok(Factors {
        totp,
        passkeys: list_passkeys(connection, user_id)?,
        recovery_codes_left,
    })
}

/// Checks a proof of an account's factor and uses it up, or counts it as wrong. Returns what it
/// proves.
///
/// Using up is one conditional statement for each kind: of two requests with the same code one is
/// accepted, whatever runs beside.
pub(super) fn prove(
    connection: &Transaction<'_>,
    user_id: UserId,
    tried: &FactorTry,
) -> StoreResult<Result<SecondFactor, FactorRefusal>> {
    // Of an app, whose codes can be guessed. Wrong recovery codes and passkeys shut nobody out of
    // it.
    let is_code = matches!(
        tried.proof,
        FactorProof::Totp { .. } | FactorProof::WrongCode
    );
    if is_code && let Some(until) = find_pause(connection, user_id, tried)? {
        return Ok(Err(FactorRefusal::Throttled { until }));
    }
    let accepted = match &tried.proof {
        FactorProof::Recovery(hash) => use_recovery_code(connection, user_id, hash, tried)?,
        FactorProof::Totp { device_id, step } => {
            use_step(connection, user_id, (device_id, *step), tried.now)?
        }
        FactorProof::Passkey(used) => {
            use_passkey(connection, user_id, used, (&tried.context, tried.now))?
                .then_some(SecondFactor::Webauthn)
        }
        FactorProof::WrongCode | FactorProof::WrongPasskey => None,
    };
    if let Some(factor) = accepted {
        forget_wrong(connection, user_id, tried)?;
        return Ok(Ok(factor));
    }
    insert_event(
        connection,
        EventKind::SecondFactorFailed,
        Some(user_id),
        Actor::FromContext,
        &tried.context,
        "",
        tried.now,
    )?;
    if is_code {
        count_wrong(connection, user_id, tried)?;
    }
    Ok(Err(FactorRefusal::Wrong))
}

fn use_step(
    connection: &dyn Connection,
    user_id: UserId,
    (device_id, step): (&str, i64),
    now: Timestamp,
) -> StoreResult<Option<SecondFactor>> {
    let used = connection.execute(
        "UPDATE totp_devices SET last_step = :step, last_used_at = :now WHERE user_id = :user_id \
         AND device_id = :device_id AND last_step < :step",
        params! {
            ":user_id": user_id,
            ":device_id": device_id,
            ":step": step,
            ":now": now.unix_millis(),
        },
    )?;
    Ok((used > 0).then_some(SecondFactor::Totp))
}

fn use_recovery_code(
    connection: &Transaction<'_>,
    user_id: UserId,
    hash: &[u8],
    tried: &FactorTry,
) -> StoreResult<Option<SecondFactor>> {
    let used = connection.execute(
        "DELETE FROM recovery_codes WHERE user_id = :user_id AND code_hash = :code_hash",
        params! { ":user_id": user_id, ":code_hash": hash },
    )?;
    if used == 0 {
        return Ok(None);
    }
    insert_event(
        connection,
        EventKind::RecoveryCodeUsed,
        Some(user_id),
        Actor::Owner,
        &tried.context,
        "",
        tried.now,
    )?;
    Ok(Some(SecondFactor::RecoveryCode))
}

/// Stores the ticket of a sign-in whose first step was right.
pub(super) fn insert_ticket(
    connection: &dyn Connection,
    user_id: UserId,
    ticket: &NewTicket,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO factor_tickets (token_hash, user_id, password_version, amr, expires_at) \
         SELECT :token_hash, id, password_version, :amr, :expires_at FROM users WHERE id = \
         :user_id",
        params! {
            ":token_hash": ticket.token_hash,
            ":user_id": user_id,
            ":amr": ticket.method.as_str(),
            ":expires_at": ticket.expires_at.unix_millis(),
        },
    )
}

/// Ends all sign-ins of an account that wait for a factor.
pub(super) fn delete_tickets(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "DELETE FROM factor_tickets WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )
}

/// The account of a live ticket, and what was checked for it.
fn find_ticket_user(
    connection: &dyn Connection,
    token_hash: &[u8],
    now: Timestamp,
) -> StoreResult<Option<(UserId, Authentication)>> {
    connection.query_optional(
        "SELECT users.id, amr FROM factor_tickets JOIN users ON users.id = factor_tickets.user_id \
         WHERE token_hash = :token_hash AND expires_at > :now AND users.is_active AND \
         factor_tickets.password_version = users.password_version",
        params! { ":token_hash": token_hash, ":now": now.unix_millis() },
        |row| {
            let first = Authentication::parse(now, row.text(1)?);
            Ok((row.get(0)?, first))
        },
    )
}

fn complete(
    connection: &Transaction<'_>,
    sign_in: &CompleteSignIn,
) -> StoreResult<CompleteOutcome> {
    let tried = &sign_in.tried;
    let found = find_ticket_user(connection, &sign_in.token_hash, tried.now)?;
    let Some((user_id, first)) = found else {
        return Ok(CompleteOutcome::InvalidTicket);
    };
    let factor = match prove(connection, user_id, tried)? {
        Ok(factor) => factor,
        Err(refusal) => {
            if refusal == FactorRefusal::Wrong {
                count_wrong_at_ticket(connection, sign_in)?;
            }
            return Ok(CompleteOutcome::Refused(refusal));
        }
    };
    connection.run(
        "DELETE FROM factor_tickets WHERE token_hash = :token_hash",
        params! { ":token_hash": sign_in.token_hash },
    )?;
    let mut session = sign_in.session.clone();
    session.authentication = first.with_factor(factor, tried.now);
    let context = &tried.context;
    let notice = sign_in.notice.as_ref();
    let Some(user) = complete_session(connection, user_id, &session, context, notice)? else {
        return Ok(CompleteOutcome::InvalidTicket);
    };
    Ok(CompleteOutcome::Started {
        user: Box::new(user),
        authentication: session.authentication,
    })
}

fn count_wrong_at_ticket(connection: &dyn Connection, sign_in: &CompleteSignIn) -> StoreResult<()> {
    connection.run(
        "UPDATE factor_tickets SET tries = tries + 1 WHERE token_hash = :token_hash",
        params! { ":token_hash": sign_in.token_hash },
    )?;
    connection.run(
        "DELETE FROM factor_tickets WHERE token_hash = :token_hash AND tries >= :most",
        params! {
            ":token_hash": sign_in.token_hash,
            ":most": sign_in.tried.limits.per_ticket,
        },
    )
}

fn insert_recovery_codes(
    connection: &dyn Connection,
    user_id: UserId,
    hashes: &[Vec<u8>],
    now: Timestamp,
) -> StoreResult<()> {
    delete_recovery_codes(connection, user_id)?;
    for hash in hashes {
        connection.run(
            "INSERT INTO recovery_codes (code_hash, user_id, created_at) VALUES (:code_hash, \
             :user_id, :now)",
            params! { ":code_hash": hash, ":user_id": user_id, ":now": now.unix_millis() },
        )?;
    }
    Ok(())
}

fn delete_recovery_codes(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "DELETE FROM recovery_codes WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )
}

/// Deletes the recovery codes of an account whose last factor is gone.
pub(super) fn delete_left_codes(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    match find_factors(connection, user_id)?.is_enabled() {
        true => Ok(()),
        false => delete_recovery_codes(connection, user_id),
    }
}

fn delete_device(connection: &dyn Connection, user_id: UserId) -> StoreResult<usize> {
    connection.execute(
        "DELETE FROM totp_devices WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )
}

/// Stores a device whose codes count after `last_step`.
pub(super) fn insert_device(
    connection: &dyn Connection,
    user_id: UserId,
    device: &TotpDevice,
    last_step: i64,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO totp_devices (user_id, device_id, secret, last_step, created_at, \
         last_used_at) VALUES (:user_id, :device_id, :secret, :last_step, :created_at, \
         :last_used_at)",
        params! {
            ":user_id": user_id,
            ":device_id": device.id,
            ":secret": device.secret,
            ":last_step": last_step,
            ":created_at": device.created_at.unix_millis(),
            ":last_used_at": device.last_used_at.map(Timestamp::unix_millis),
        },
    )
}

/// Removes what was enrolled since a moment, for the undo of an address change.
pub(super) fn void_factors_since(
    connection: &dyn Connection,
    user_id: UserId,
    since: Timestamp,
) -> StoreResult<()> {
    delete_tickets(connection, user_id)?;
    for statement in [
        "DELETE FROM totp_devices WHERE user_id = :user_id AND created_at >= :since",
        "DELETE FROM passkeys WHERE user_id = :user_id AND created_at >= :since",
        "DELETE FROM recovery_codes WHERE user_id = :user_id AND created_at >= :since",
    ] {
        connection.run(
            statement,
            params! { ":user_id": user_id, ":since": since.unix_millis() },
        )?;
    }
    delete_left_codes(connection, user_id)
}

fn activate(
    connection: &Transaction<'_>,
    activation: &ActivateTotp,
) -> StoreResult<ActivateOutcome> {
    let enrolment = &activation.enrolment;
    let user_id = enrolment.session.user_id;
    authorize(connection, &enrolment.context, user_id, false)?;
    let before = find_factors(connection, user_id)?;
    if before.totp.is_some() {
        return Ok(ActivateOutcome::AlreadyActive);
    }
    let is_first = !before.is_enabled();
    insert_device(connection, user_id, &activation.device, activation.step)?;
    let event = (EventKind::TotpActivated, "");
    finish_enrolment(connection, enrolment, is_first, SecondFactor::Totp, event)?;
    Ok(ActivateOutcome::Activated { is_first })
}

/// What follows on a new factor. The notice of a passkey can be undone even if it is not the first
/// factor: it signs in by itself.
pub(super) fn finish_enrolment(
    connection: &Transaction<'_>,
    enrolment: &FactorEnrolment,
    is_first: bool,
    factor: SecondFactor,
    event: (EventKind, &str),
) -> StoreResult<()> {
    let SessionRef { id, user_id, .. } = &enrolment.session;
    let (user_id, context, now) = (*user_id, &enrolment.context, enrolment.now);
    delete_tickets(connection, user_id)?;
    if is_first {
        insert_recovery_codes(connection, user_id, &enrolment.recovery_codes, now)?;
        let ended = delete_sessions(connection, user_id, Some(id), (context, now))?;
        note_revoked(
            connection,
            user_id,
            ended,
            (Actor::FromContext, context),
            now,
        )?;
    }
    if is_first || factor == SecondFactor::Webauthn {
        insert_notice_undo(connection, user_id, &enrolment.undo, now)?;
        notify_earlier_addresses(connection, user_id, &enrolment.notices, now)?;
    } else {
        notify_owner(connection, user_id, &enrolment.notices, now)?;
    }
    add_factor(connection, id, factor, now)?;
    note_detail(connection, event, user_id, context, now)
}

fn deactivate(
    connection: &Transaction<'_>,
    deactivation: &DeactivateTotp,
) -> StoreResult<Option<Result<(), FactorRefusal>>> {
    let (user_id, tried) = (deactivation.user_id, &deactivation.tried);
    authorize(connection, &tried.context, user_id, false)?;
    if find_factors(connection, user_id)?.totp.is_none() {
        return Ok(None);
    }
    if let Err(refusal) = prove(connection, user_id, tried)? {
        return Ok(Some(Err(refusal)));
    }
    delete_device(connection, user_id)?;
    delete_left_codes(connection, user_id)?;
    delete_tickets(connection, user_id)?;
    notify_owner(connection, user_id, &deactivation.notices, tried.now)?;
    note(
        connection,
        EventKind::TotpDeactivated,
        user_id,
        &tried.context,
        tried.now,
    )?;
    Ok(Some(Ok(())))
}

fn replace_codes(connection: &Transaction<'_>, codes: &ReplaceRecoveryCodes) -> StoreResult<bool> {
    let (user_id, now) = (codes.user_id, codes.now);
    authorize(connection, &codes.context, user_id, false)?;
    if !find_factors(connection, user_id)?.is_enabled() {
        return Ok(false);
    }
    insert_recovery_codes(connection, user_id, &codes.recovery_codes, now)?;
    delete_tickets(connection, user_id)?;
    notify_owner(connection, user_id, &codes.notices, now)?;
    let kind = EventKind::RecoveryCodesRegenerated;
    note(connection, kind, user_id, &codes.context, now)?;
    Ok(true)
}

fn reset(connection: &Transaction<'_>, reset: &ResetFactors) -> StoreResult<bool> {
    let (user_id, now) = (reset.user_id, reset.now);
    authorize(connection, &reset.context, user_id, true)?;
    if find_by_id(connection, user_id)?.is_none() {
        return Ok(false);
    }
    let has_passkeys = !list_passkeys(connection, user_id)?.is_empty();
    if has_passkeys && !has_way_in(connection, user_id, &reset.ways, Way::Passkeys)? {
        let (email_key, email) = &reset.email;
        let address = (email_key.as_str(), email.as_str());
        let purpose = OtpPurpose::PasswordReset;
        insert_otp(
            connection,
            purpose,
            user_id,
            None,
            address,
            &reset.reset,
            now,
        )?;
    }
    delete_device(connection, user_id)?;
    delete_passkeys(connection, user_id)?;
    delete_recovery_codes(connection, user_id)?;
    delete_tickets(connection, user_id)?;
    let ended = delete_sessions(connection, user_id, None, (&reset.context, now))?;
    let context = (Actor::FromContext, &reset.context);
    note_revoked(connection, user_id, ended, context, now)?;
    notify_owner(connection, user_id, &reset.notices, now)?;
    let kind = EventKind::FactorsReset;
    note(connection, kind, user_id, &reset.context, now)?;
    Ok(true)
}

fn note(
    connection: &Transaction<'_>,
    kind: EventKind,
    user_id: UserId,
    context: &RequestContext,
    now: Timestamp,
) -> StoreResult<()> {
    note_detail(connection, (kind, ""), user_id, context, now)
}

/// Records what happened to the factors of an account, with a detail.
pub(super) fn note_detail(
    connection: &Transaction<'_>,
    (kind, detail): (EventKind, &str),
    user_id: UserId,
    context: &RequestContext,
    now: Timestamp,
) -> StoreResult<()> {
    let actor = Actor::FromContext;
    insert_event(connection, kind, Some(user_id), actor, context, detail, now)
}

#[async_trait]
impl<E: Engine> FactorStore for Database<E> {
    async fn find_factors(&self, user_id: UserId) -> StoreResult<Factors> {
        self.engine
            .read(move |connection| find_factors(connection, user_id))
            .await
    }

    async fn find_ticket(&self, token_hash: &[u8], now: Timestamp) -> StoreResult<Option<Ticket>> {
        let token_hash = token_hash.to_vec();
        self.engine
            .read(move |connection| {
                let Some((user_id, _)) = find_ticket_user(connection, &token_hash, now)? else {
                    return Ok(None);
                };
                let factors = find_factors(connection, user_id)?;
                Ok(Some(Ticket { user_id, factors }))
            })
            .await
    }

    async fn complete_sign_in(&self, sign_in: CompleteSignIn) -> StoreResult<CompleteOutcome> {
        self.engine
            .write_for(Keys::ticket(&sign_in.token_hash), move |connection| {
                complete(connection, &sign_in)
            })
            .await
    }

    async fn activate_totp(&self, activation: ActivateTotp) -> StoreResult<ActivateOutcome> {
        self.engine
            .write(move |connection| activate(connection, &activation))
            .await
    }

    async fn deactivate_totp(
        &self,
        deactivation: DeactivateTotp,
    ) -> StoreResult<Option<Result<(), FactorRefusal>>> {
        self.engine
            .write(move |connection| deactivate(connection, &deactivation))
            .await
    }

    async fn replace_recovery_codes(&self, codes: ReplaceRecoveryCodes) -> StoreResult<bool> {
        self.engine
            .write(move |connection| replace_codes(connection, &codes))
            .await
    }

    async fn reset_factors(&self, request: ResetFactors) -> StoreResult<bool> {
        self.engine
            .write(move |connection| reset(connection, &request))
            .await
    }
}
