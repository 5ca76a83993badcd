//! The mail queue in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::events::{Actor, insert_event};
use super::paging::List;
use super::rows::{optional_timestamp, timestamp};
use super::sessions::authorize_staff;
use super::transaction::Transaction;
use super::{SqliteStore, deliveries};
use crate::domain::{EventKind, MailState, Timestamp, UserId};
use crate::store::{
    ClaimedMails, GiveUpMail, MailChange, MailClaim, MailEntry, MailQuery, MailQueue, MailStore,
    MailSubject, NewMail, Page, PostponeMail, QueuedMail, RetryOutcome, StoreResult,
};

/// The longest possible delay of a mail. A later time was stored while the clock was wrong, and the
/// mail is due.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// How long a mail that was given up or has expired can be looked up.
const KEEP_CLOSED: Duration = Duration::from_hours(7 * 24);

/// Maximum number of such mails.
const MOST_CLOSED: u32 = 10_000;

const COLUMNS: &str = "id, message_id, user_id, email, language, content, created_at, expires_at, tries, \
                       invitation_id";

/// The columns that [`mail_entry`] reads.
const ENTRY_COLUMNS: &str = "id, user_id, email, kind, closed_at, claimed, problem, tries, created_at, last_try_at, \
                             next_try_at, expires_at";

fn subject(user_id: Option<UserId>, invitation_id: Option<i64>) -> MailSubject {
    match (user_id, invitation_id) {
        (Some(user_id), _) => MailSubject::User(user_id),
        (None, Some(invitation_id)) => MailSubject::Invitation(invitation_id),
        (None, None) => MailSubject::DeletedUser,
    }
}

fn queued_mail(row: &Row<'_>) -> rusqlite::Result<QueuedMail> {
    Ok(QueuedMail {
        id: row.get(0)?,
        message_id: row.get(1)?,
        subject: subject(row.get(2)?, row.get(9)?),
        email: row.get(3)?,
        language: row.get(4)?,
        content: row.get(5)?,
        created_at: timestamp(row, 6)?,
        expires_at: timestamp(row, 7)?,
        tries: row.get(8)?,
    })
}

fn mail_entry(row: &Row<'_>) -> rusqlite::Result<MailEntry> {
    let closed_at = optional_timestamp(row, 4)?;
    let expires_at = timestamp(row, 11)?;
    let state = match closed_at {
        Some(closed_at) if closed_at < expires_at => MailState::Failed,
        Some(_) => MailState::Expired,
        None if row.get(5)? => MailState::Sending,
        None => MailState::Waiting,
    };
    Ok(MailEntry {
        id: row.get(0)?,
        user_id: row.get(1)?,
        email: row.get(2)?,
        kind: row.get(3)?,
        state,
        problem: row.get(6)?,
        tries: row.get(7)?,
        created_at: timestamp(row, 8)?,
        last_try_at: optional_timestamp(row, 9)?,
        next_try_at: (state == MailState::Waiting)
            .then(|| timestamp(row, 10))
            .transpose()?,
        expires_at,
    })
}

/// The mails in a state, as part of a WHERE clause that agrees with [`mail_entry`].
const fn in_state(state: MailState) -> &'static str {
    match state {
        MailState::Waiting => "closed_at IS NULL AND NOT claimed",
        MailState::Sending => "closed_at IS NULL AND claimed",
        MailState::Failed => "closed_at < expires_at",
        MailState::Expired => "closed_at >= expires_at",
    }
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
    enqueue(connection, (Some(user_id), otp_id, None), email, mail, now)
}

/// Enqueues the mail of an invitation, in its language. It is deleted with the invitation.
pub(super) fn insert_invitation_mail(
    connection: &Connection,
    invitation_id: i64,
    email: &str,
    mail: &NewMail,
    now: Timestamp,
) -> rusqlite::Result<()> {
    enqueue(
        connection,
        (None, None, Some(invitation_id)),
        email,
        mail,
        now,
    )
}

fn enqueue(
    connection: &Connection,
    (user_id, otp_id, invitation_id): (Option<UserId>, Option<i64>, Option<i64>),
    email: &str,
    mail: &NewMail,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO deliveries (message_id, user_id, otp_id, invitation_id, email, language, kind, content, \
             created_at, expires_at, next_try_at) \
             VALUES (:message_id, :user_id, :otp_id, :invitation_id, :email, \
             coalesce((SELECT sign_ups.language FROM otps JOIN sign_ups ON sign_ups.id = otps.sign_up_id \
             WHERE otps.id = :otp_id), (SELECT language FROM users WHERE id = :user_id), \
             (SELECT language FROM invitations WHERE id = :invitation_id)), \
             :kind, :content, :now, :expires_at, :now)",
        )?
        .execute(named_params! {
            ":message_id": mail.message_id,
            ":user_id": user_id,
            ":otp_id": otp_id,
            ":invitation_id": invitation_id,
            ":email": email,
            ":kind": mail.kind,
            ":content": mail.content,
            ":now": now.unix_millis(),
            ":expires_at": mail.expires_at.unix_millis(),
        })
        .map(drop)
}

/// Closes expired mails and erases the content of all mails that cannot be sent any more. Returns what
/// the closed ones were about.
///
/// They no longer depend on their codes, whose rows are deleted soon.
pub(super) fn expire_mails(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Vec<MailSubject>> {
    let expired = connection
        .prepare_cached(
            "UPDATE deliveries SET closed_at = :now, claimed = 0 \
             WHERE webhook_id IS NULL AND expires_at <= :now AND content <> x'' AND closed_at IS NULL \
             RETURNING user_id, invitation_id",
        )?
        .query_map(named_params! { ":now": now.unix_millis() }, |row| {
            Ok(subject(row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    connection
        .prepare_cached(
            "UPDATE deliveries SET content = x'', otp_id = NULL \
             WHERE webhook_id IS NULL AND expires_at <= :now AND content <> x''",
        )?
        .execute(named_params! { ":now": now.unix_millis() })?;
    if expired.contains(&MailSubject::DeletedUser) {
        delete_closed_notices(connection)?;
    }
    Ok(expired)
}

/// Deletes what is left of mails to the owners of deleted accounts.
fn delete_closed_notices(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM deliveries WHERE webhook_id IS NULL AND closed_at IS NOT NULL \
             AND user_id IS NULL AND invitation_id IS NULL",
        )?
        .execute([])
        .map(drop)
}

/// Deletes mails that were closed long ago. Returns their number.
pub(super) fn delete_closed_mails(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    deliveries::delete_closed(connection, None, now.minus(KEEP_CLOSED), MOST_CLOSED)
}

fn claim(connection: &Connection, claim: &MailClaim) -> rusqlite::Result<ClaimedMails> {
    let expired = expire_mails(connection, claim.now)?;
    let read = (COLUMNS, queued_mail as fn(&Row<'_>) -> _);
    let mails = deliveries::lease(connection, None, claim, LONGEST_WAIT, read)?;
    Ok(ClaimedMails { mails, expired })
}

fn list_entries(
    connection: &Connection,
    query: &MailQuery,
) -> rusqlite::Result<Option<Page<MailEntry>>> {
    let state = query.state.map_or("TRUE", in_state);
    let user = match query.user_id {
        Some(_) => "user_id = :user_id",
        None => ":user_id IS NULL",
    };
    let search = query.search.to_ascii_lowercase();
    let list = List {
        from: &format!(
            "deliveries WHERE webhook_id IS NULL AND {state} AND {user} \
             AND instr(lower(email), :search) > 0"
        ),
        columns: ENTRY_COLUMNS,
        order: "id DESC",
        values: named_params! { ":search": search, ":user_id": query.user_id },
    };
    list.page(connection, (query.page, query.page_size), |row| {
        mail_entry(row).map(Some)
    })
}

fn find_entry(connection: &Connection, id: i64) -> rusqlite::Result<Option<MailEntry>> {
    connection
        .prepare_cached(&format!(
            "SELECT {ENTRY_COLUMNS} FROM deliveries WHERE id = :id AND webhook_id IS NULL"
        ))?
        .query_row(named_params! { ":id": id }, mail_entry)
        .optional()
}

fn retry(connection: &Transaction<'_>, change: &MailChange) -> StoreResult<RetryOutcome> {
    authorize_staff(connection, &change.context)?;
    let changed = connection
        .prepare_cached(
            "UPDATE deliveries SET closed_at = NULL, next_try_at = :now \
             WHERE id = :id AND NOT claimed AND expires_at > :now AND content <> x''",
        )?
        .execute(named_params! { ":id": change.id, ":now": change.now.unix_millis() })?;
    let Some(entry) = find_entry(connection, change.id)? else {
        return Ok(RetryOutcome::NotFound);
    };
    if changed == 0 && entry.state != MailState::Sending {
        return Ok(RetryOutcome::Expired);
    }
    note(connection, EventKind::MailRetried, &entry, change)?;
    Ok(RetryOutcome::Due(entry))
}

fn discard(connection: &Transaction<'_>, change: &MailChange) -> StoreResult<bool> {
    authorize_staff(connection, &change.context)?;
    let Some(entry) = find_entry(connection, change.id)? else {
        return Ok(false);
    };
    connection
        .prepare_cached("DELETE FROM deliveries WHERE id = :id")?
        .execute(named_params! { ":id": change.id })?;
    note(connection, EventKind::MailDiscarded, &entry, change)?;
    Ok(true)
}

/// Logs a change of a mail, with its kind.
fn note(
    connection: &Transaction<'_>,
    kind: EventKind,
    entry: &MailEntry,
    change: &MailChange,
) -> rusqlite::Result<()> {
    insert_event(
        connection,
        kind,
        entry.user_id,
        Actor::FromContext,
        &change.context,
        &entry.kind,
        change.now,
    )
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
                    .prepare_cached("DELETE FROM deliveries WHERE id = :id")?
                    .execute(named_params! { ":id": id })
                    .map(drop)
            })
            .await
    }

    async fn give_up_mail(&self, request: GiveUpMail) -> StoreResult<()> {
        self.writer
            .run(move |connection| {
                deliveries::close(connection, request.id, false, &request.problem, request.now)?;
                delete_closed_notices(connection)
            })
            .await
    }

    async fn postpone_mail(&self, request: PostponeMail) -> StoreResult<()> {
        self.writer
            .run(move |connection| {
                let PostponeMail {
                    id,
                    next_try_at,
                    counts,
                    problem,
                } = &request;
                deliveries::postpone(connection, *id, *next_try_at, *counts, problem).map(drop)
            })
            .await
    }

    async fn list_mail_entries(&self, query: MailQuery) -> StoreResult<Option<Page<MailEntry>>> {
        self.read_apart(move |connection| list_entries(connection, &query))
            .await
    }

    async fn retry_mail(&self, change: MailChange) -> StoreResult<RetryOutcome> {
        self.writer
            .run(move |connection| retry(connection, &change))
            .await
    }

    async fn discard_mail(&self, change: MailChange) -> StoreResult<bool> {
        self.writer
            .run(move |connection| discard(connection, &change))
            .await
    }

    async fn release_mails(&self, now: Timestamp) -> StoreResult<usize> {
        self.writer
            .run(move |connection| deliveries::release(connection, true, now))
            .await
    }

    async fn list_mails(&self) -> StoreResult<Vec<QueuedMail>> {
        self.read(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM deliveries WHERE webhook_id IS NULL AND closed_at IS NULL \
                     ORDER BY id"
                ))?
                .query_map([], queued_mail)?
                .collect()
        })
    }

    async fn find_next_mail(&self) -> StoreResult<Option<Timestamp>> {
        self.read(|connection| deliveries::next_due(connection, None))
    }

    async fn find_mail_queue(&self) -> StoreResult<MailQueue> {
        self.read(|connection| deliveries::count_waiting(connection, None))
    }

    async fn purge_deleted_mails(&self) {
        self.empty_log().await;
    }
}
