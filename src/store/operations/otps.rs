//! One-time passwords.

use std::time::Duration;

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::identities::{insert_identity, note as note_identity};
use super::identity_tickets::find_ticket;
use super::lock::Keys;
use super::mails::insert_mail;
use super::notices::notify_owner;
use super::passwords::delete_reset_otps;
use super::rows::{USER_COLUMNS, timestamp, user};
use super::sessions::{authorize, insert_session};
use super::sign_ups::delete_sign_ups;
use super::transaction::Transaction;
use super::users::find_by_id;
use crate::domain::{ClientNetwork, EmailAddress, EventKind, OtpPurpose, Timestamp, User, UserId};
use crate::store::{
    AccountOtp, ConfirmSignUp, ConfirmedSignUp, IDENTITY_PASSWORD, MailLimits, NewOtp, OtpAttempt,
    OtpStore, OtpToken, ProvenIdentity, ReissueOtp, Reissued, Requester, SentMail, StoreError,
    StoreResult,
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Maximum time that a valid row can be ahead of the clock; later ones come from a wrong clock.
pub(super) const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// Stores a code, enqueues its mail and counts the mail for [`find_pause`].
///
/// The address comes in lower case and as it was typed.
pub(super) fn insert_otp(
    connection: &dyn Connection,
    purpose: OtpPurpose,
    user_id: UserId,
    sign_up_id: Option<i64>,
    (email_key, email): (&str, &str),
    otp: &NewOtp,
    now: Timestamp,
) -> StoreResult<()> {
    // An expired code that is not yet deleted must not block the same digits.
    connection.run(
        "DELETE FROM otps WHERE purpose = :purpose AND email_key = :email_key AND expires_at <= \
         :now",
        params! {
            ":purpose": purpose.as_str(), ":email_key": email_key, ":now": now.unix_millis(),
        },
    )?;
    if otp.replaces_equal {
        connection.run(
            "DELETE FROM otps WHERE purpose = :purpose AND email_key = :email_key AND code_hash = \
             :code_hash",
            params! {
                ":purpose": purpose.as_str(), ":email_key": email_key, ":code_hash": otp.code_hash,
            },
        )?;
    }
    let otp_id = connection.query_row(
        "INSERT INTO otps (purpose, user_id, sign_up_id, email_key, code_hash, created_at, \
         expires_at) VALUES (:purpose, :user_id, :sign_up_id, :email_key, :code_hash, :now, \
         :expires_at) RETURNING id",
        params! {
            ":purpose": purpose.as_str(),
            ":user_id": user_id,
            ":sign_up_id": sign_up_id,
            ":email_key": email_key,
            ":code_hash": otp.code_hash,
            ":now": now.unix_millis(),
            ":expires_at": otp.expires_at.unix_millis(),
        },
        |row| row.get(0),
    )?;
    if let Some(token_hash) = &otp.token_hash {
        connection.run(
            "INSERT INTO otp_tokens (token_hash, purpose, user_id, sign_up_id, email_key, \
             created_at, expires_at, password_version) SELECT :token_hash, :purpose, id, \
             :sign_up_id, :email_key, :now, :expires_at, password_version FROM users WHERE id = \
             :user_id",
            params! {
                ":token_hash": token_hash,
                ":purpose": purpose.as_str(),
                ":user_id": user_id,
                ":sign_up_id": sign_up_id,
                ":email_key": email_key,
                ":now": now.unix_millis(),
                ":expires_at": otp.expires_at.unix_millis(),
            },
        )?;
    }
    insert_mail(connection, user_id, Some(otp_id), email, &otp.mail, now)?;
    let requester = requester(connection, otp, (Some(user_id), sign_up_id), now)?;
    note_mail(connection, otp, purpose.as_str(), requester, now)
}

/// Who requests a mail for an account or a sign-up.
fn requester(
    connection: &dyn Connection,
    otp: &NewOtp,
    (user_id, sign_up_id): (Option<UserId>, Option<i64>),
    now: Timestamp,
) -> StoreResult<Requester> {
    let Some(network) = otp.requester else {
        return Ok(Requester::Operator);
    };
    // The same query for unknown addresses, so that they take the same time.
    let is_known: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM known_networks WHERE user_id = :user_id AND network = \
         :network) OR EXISTS (SELECT 1 FROM sign_ups WHERE id = :sign_up_id AND network = :network \
         AND created_at < :now)",
        params! {
            ":user_id": user_id,
            ":sign_up_id": sign_up_id,
            ":network": network.to_string(),
            ":now": now.unix_millis(),
        },
        |row| row.get(0),
    )?;
    Ok(if is_known {
        Requester::Known
    } else {
        Requester::Unknown
    })
}

/// The site under which mails of a requester are counted.
fn site(requester: Option<ClientNetwork>) -> String {
    requester.map_or_else(String::new, ClientNetwork::site)
}

/// Finds when the next mail for an account or a sign-up is allowed; `None` when it is allowed now.
pub(super) fn find_pause(
    connection: &dyn Connection,
    otp: &NewOtp,
    purpose: OtpPurpose,
    account: (Option<UserId>, Option<i64>),
    now: Timestamp,
    limits: MailLimits,
) -> StoreResult<Option<Timestamp>> {
    let requester = requester(connection, otp, account, now)?;
    let sent = list_sent(
        connection,
        (&otp.address_hash, &otp.mailbox_hash),
        purpose.as_str(),
        otp.requester,
        now,
    )?;
    Ok(limits.next_at(&sent, requester, now))
}

/// Maximum number of unknown addresses whose requests are counted.
const MAX_UNKNOWN: i64 = 100_000;

/// The purposes under which requests for unknown addresses are counted, one for each endpoint: with
/// a common one, a resend would change the time that a reset takes.
const UNKNOWN_RESEND: &str = "unknown_resend";
const UNKNOWN_RESET: &str = "unknown_reset";

/// Does for an unknown address what is done for known ones: writes a row, as often as a mail would
/// be sent. So the time does not tell whether the address is known, and no mail limit is affected.
pub(super) fn note_no_mail(
    connection: &dyn Connection,
    otp: &NewOtp,
    purpose: OtpPurpose,
    now: Timestamp,
    limits: MailLimits,
) -> StoreResult<()> {
    let purpose = match purpose {
        OtpPurpose::PasswordReset => UNKNOWN_RESET,
        // Only signed-in accounts ask for a reauthentication.
        OtpPurpose::SignUp | OtpPurpose::EmailChange | OtpPurpose::Reauthentication => {
            UNKNOWN_RESEND
        }
    };
    let requester = requester(connection, otp, (None, None), now)?;
    let sent = list_sent(
        connection,
        (&otp.address_hash, &otp.mailbox_hash),
        purpose,
        otp.requester,
        now,
    )?;
    if limits.next_at(&sent, requester, now).is_some() {
        return Ok(());
    }
    note_mail(connection, otp, purpose, requester, now)?;
    // Bounds the number of rows. Ids ascend by one or little more, so each is checked.
    connection.run(
        "DELETE FROM otp_mails WHERE id <= (SELECT max(id) FROM otp_mails) - CAST(:most AS BIGINT) \
         AND id > (SELECT max(id) FROM otp_mails) - :most - 64 AND purpose IN ('unknown_resend', \
         'unknown_reset')",
        params! { ":most": MAX_UNKNOWN },
    )
}

/// Writes a row without meaning, so that an operation without effect takes as long as others.
pub(super) fn write_decoy(connection: &dyn Connection, now: Timestamp) -> StoreResult<()> {
    connection.run(
        "INSERT INTO decoys (id, written_at) VALUES (1, :now) ON CONFLICT (id) DO UPDATE SET \
         written_at = decoys.written_at + 1",
        params! { ":now": now.unix_millis() },
    )
}

/// Lists the mails to an address for a purpose within the last hour, newest first, with those of the
/// same requester to other addresses of its mailbox.
///
/// The latter count for all purposes of an endpoint, and whether or not the address is known, so that
/// the time tells nothing about it.
pub(super) fn list_sent(
    connection: &dyn Connection,
    (address_hash, mailbox_hash): (&[u8], &[u8]),
    purpose: &str,
    requester: Option<ClientNetwork>,
    now: Timestamp,
) -> StoreResult<Vec<SentMail>> {
    connection.query_all(
        "SELECT sent_at, site = :site, is_known, FALSE FROM otp_mails WHERE address_hash = \
         :address_hash AND purpose = :purpose AND sent_at > :hour_ago AND sent_at < :soon UNION \
         ALL SELECT sent_at, TRUE, is_known, TRUE FROM otp_mails WHERE mailbox_hash = \
         :mailbox_hash AND site = :site AND address_hash <> :address_hash AND sent_at > :hour_ago \
         AND sent_at < :soon AND (purpose IN ('password_reset', 'unknown_reset')) = (:purpose IN \
         ('password_reset', 'unknown_reset')) ORDER BY sent_at DESC",
        params! {
            ":address_hash": address_hash,
            ":mailbox_hash": mailbox_hash,
            ":purpose": purpose,
            ":site": site(requester),
            ":hour_ago": now.minus(HOUR).unix_millis(),
            ":soon": now.plus(CLOCK_SLACK).unix_millis(),
        },
        |row| {
            Ok(SentMail {
                at: timestamp(row, 0)?,
                is_own: row.get(1)?,
                is_known: row.get(2)?,
                is_alias: row.get(3)?,
            })
        },
    )
}

fn note_mail(
    connection: &dyn Connection,
    otp: &NewOtp,
    purpose: &str,
    requester: Requester,
    now: Timestamp,
) -> StoreResult<()> {
    count_mail(
        connection,
        (&otp.address_hash, &otp.mailbox_hash),
        purpose,
        (&site(otp.requester), requester == Requester::Known),
        now,
    )
}

/// Counts a mail for the limits of its address and mailbox.
pub(super) fn count_mail(
    connection: &dyn Connection,
    (address_hash, mailbox_hash): (&[u8], &[u8]),
    purpose: &str,
    (site, is_known): (&str, bool),
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO otp_mails (address_hash, mailbox_hash, purpose, sent_at, site, is_known) \
         VALUES (:address_hash, :mailbox_hash, :purpose, :now, :site, :is_known)",
        params! {
            ":address_hash": address_hash,
            ":mailbox_hash": mailbox_hash,
            ":purpose": purpose,
            ":now": now.unix_millis(),
            ":site": site,
            ":is_known": is_known,
        },
    )
}

/// What makes a link valid. A new password voids earlier reset links, and a link for a changed
/// address is void when the account no longer has that address.
const VALID_TOKEN: &str = "token_hash = :token_hash AND otp_tokens.expires_at > :now AND \
                           otp_tokens.created_at < :soon AND users.is_active AND CASE \
                           otp_tokens.purpose WHEN 'sign_up' THEN users.verified_at IS NULL AND \
                           users.email_key = otp_tokens.email_key WHEN 'email_change' THEN \
                           users.new_email_key = otp_tokens.email_key ELSE users.email_key = \
                           otp_tokens.email_key AND users.password_version = \
                           otp_tokens.password_version END";

fn find_token(
    connection: &dyn Connection,
    token_hash: &[u8],
    now: Timestamp,
) -> StoreResult<Option<(OtpToken, Option<i64>)>> {
    let found: Option<(String, UserId, String, Option<i64>)> = connection.query_optional(
        &format!(
            "SELECT otp_tokens.purpose, users.id, otp_tokens.email_key, otp_tokens.sign_up_id FROM \
             otp_tokens JOIN users ON users.id = otp_tokens.user_id WHERE {VALID_TOKEN}"
        ),
        params! {
            ":token_hash": token_hash,
            ":now": now.unix_millis(),
            ":soon": now.plus(CLOCK_SLACK).unix_millis(),
        },
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
    )?;
    Ok(found.and_then(|(purpose, user_id, email_key, sign_up_id)| {
        let token = OtpToken {
            purpose: OtpPurpose::parse(&purpose)?,
            user_id,
            email_key,
        };
        Some((token, sign_up_id))
    }))
}

/// Uses a link instead of a code. A wrong token is not counted: it cannot be guessed.
fn use_token(
    connection: &dyn Connection,
    purpose: OtpPurpose,
    user_id: Option<UserId>,
    token_hash: &[u8],
    now: Timestamp,
) -> StoreResult<Option<UsedOtp>> {
    let found = find_token(connection, token_hash, now)?.filter(|(token, _)| {
        token.purpose == purpose && user_id.is_none_or(|user_id| user_id == token.user_id)
    });
    Ok(found.map(|(token, sign_up_id)| UsedOtp {
        user_id: token.user_id,
        sign_up_id,
    }))
}

/// Deletes the codes and links of an account for a purpose, after one of them was used.
fn delete_used(
    connection: &dyn Connection,
    user_id: UserId,
    purpose: OtpPurpose,
) -> StoreResult<()> {
    for statement in [
        "DELETE FROM otps WHERE user_id = :user_id AND purpose = :purpose",
        "DELETE FROM otp_tokens WHERE user_id = :user_id AND purpose = :purpose",
    ] {
        connection.run(
            statement,
            params! { ":user_id": user_id, ":purpose": purpose.as_str() },
        )?;
    }
    Ok(())
}

/// A valid code or link.
pub(super) struct UsedOtp {
    pub(super) user_id: UserId,
    pub(super) sign_up_id: Option<i64>,
}

/// What happens to a correct code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is used up.
    Up,
    /// It stays valid.
    LeaveGood,
}

/// Whether a network can use a code of an address: part of a WHERE clause over `otps`.
const LIVE: &str = "otps.purpose = :purpose AND otps.email_key = :email_key AND otps.expires_at > \
                    :now AND otps.created_at < :soon AND (CAST(:user_id AS BIGINT) IS NULL OR \
                    otps.user_id = :user_id) AND EXISTS (SELECT 1 FROM users WHERE users.id = \
                    otps.user_id AND users.is_active) AND coalesce((SELECT wrong_tries FROM \
                    otp_network_tries WHERE otp_id = otps.id AND network = :network), 0) < \
                    :per_network AND coalesce((SELECT sum(wrong_tries) FROM otp_network_tries \
                    WHERE otp_id = otps.id), 0) < CAST(:per_otp AS BIGINT) AND (SELECT count(*) \
                    FROM otp_failures WHERE otp_failures.user_id = otps.user_id AND failed_at > \
                    :day_ago AND failed_at < :soon) < :per_account AND (SELECT count(*) FROM \
                    otp_failures WHERE address_hash = :address_hash AND failed_at > :day_ago AND \
                    failed_at < :soon) < :per_account";

/// Finds a correct code, and uses it up if `use` says so; a wrong one counts against every live
/// code.
///
/// A network that has used up its attempts at a code counts no further against it, so that one
/// network alone can never invalidate a code for everybody.
pub(super) fn use_otp(
    connection: &Transaction<'_>,
    purpose: OtpPurpose,
    user_id: Option<UserId>,
    attempt: &OtpAttempt,
    usage: Use,
) -> StoreResult<Option<UsedOtp>> {
    if let Some(token_hash) = &attempt.token_hash {
        let used = use_token(connection, purpose, user_id, token_hash, attempt.now)?;
        if let (Use::Up, Some(used)) = (usage, &used) {
            delete_used(connection, used.user_id, purpose)?;
        }
        return Ok(used);
    }
    let limits = attempt.limits;
    let day_ago = attempt.now.minus(DAY).unix_millis();
    let soon = attempt.now.plus(CLOCK_SLACK).unix_millis();
    let find = match usage {
        Use::Up => {
            format!(
                "DELETE FROM otps WHERE code_hash = :code_hash AND {LIVE} RETURNING user_id, \
                 sign_up_id"
            )
        }
        Use::LeaveGood => {
            format!("SELECT user_id, sign_up_id FROM otps WHERE code_hash = :code_hash AND {LIVE}")
        }
    };
    let used = connection.query_optional(
        &find,
        params! {
            ":code_hash": attempt.code_hash,
            ":purpose": purpose.as_str(),
            ":email_key": attempt.email_key,
            ":now": attempt.now.unix_millis(),
            ":user_id": user_id,
            ":network": attempt.network,
            ":address_hash": attempt.address_hash,
            ":per_network": limits.per_network,
            ":per_otp": limits.per_otp,
            ":per_account": limits.per_account_per_day,
            ":day_ago": day_ago,
            ":soon": soon,
        },
        |row| {
            Ok(UsedOtp {
                user_id: row.get(0)?,
                sign_up_id: row.get(1)?,
            })
        },
    )?;
    if let Some(used) = used {
        if usage == Use::Up {
            delete_used(connection, used.user_id, purpose)?;
        }
        return Ok(Some(used));
    }
    count_failure(connection, purpose, user_id, attempt).map(|()| None)
}

/// Counts a wrong code against the account and against every live code.
fn count_failure(
    connection: &Transaction<'_>,
    purpose: OtpPurpose,
    user_id: Option<UserId>,
    attempt: &OtpAttempt,
) -> StoreResult<()> {
    let limits = attempt.limits;
    let day_ago = attempt.now.minus(DAY).unix_millis();
    let soon = attempt.now.plus(CLOCK_SLACK).unix_millis();
    // The failure that was just counted must not hide the code from its own count.
    let count = |statement: &str, one_more: u32| {
        connection.execute(
            statement,
            params! {
                ":purpose": purpose.as_str(),
                ":email_key": attempt.email_key,
                ":now": attempt.now.unix_millis(),
                ":user_id": user_id,
                ":network": attempt.network,
                ":address_hash": attempt.address_hash,
                ":per_network": limits.per_network,
                ":per_otp": limits.per_otp,
                ":per_account": limits.per_account_per_day.saturating_add(one_more),
                ":day_ago": day_ago,
                ":soon": soon,
            },
        )
    };
    // The account is counted first: the counts per code decide whether a code is live.
    let counted = count(
        &format!(
            "INSERT INTO otp_failures (user_id, address_hash, failed_at) SELECT otps.user_id, \
             :address_hash, :now FROM otps WHERE {LIVE} GROUP BY otps.user_id"
        ),
        0,
    )?;
    let tried: Option<UserId> = connection.query_optional(
        "SELECT user_id FROM otps WHERE purpose = :purpose AND email_key = :email_key LIMIT 1",
        params! { ":purpose": purpose.as_str(), ":email_key": attempt.email_key },
        |row| row.get(0),
    )?;
    insert_event(
        connection,
        EventKind::OtpFailed,
        tried,
        Actor::FromContext,
        &attempt.context,
        purpose.as_str(),
        attempt.now,
    )?;
    if counted == 0 {
        // There is no code for this address; the response time must not reveal it.
        return write_decoy(connection, attempt.now);
    }
    count(
        &format!(
            "INSERT INTO otp_network_tries (otp_id, network, wrong_tries) SELECT otps.id, \
             :network, 1 FROM otps WHERE {LIVE} ON CONFLICT (otp_id, network) DO UPDATE SET \
             wrong_tries = otp_network_tries.wrong_tries + 1"
        ),
        1,
    )?;
    Ok(())
}

/// The stored form of an unusable password, as in Django: no password matches it.
pub(super) const NO_PASSWORD: &str = "!";

fn confirm_sign_up(
    connection: &Transaction<'_>,
    confirmation: &ConfirmSignUp,
) -> StoreResult<Option<ConfirmedSignUp>> {
    let attempt = &confirmation.attempt;
    let Some(used) = use_otp(connection, OtpPurpose::SignUp, None, attempt, Use::Up)? else {
        return Ok(None);
    };
    let (hash, is_contested) = find_sign_up_password(connection, &used)?;
    let identity = find_identity(connection, &used, confirmation)?;
    let is_of_identity = hash.starts_with(IDENTITY_PASSWORD);
    let is_proven = identity.is_some() || confirmation.proven_hash.as_ref() == Some(&hash);
    let is_strange = (is_contested || is_of_identity) && !is_proven;
    // The account row already shows the newest sign-up, with later changes by staff. An older one
    // brings its own password and fields.
    connection.run(
        "UPDATE users SET (email, password_hash, first_name, last_name, phone, address, gender, \
         country, birthday, language, created_at, updated_at) = (SELECT email, password_hash, \
         first_name, last_name, phone, address, gender, country, birthday, language, created_at, \
         created_at FROM sign_ups WHERE id = :sign_up_id) WHERE id = :user_id AND :sign_up_id < \
         (SELECT max(id) FROM sign_ups WHERE user_id = :user_id)",
        params! { ":user_id": used.user_id, ":sign_up_id": used.sign_up_id },
    )?;
    if is_strange {
        forget_sign_up_fields(connection, used.user_id)?;
    }
    connection.run(
        "UPDATE users SET verified_at = :now, last_login_at = :now, password_hash = CASE WHEN \
         :is_of_identity THEN :no_password ELSE password_hash END, password_version = \
         password_version + 1, is_contested = FALSE WHERE id = :user_id",
        params! {
            ":user_id": used.user_id,
            ":is_of_identity": is_of_identity,
            ":no_password": NO_PASSWORD,
            ":now": attempt.now.unix_millis(),
        },
    )?;
    let is_connected = match &identity {
        Some((id, proven)) => {
            let connected = (attempt.now, Some(attempt.now));
            insert_identity(connection, used.user_id, (id, proven), connected)?
        }
        None => false,
    };
    let needs_password = is_strange || (is_of_identity && !is_connected);
    delete_sign_ups(connection, used.user_id)?;
    insert_session(
        connection,
        used.user_id,
        &confirmation.session,
        &attempt.context,
    )?;
    insert_event(
        connection,
        EventKind::SignUpConfirmed,
        Some(used.user_id),
        Actor::Owner,
        &attempt.context,
        if is_contested && is_strange {
            "contested"
        } else {
            ""
        },
        attempt.now,
    )?;
    if let (true, Some((_, proven))) = (is_connected, &identity) {
        let about = (used.user_id, proven.provider.as_str());
        let by = (Actor::Owner, &attempt.context);
        note_identity(
            connection,
            EventKind::IdentityConnected,
            about,
            by,
            attempt.now,
        )?;
    }
    let Some(user) = find_by_id(connection, used.user_id)? else {
        return Ok(None);
    };
    if needs_password {
        // Not subject to the mail limits: without this mail the account has no password at all.
        insert_otp(
            connection,
            OtpPurpose::PasswordReset,
            user.id,
            None,
            (&attempt.email_key, &user.email),
            &confirmation.reset,
            attempt.now,
        )?;
    }
    Ok(Some(ConfirmedSignUp {
        user,
        needs_password,
    }))
}

/// The identity of the sign-up that a code belongs to, if its ticket came along, with its new id.
fn find_identity<'a>(
    connection: &dyn Connection,
    used: &UsedOtp,
    confirmation: &'a ConfirmSignUp,
) -> StoreResult<Option<(&'a str, ProvenIdentity)>> {
    let Some(ticket) = &confirmation.identity else {
        return Ok(None);
    };
    let found = find_ticket(connection, &ticket.token_hash, confirmation.attempt.now)?;
    let found = found.filter(|found| {
        found.user_id == used.user_id
            && found.sign_up_id.is_some()
            && found.sign_up_id == used.sign_up_id
    });
    Ok(found.map(|found| (ticket.new_id.as_str(), found.proven)))
}

/// Removes the password and all profile fields that a sign-up brought.
pub(super) fn forget_sign_up_fields(
    connection: &dyn Connection,
    user_id: UserId,
) -> StoreResult<()> {
    connection.run(
        "UPDATE users SET password_hash = :no_password, first_name = '', last_name = '', phone = \
         '', address = '', gender = '', country = '', birthday = NULL WHERE id = :user_id",
        params! { ":user_id": user_id, ":no_password": NO_PASSWORD },
    )
}

/// The password hash of the sign-up of a code, and whether its account is contested.
fn find_sign_up_password(
    connection: &dyn Connection,
    used: &UsedOtp,
) -> StoreResult<(String, bool)> {
    connection.query_row(
        "SELECT sign_ups.password_hash, users.is_contested FROM users JOIN sign_ups ON \
         sign_ups.user_id = users.id WHERE users.id = :user_id AND sign_ups.id = :sign_up_id",
        params! { ":user_id": used.user_id, ":sign_up_id": used.sign_up_id },
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

fn find_contested_password(
    connection: &Transaction<'_>,
    attempt: &OtpAttempt,
) -> StoreResult<Option<Option<String>>> {
    use_otp(
        connection,
        OtpPurpose::SignUp,
        None,
        attempt,
        Use::LeaveGood,
    )?
    .map(|used| {
        let (hash, is_contested) = find_sign_up_password(connection, &used)?;
        Ok(is_contested.then_some(hash))
    })
    .transpose()
}

/// When the resent sign-up was made, and the client's address.
fn find_resent_sign_up(
    connection: &dyn Connection,
    email_key: &str,
    network: &str,
    now: Timestamp,
) -> StoreResult<Option<(Timestamp, String)>> {
    connection.query_optional(
        "SELECT sign_ups.created_at, sign_ups.ip FROM users JOIN sign_ups ON sign_ups.user_id = \
         users.id WHERE users.email_key = :email_key AND users.verified_at IS NULL AND \
         (sign_ups.expires_at IS NULL OR sign_ups.expires_at > :now) ORDER BY sign_ups.network = \
         :network DESC, sign_ups.id DESC LIMIT 1",
        params! {
            ":email_key": email_key, ":network": network, ":now": now.unix_millis(),
        },
        |row| Ok((Timestamp::from_unix_millis(row.get(0)?), row.get(1)?)),
    )
}

fn confirm_email_change(
    connection: &Transaction<'_>,
    otp: &AccountOtp,
) -> StoreResult<Option<User>> {
    let attempt = &otp.attempt;
    authorize(connection, &attempt.context, otp.user_id, false)?;
    let used = use_otp(
        connection,
        OtpPurpose::EmailChange,
        Some(otp.user_id),
        attempt,
        Use::Up,
    )?;
    if used.is_none() {
        return Ok(None);
    }
    // Reset codes of the former address are no longer valid. The notice goes to that address.
    delete_reset_otps(connection, otp.user_id)?;
    notify_owner(connection, otp.user_id, &otp.notices, attempt.now)?;
    insert_event(
        connection,
        EventKind::EmailChanged,
        Some(otp.user_id),
        Actor::FromContext,
        &attempt.context,
        "",
        attempt.now,
    )?;
    connection.query_optional(
        &format!(
            "UPDATE users SET email = new_email, email_key = new_email_key, new_email = NULL, \
             new_email_key = NULL, verified_at = coalesce(verified_at, :now) WHERE id = :user_id \
             AND new_email_key = :email_key RETURNING {USER_COLUMNS}"
        ),
        params! {
            ":user_id": otp.user_id,
            ":email_key": attempt.email_key,
            ":now": attempt.now.unix_millis(),
        },
        user,
    )
}

/// Parses an address that was validated before it was stored.
pub(super) fn parse_email(stored: &str) -> StoreResult<EmailAddress> {
    EmailAddress::parse(stored).map_err(|_| StoreError::failed("a stored address is invalid"))
}

/// A pending confirmation.
struct Pending {
    user_id: UserId,
    sign_up_id: Option<i64>,
    email: EmailAddress,
}

fn find_pending(
    connection: &dyn Connection,
    request: &ReissueOtp,
) -> StoreResult<Option<(OtpPurpose, Pending)>> {
    let pending: Option<(UserId, Option<i64>, String)> = connection.query_optional(
        "SELECT users.id, sign_ups.id, sign_ups.email, sign_ups.network = :network FROM users JOIN \
         sign_ups ON sign_ups.user_id = users.id WHERE users.email_key = :email_key AND \
         users.verified_at IS NULL AND users.is_active AND (sign_ups.expires_at IS NULL OR \
         sign_ups.expires_at > :now) UNION ALL SELECT users.id, NULL, users.new_email, FALSE FROM \
         users WHERE users.new_email_key = :email_key AND users.is_active ORDER BY 4 DESC, 2 DESC \
         NULLS LAST LIMIT 1",
        params! {
            ":email_key": request.email_key,
            ":network": request.network,
            ":now": request.now.unix_millis(),
        },
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let Some((user_id, sign_up_id, email)) = pending else {
        return Ok(None);
    };
    let email = parse_email(&email)?;
    let purpose = if sign_up_id.is_some() {
        OtpPurpose::SignUp
    } else {
        OtpPurpose::EmailChange
    };
    Ok(Some((
        purpose,
        Pending {
            user_id,
            sign_up_id,
            email,
        },
    )))
}

fn reissue(connection: &dyn Connection, request: &ReissueOtp) -> StoreResult<Option<Reissued>> {
    let Some((purpose, pending)) = find_pending(connection, request)? else {
        let otp = &request.codes.sign_up;
        note_no_mail(
            connection,
            otp,
            OtpPurpose::SignUp,
            request.now,
            request.limits,
        )?;
        return Ok(None);
    };
    let otp = match purpose {
        OtpPurpose::SignUp => &request.codes.sign_up,
        OtpPurpose::EmailChange | OtpPurpose::PasswordReset | OtpPurpose::Reauthentication => {
            &request.codes.email_change
        }
    };
    if find_pause(
        connection,
        otp,
        purpose,
        (Some(pending.user_id), pending.sign_up_id),
        request.now,
        request.limits,
    )?
    .is_some()
    {
        return Ok(None);
    }
    connection.run(
        "DELETE FROM otps WHERE user_id = :user_id AND purpose = :purpose AND sign_up_id IS NOT \
         DISTINCT FROM :sign_up_id",
        params! {
            ":user_id": pending.user_id,
            ":purpose": purpose.as_str(),
            ":sign_up_id": pending.sign_up_id,
        },
    )?;
    insert_otp(
        connection,
        purpose,
        pending.user_id,
        pending.sign_up_id,
        (&request.email_key, pending.email.as_str()),
        otp,
        request.now,
    )?;
    Ok(Some(Reissued {
        user_id: pending.user_id,
        purpose,
        email: pending.email,
    }))
}

#[async_trait]
impl<E: Engine> OtpStore for Database<E> {
    async fn confirm_sign_up(
        &self,
        confirmation: ConfirmSignUp,
    ) -> StoreResult<Option<ConfirmedSignUp>> {
        self.engine
            .write_for(
                Keys::address(&confirmation.attempt.email_key),
                move |connection| confirm_sign_up(connection, &confirmation),
            )
            .await
    }

    async fn find_contested_password(
        &self,
        attempt: OtpAttempt,
    ) -> StoreResult<Option<Option<String>>> {
        self.engine
            .write_for(Keys::address(&attempt.email_key), move |connection| {
                find_contested_password(connection, &attempt)
            })
            .await
    }

    async fn find_resent_sign_up(
        &self,
        email_key: &str,
        network: &str,
        now: Timestamp,
    ) -> StoreResult<Option<(Timestamp, String)>> {
        let email_key = email_key.to_owned();
        let network = network.to_owned();
        self.engine
            .read(move |connection| find_resent_sign_up(connection, &email_key, &network, now))
            .await
    }

    async fn confirm_email_change(&self, otp: AccountOtp) -> StoreResult<Option<User>> {
        self.engine
            .write_for(
                Keys::user(otp.user_id).and(&otp.attempt.email_key),
                move |connection| confirm_email_change(connection, &otp),
            )
            .await
    }

    async fn reissue_otp(&self, request: ReissueOtp) -> StoreResult<Option<Reissued>> {
        self.engine
            .write_for(Keys::address(&request.email_key), move |connection| {
                reissue(connection, &request)
            })
            .await
    }

    async fn find_otp_token(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<OtpToken>> {
        let token_hash = token_hash.to_vec();
        self.engine
            .read(move |connection| {
                find_token(connection, &token_hash, now).map(|found| found.map(|(token, _)| token))
            })
            .await
    }

    async fn find_mail_pause(
        &self,
        address_hash: &[u8],
        mailbox_hash: &[u8],
        purpose: OtpPurpose,
        requester: ClientNetwork,
        now: Timestamp,
        limits: MailLimits,
    ) -> StoreResult<Option<Timestamp>> {
        let address_hash = address_hash.to_vec();
        let mailbox_hash = mailbox_hash.to_vec();
        self.engine
            .read(move |connection| {
                let purpose = purpose.as_str();
                let sent = list_sent(
                    connection,
                    (&address_hash, &mailbox_hash),
                    purpose,
                    Some(requester),
                    now,
                )?;
                // The requester may turn out to be known.
                Ok(limits.next_at(&sent, Requester::Known, now))
            })
            .await
    }
}
