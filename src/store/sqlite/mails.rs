//! The mail queue in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, Row, named_params};

use super::SqliteStore;
use super::rows::timestamp;
use crate::domain::{Timestamp, UserId};
use crate::store::{
    ClaimedMails, MailClaim, MailQueue, MailStore, NewMail, QueuedMail, StoreResult,
};

/// The longest possible delay of a mail. A later time was stored while the clock was wrong, and the
/// mail is due.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

const COLUMNS: &str =
    "id, message_id, user_id, email, language, content, created_at, expires_at, tries";

fn queued_mail(row: &Row<'_>) -> rusqlite::Result<QueuedMail> {
    Ok(QueuedMail {
        id: row.get(0)?,
        message_id: row.get(1)?,
        user_id: row.get(2)?,
        email: row.get(3)?,
        language: row.get(4)?,
        content: row.get(5)?,
        created_at: timestamp(row, 6)?,
        expires_at: timestamp(row, 7)?,
        tries: row.get(8)?,
    })
}

fn optional_timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)
        .map(|millis| millis.map(Timestamp::from_unix_millis))
}

/// Enqueues a mail, in the language of the sign-up or of the account.
///
/// A mail with a code is deleted with the code: a code that is used, replaced or removed is not
/// mailed.
pub(super) fn insert_mail(
    connection: &Connection,
    user_id: UserId,
    otp_id: Option<i64>,
    email: &str,
    mail: &NewMail,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO mails (message_id, user_id, otp_id, email, language, content, created_at, expires_at, \
             next_try_at) \
             VALUES (:message_id, :user_id, :otp_id, :email, \
             coalesce((SELECT sign_ups.language FROM otps JOIN sign_ups ON sign_ups.id = otps.sign_up_id \
             WHERE otps.id = :otp_id), (SELECT language FROM users WHERE id = :user_id)), \
             :content, :now, :expires_at, :now)",
        )?
        .execute(named_params! {
            ":message_id": mail.message_id,
            ":user_id": user_id,
            ":otp_id": otp_id,
            ":email": email,
            ":content": mail.content,
            ":now": now.unix_millis(),
            ":expires_at": mail.expires_at.unix_millis(),
        })
        .map(drop)
}

fn delete_expired_mails(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Vec<Option<UserId>>> {
    connection
        .prepare_cached("DELETE FROM mails WHERE expires_at <= :now RETURNING user_id")?
        .query_map(named_params! { ":now": now.unix_millis() }, |row| {
            row.get(0)
        })?
        .collect()
}

fn claim(connection: &Connection, claim: &MailClaim) -> rusqlite::Result<ClaimedMails> {
    let expired = delete_expired_mails(connection, claim.now)?;
    connection
        .prepare_cached("UPDATE mails SET next_try_at = :now WHERE next_try_at > :far")?
        .execute(named_params! {
            ":now": claim.now.unix_millis(),
            ":far": claim.now.plus(LONGEST_WAIT).unix_millis(),
        })?;
    let mut mails = claim_some(connection, claim, "tries = 0", claim.limit)?;
    let room = claim.limit - u32::try_from(mails.len()).unwrap_or(claim.limit);
    mails.extend(claim_some(
        connection,
        claim,
        "tries > 0",
        room.min(claim.retries),
    )?);
    Ok(ClaimedMails { mails, expired })
}

fn claim_some(
    connection: &Connection,
    claim: &MailClaim,
    which: &str,
    limit: u32,
) -> rusqlite::Result<Vec<QueuedMail>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut mails: Vec<QueuedMail> = connection
        .prepare_cached(&format!(
            "UPDATE mails SET claimed = 1, tries = tries + 1, next_try_at = :until WHERE id IN \
             (SELECT id FROM mails WHERE next_try_at <= :now AND {which} ORDER BY next_try_at, id LIMIT :limit) \
             RETURNING {COLUMNS}"
        ))?
        .query_map(
            named_params! {
                ":now": claim.now.unix_millis(),
                ":until": claim.until.unix_millis(),
                ":limit": limit,
            },
            queued_mail,
        )?
        .collect::<rusqlite::Result<_>>()?;
    // RETURNING gives the rows in no defined order.
    mails.sort_by_key(|mail| mail.id);
    Ok(mails)
}

#[async_trait]
impl MailStore for SqliteStore {
    async fn claim_mails(&self, request: MailClaim) -> StoreResult<ClaimedMails> {
        self.writer
            .run(move |connection| claim(connection, &request))
            .await
    }

    async fn delete_mail(&self, id: i64) -> StoreResult<()> {
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached("DELETE FROM mails WHERE id = :id")?
                    .execute(named_params! { ":id": id })
                    .map(drop)
            })
            .await
    }

    async fn postpone_mail(
        &self,
        id: i64,
        next_try_at: Timestamp,
        counts: bool,
    ) -> StoreResult<()> {
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE mails SET claimed = 0, next_try_at = :next_try_at, \
                         tries = CASE WHEN :counts THEN tries ELSE max(tries - 1, 0) END WHERE id = :id",
                    )?
                    .execute(named_params! {
                        ":id": id, ":next_try_at": next_try_at.unix_millis(), ":counts": counts,
                    })
                    .map(drop)
            })
            .await
    }

    async fn release_mails(&self, now: Timestamp) -> StoreResult<usize> {
        self.writer
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE mails SET claimed = 0, next_try_at = :now WHERE claimed",
                    )?
                    .execute(named_params! { ":now": now.unix_millis() })
            })
            .await
    }

    async fn list_mails(&self) -> StoreResult<Vec<QueuedMail>> {
        self.read(|connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM mails ORDER BY id"))?
                .query_map([], queued_mail)?
                .collect()
        })
    }

    async fn find_next_mail(&self) -> StoreResult<Option<Timestamp>> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT min(next_try_at) FROM mails")?
                .query_row([], |row| optional_timestamp(row, 0))
        })
    }

    async fn find_mail_queue(&self) -> StoreResult<MailQueue> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT count(*), (SELECT created_at FROM mails ORDER BY id LIMIT 1) FROM mails",
                )?
                .query_row([], |row| {
                    Ok(MailQueue {
                        waiting: row.get::<_, i64>(0)?.unsigned_abs(),
                        oldest_at: optional_timestamp(row, 1)?,
                    })
                })
        })
    }

    async fn purge_deleted_mails(&self) {
        self.empty_log().await;
    }
}
