//! The mail queue.

use std::time::Duration;

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::deliveries;
use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::lock::Keys;
use super::paging::{List, contains};
use super::rows::{optional_timestamp, timestamp};
use super::sessions::authorize_staff;
use super::transaction::Transaction;
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

fn queued_mail(row: &Row<'_>) -> StoreResult<QueuedMail> {
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

fn mail_entry(row: &Row<'_>) -> StoreResult<MailEntry> {
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
    connection: &dyn Connection,
    user_id: UserId,
    otp_id: Option<i64>,
    email: &str,
    mail: &NewMail,
    now: Timestamp,
) -> StoreResult<()> {
    enqueue(connection, (Some(user_id), otp_id, None), email, mail, now)
}

/// Enqueues the mail of an invitation, in its language. It is deleted with the invitation.
pub(super) fn insert_invitation_mail(
    connection: &dyn Connection,
    invitation_id: i64,
    email: &str,
    mail: &NewMail,
    now: Timestamp,
) -> StoreResult<()> {
    enqueue(
        connection,
        (None, None, Some(invitation_id)),
        email,
        mail,
        now,
    )
}

fn enqueue(
    connection: &dyn Connection,
    (user_id, otp_id, invitation_id): (Option<UserId>, Option<i64>, Option<i64>),
    email: &str,
    mail: &NewMail,
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO deliveries (message_id, user_id, otp_id, invitation_id, email, language, \
         kind, content, created_at, expires_at, next_try_at) VALUES (:message_id, :user_id, \
         :otp_id, :invitation_id, :email, coalesce((SELECT sign_ups.language FROM otps JOIN \
         sign_ups ON sign_ups.id = otps.sign_up_id WHERE otps.id = :otp_id), (SELECT language FROM \
         users WHERE id = :user_id), (SELECT language FROM invitations WHERE id = \
         :invitation_id)), :kind, :content, :now, :expires_at, :now)",
        params! {
            ":message_id": mail.message_id,
            ":user_id": user_id,
            ":otp_id": otp_id,
            ":invitation_id": invitation_id,
            ":email": email,
            ":kind": mail.kind,
            ":content": mail.content,
            ":now": now.unix_millis(),
            ":expires_at": mail.expires_at.unix_millis(),
        },
    )
}

/// Closes expired mails and erases the content of all mails that cannot be sent any more. Returns what
/// the closed ones were about.
///
/// They no longer depend on their codes, whose rows are deleted soon.
pub(super) fn expire_mails(
    connection: &dyn Connection,
    now: Timestamp,
) -> StoreResult<Vec<MailSubject>> {
    let expired = connection.query_all(
        "UPDATE deliveries SET closed_at = :now, claimed = FALSE WHERE webhook_id IS NULL AND \
         expires_at <= :now AND content <> x'' AND closed_at IS NULL RETURNING user_id, \
         invitation_id",
        params! { ":now": now.unix_millis() },
        |row| Ok(subject(row.get(0)?, row.get(1)?)),
    )?;
    connection.run(
        "UPDATE deliveries SET content = x'', otp_id = NULL WHERE webhook_id IS NULL AND \
         expires_at <= :now AND content <> x''",
        params! { ":now": now.unix_millis() },
    )?;
    if expired.contains(&MailSubject::DeletedUser) {
        delete_closed_notices(connection)?;
    }
    Ok(expired)
}

/// Deletes what is left of mails to the owners of deleted accounts.
fn delete_closed_notices(connection: &dyn Connection) -> StoreResult<()> {
    connection.run(
        "DELETE FROM deliveries WHERE webhook_id IS NULL AND closed_at IS NOT NULL AND user_id IS \
         NULL AND invitation_id IS NULL",
        &[],
    )
}

/// Deletes mails that were closed long ago. Returns their number.
pub(super) fn delete_closed_mails(
    connection: &dyn Connection,
    now: Timestamp,
) -> StoreResult<usize> {
    deliveries::delete_closed(connection, None, now.minus(KEEP_CLOSED), MOST_CLOSED)
}

fn claim(connection: &dyn Connection, claim: &MailClaim) -> StoreResult<ClaimedMails> {
    let expired = expire_mails(connection, claim.now)?;
    let read = (COLUMNS, queued_mail as fn(&Row<'_>) -> _);
    let mails = deliveries::lease(connection, None, claim, LONGEST_WAIT, read)?;
    Ok(ClaimedMails { mails, expired })
}

fn list_entries(
    connection: &dyn Connection,
    query: &MailQuery,
) -> StoreResult<Option<Page<MailEntry>>> {
    let state = query.state.map_or("TRUE", in_state);
    let user = match query.user_id {
        Some(_) => "user_id = :user_id",
        None => "CAST(:user_id AS BIGINT) IS NULL",
    };
    let search = contains(&query.search);
    let list = List {
        from: &format!(
            "deliveries WHERE webhook_id IS NULL AND {state} AND {user} AND lower(email) LIKE \
             :search ESCAPE '!'"
        ),
        columns: ENTRY_COLUMNS,
        order: "id DESC",
        values: params! { ":search": search, ":user_id": query.user_id },
    };
    list.page(connection, (query.page, query.page_size), |row| {
        mail_entry(row).map(Some)
    })
}

fn find_entry(connection: &dyn Connection, id: i64) -> StoreResult<Option<MailEntry>> {
    connection.query_optional(
        &format!("SELECT {ENTRY_COLUMNS} FROM deliveries WHERE id = :id AND webhook_id IS NULL"),
        params! { ":id": id },
        mail_entry,
    )
}

fn retry(connection: &Transaction<'_>, change: &MailChange) -> StoreResult<RetryOutcome> {
    authorize_staff(connection, &change.context)?;
    let changed = connection.execute(
        "UPDATE deliveries SET closed_at = NULL, next_try_at = :now WHERE id = :id AND NOT claimed \
         AND expires_at > :now AND content <> x''",
        params! { ":id": change.id, ":now": change.now.unix_millis() },
    )?;
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
    connection.run(
        "DELETE FROM deliveries WHERE id = :id",
        params! { ":id": change.id },
    )?;
    note(connection, EventKind::MailDiscarded, &entry, change)?;
    Ok(true)
}

/// Logs a change of a mail, with its kind.
fn note(
    connection: &Transaction<'_>,
    kind: EventKind,
    entry: &MailEntry,
    change: &MailChange,
) -> StoreResult<()> {
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
impl<E: Engine> MailStore for Database<E> {
    async fn claim_mails(&self, request: MailClaim) -> StoreResult<ClaimedMails> {
        self.engine
            .write_for(Keys::none().and("mails"), move |connection| {
                claim(connection, &request)
            })
            .await
    }

    async fn delete_mail(&self, id: i64) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| {
                connection.run(
                    "DELETE FROM deliveries WHERE id = :id",
                    params! { ":id": id },
                )
            })
            .await
    }

    async fn give_up_mail(&self, request: GiveUpMail) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| {
                deliveries::close(connection, request.id, false, &request.problem, request.now)?;
                delete_closed_notices(connection)
            })
            .await
    }

    async fn postpone_mail(&self, request: PostponeMail) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| {
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
        self.engine
            .read_long(move |connection| list_entries(connection, &query))
            .await
    }

    async fn retry_mail(&self, change: MailChange) -> StoreResult<RetryOutcome> {
        self.engine
            .write(move |connection| retry(connection, &change))
            .await
    }

    async fn discard_mail(&self, change: MailChange) -> StoreResult<bool> {
        self.engine
            .write(move |connection| discard(connection, &change))
            .await
    }

    async fn release_mails(&self, now: Timestamp) -> StoreResult<usize> {
        if self.engine.is_shared() {
            // Those of other servers end by themselves.
            return Ok(0);
        }
        self.engine
            .write(move |connection| deliveries::release(connection, true, now))
            .await
    }

    async fn list_mails(&self) -> StoreResult<Vec<QueuedMail>> {
        self.engine
            .read(move |connection| {
                connection
                .query_all(&format!(
                    "SELECT {COLUMNS} FROM deliveries WHERE webhook_id IS NULL AND closed_at IS \
                     NULL ORDER BY id"
                ), &[], queued_mail)
            })
            .await
    }

    async fn find_next_mail(&self) -> StoreResult<Option<Timestamp>> {
        self.engine
            .read(move |connection| deliveries::next_due(connection, None))
            .await
    }

    async fn find_mail_queue(&self) -> StoreResult<MailQueue> {
        self.engine
            .read(move |connection| deliveries::count_waiting(connection, None))
            .await
    }

    async fn purge_deleted_mails(&self) {
        self.engine.purge().await;
    }
}
