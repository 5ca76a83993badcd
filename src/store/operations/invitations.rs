//! Invitations.

use std::time::Duration;

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::mails::insert_invitation_mail;
use super::otps::{CLOCK_SLACK, count_mail, list_sent, parse_email};
use super::paging::{List, contains};
use super::rows::timestamp;
use super::sessions::{authorize_staff, insert_session};
use super::transaction::Transaction;
use super::users::{find_by_id, insert_verified_user, is_taken};
use crate::domain::{EventKind, Timestamp, User, UserId};
use crate::store::{
    AcceptInvitation, Invitation, InvitationOutcome, InvitationQuery, InvitationStore,
    NewInvitation, NewUser, Page, RequestContext, Requester, RevokeInvitation, StoreResult,
};

/// How long an expired invitation is listed, so that it can be repeated.
const KEEP_EXPIRED: Duration = Duration::from_hours(30 * 24);

/// What mails with an invitation are counted as.
const PURPOSE: &str = "invitation";

const COLUMNS: &str = "invitations.id, invitations.email, invitations.language, invitations.inviter_id, \
                       invitations.operator, invitations.created_at, invitations.expires_at";

/// Invitations whose address has no account yet. An account that staff has deactivated before it was
/// verified counts too: an invitation does not activate it.
const UNANSWERED: &str = "NOT EXISTS (SELECT 1 FROM users WHERE users.email_key = \
                          invitations.email_key AND (users.verified_at IS NOT NULL OR NOT \
                          users.is_active))";

fn invitation(row: &Row<'_>) -> StoreResult<Invitation> {
    Ok(Invitation {
        id: row.get(0)?,
        email: row.get(1)?,
        language: row.get(2)?,
        inviter_id: row.get(3)?,
        operator: row.get(4)?,
        created_at: timestamp(row, 5)?,
        expires_at: timestamp(row, 6)?,
    })
}

fn create(connection: &Transaction<'_>, new: &NewInvitation) -> StoreResult<InvitationOutcome> {
    authorize_staff(connection, &new.context)?;
    let email_key = new.email.key();
    if is_taken(connection, email_key, None, new.now)? {
        return Ok(InvitationOutcome::EmailTaken);
    }
    let hashes = (&*new.address_hash, &*new.mailbox_hash);
    let sent = list_sent(connection, hashes, PURPOSE, None, new.now)?;
    if let Some(until) = new.limits.next_at(&sent, Requester::Operator, new.now) {
        return Ok(InvitationOutcome::Throttled { until });
    }
    let invitation = connection.query_row(
        &format!(
            "INSERT INTO invitations (email, email_key, language, inviter_id, operator, \
             created_at, expires_at) VALUES (:email, :email_key, :language, :inviter_id, \
             :operator, :now, :expires_at) ON CONFLICT (email_key) DO UPDATE SET email = \
             excluded.email, language = excluded.language, inviter_id = excluded.inviter_id, \
             operator = excluded.operator, created_at = excluded.created_at, expires_at = \
             excluded.expires_at RETURNING {COLUMNS}"
        ),
        params! {
            ":email": new.email.as_str(),
            ":email_key": email_key,
            ":language": new.language,
            ":inviter_id": new.context.actor_id,
            ":operator": new.context.operator,
            ":now": new.now.unix_millis(),
            ":expires_at": new.expires_at.unix_millis(),
        },
        invitation,
    )?;
    connection.run(
        "INSERT INTO invitation_tokens (token_hash, invitation_id) VALUES (:token_hash, :id)",
        params! { ":token_hash": new.token_hash, ":id": invitation.id },
    )?;
    insert_invitation_mail(
        connection,
        invitation.id,
        new.email.as_str(),
        &new.mail,
        new.now,
    )?;
    count_mail(connection, hashes, PURPOSE, ("", false), new.now)?;
    note(
        connection,
        EventKind::UserInvited,
        (None, Actor::FromContext),
        invitation.id,
        (&new.context, new.now),
    )?;
    Ok(InvitationOutcome::Created(invitation))
}

fn list(
    connection: &dyn Connection,
    query: &InvitationQuery,
) -> StoreResult<Option<Page<Invitation>>> {
    let search = contains(&query.search);
    let list = List {
        from: &format!("invitations WHERE {UNANSWERED} AND email_key LIKE :search ESCAPE '!'"),
        columns: COLUMNS,
        order: "created_at DESC, id DESC",
        values: params! { ":search": search },
    };
    list.page(connection, (query.page, query.page_size), |row| {
        invitation(row).map(Some)
    })
}

fn find(
    connection: &dyn Connection,
    token_hash: &[u8],
    now: Timestamp,
) -> StoreResult<Option<Invitation>> {
    connection.query_optional(
        &format!(
            "SELECT {COLUMNS} FROM invitation_tokens JOIN invitations ON invitations.id = \
             invitation_tokens.invitation_id WHERE token_hash = :token_hash AND expires_at > :now \
             AND created_at < :soon AND {UNANSWERED}"
        ),
        params! {
            ":token_hash": token_hash,
            ":now": now.unix_millis(),
            ":soon": now.plus(CLOCK_SLACK).unix_millis(),
        },
        invitation,
    )
}

fn accept(
    connection: &Transaction<'_>,
    acceptance: &AcceptInvitation,
) -> StoreResult<Option<User>> {
    let now = acceptance.now;
    let Some(invitation) = find(connection, &acceptance.token_hash, now)? else {
        return Ok(None);
    };
    let new = NewUser {
        email: parse_email(&invitation.email)?,
        password_hash: acceptance.password_hash.clone(),
        profile: acceptance.profile.clone(),
        is_staff: false,
        now,
        context: acceptance.context.clone(),
    };
    let Some(user_id) = insert_verified_user(connection, &new)? else {
        return Ok(None);
    };
    connection.run(
        "UPDATE users SET language = :language, last_login_at = :now WHERE id = :user_id",
        params! {
            ":user_id": user_id, ":language": invitation.language, ":now": now.unix_millis(),
        },
    )?;
    delete(connection, invitation.id)?;
    insert_session(
        connection,
        user_id,
        &acceptance.session,
        &acceptance.context,
    )?;
    note(
        connection,
        EventKind::InvitationAccepted,
        (Some(user_id), Actor::Owner),
        invitation.id,
        (&acceptance.context, now),
    )?;
    find_by_id(connection, user_id)
}

fn revoke(connection: &Transaction<'_>, revocation: &RevokeInvitation) -> StoreResult<bool> {
    authorize_staff(connection, &revocation.context)?;
    if !delete(connection, revocation.id)? {
        return Ok(false);
    }
    note(
        connection,
        EventKind::InvitationRevoked,
        (None, Actor::FromContext),
        revocation.id,
        (&revocation.context, revocation.now),
    )?;
    Ok(true)
}

/// Deletes an invitation with its links and queued mails.
fn delete(connection: &dyn Connection, id: i64) -> StoreResult<bool> {
    connection
        .execute(
            "DELETE FROM invitations WHERE id = :id",
            params! { ":id": id },
        )
        .map(|deleted| deleted > 0)
}

/// Deletes invitations that expired long ago or whose address has an account by now. Returns their
/// number.
pub(super) fn delete_old_invitations(
    connection: &dyn Connection,
    now: Timestamp,
) -> StoreResult<usize> {
    connection.execute(
        &format!("DELETE FROM invitations WHERE expires_at <= :until OR NOT ({UNANSWERED})"),
        params! { ":until": now.minus(KEEP_EXPIRED).unix_millis() },
    )
}

/// Logs what happened to an invitation.
fn note(
    connection: &Transaction<'_>,
    kind: EventKind,
    (user_id, actor): (Option<UserId>, Actor),
    id: i64,
    (context, now): (&RequestContext, Timestamp),
) -> StoreResult<()> {
    insert_event(
        connection,
        kind,
        user_id,
        actor,
        context,
        &id.to_string(),
        now,
    )
}

#[async_trait]
impl<E: Engine> InvitationStore for Database<E> {
    async fn create_invitation(&self, new: NewInvitation) -> StoreResult<InvitationOutcome> {
        self.engine
            .write(move |connection| create(connection, &new))
            .await
    }

    async fn list_invitations(
        &self,
        query: InvitationQuery,
    ) -> StoreResult<Option<Page<Invitation>>> {
        self.engine
            .read_long(move |connection| list(connection, &query))
            .await
    }

    async fn find_invitation(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<Invitation>> {
        let token_hash = token_hash.to_vec();
        self.engine
            .read(move |connection| find(connection, &token_hash, now))
            .await
    }

    async fn accept_invitation(&self, acceptance: AcceptInvitation) -> StoreResult<Option<User>> {
        self.engine
            .write(move |connection| accept(connection, &acceptance))
            .await
    }

    async fn revoke_invitation(&self, revocation: RevokeInvitation) -> StoreResult<bool> {
        self.engine
            .write(move |connection| revoke(connection, &revocation))
            .await
    }
}
