//! Identities.

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::email_change::insert_notice_undo;
use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::factors::delete_tickets;
use super::identity_sign_in;
use super::identity_tickets::{delete_ticket, find_ticket};
use super::notices::{notify_earlier_addresses, notify_owner};
use super::rows::{optional_timestamp, timestamp};
use super::sessions::authorize;
use super::transaction::Transaction;
use super::ways_in::{Way, has_way_in};
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::{
    ConnectIdentity, ConnectOutcome, ConnectionMails, DisconnectIdentity, DisconnectOutcome,
    Identity, IdentitySignIn, IdentitySignInOutcome, IdentityStore, ImportRefusal, ProvenIdentity,
    RequestContext, StoreResult,
};

/// The columns that [`identity`] reads.
const COLUMNS: &str = "id, provider, issuer, subject, email, name, created_at, last_used_at";

fn identity(row: &Row<'_>) -> StoreResult<Identity> {
    Ok(Identity {
        id: row.get(0)?,
        proven: ProvenIdentity {
            provider: row.get(1)?,
            issuer: row.get(2)?,
            subject: row.get(3)?,
            email: row.get(4)?,
            name: row.get(5)?,
        },
        created_at: timestamp(row, 6)?,
        last_used_at: optional_timestamp(row, 7)?,
    })
}

/// The identities of an account, oldest first.
pub(super) fn list_identities(
    connection: &dyn Connection,
    user_id: UserId,
) -> StoreResult<Vec<Identity>> {
    connection.query_all(
        &format!(
            "SELECT {COLUMNS} FROM identities WHERE user_id = :user_id ORDER BY created_at, id"
        ),
        params! { ":user_id": user_id },
        identity,
    )
}

/// The account that has an identity.
pub(super) fn find_owner(
    connection: &dyn Connection,
    issuer: &str,
    subject: &str,
) -> StoreResult<Option<UserId>> {
    connection.query_optional(
        "SELECT user_id FROM identities WHERE issuer = :issuer AND subject = :subject",
        params! { ":issuer": issuer, ":subject": subject },
        |row| row.get(0),
    )
}

/// Notes the use of an identity, with what its provider says of it now.
pub(super) fn note_use(
    connection: &dyn Connection,
    proven: &ProvenIdentity,
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "UPDATE identities SET email = CASE WHEN :email = '' THEN email ELSE :email END, name = \
         CASE WHEN :name = '' THEN name ELSE :name END, last_used_at = :now WHERE issuer = :issuer \
         AND subject = :subject",
        params! {
            ":issuer": proven.issuer,
            ":subject": proven.subject,
            ":email": proven.email,
            ":name": proven.name,
            ":now": now.unix_millis(),
        },
    )
}

/// Stores an identity; false when an account has it already.
pub(super) fn insert_identity(
    connection: &dyn Connection,
    user_id: UserId,
    (id, proven): (&str, &ProvenIdentity),
    (created_at, last_used_at): (Timestamp, Option<Timestamp>),
) -> StoreResult<bool> {
    connection
        .execute(
            "INSERT INTO identities (id, user_id, provider, issuer, subject, email, name, \
             created_at, last_used_at) VALUES (:id, :user_id, :provider, :issuer, :subject, \
             :email, :name, :created_at, :last_used_at) ON CONFLICT (issuer, subject) DO NOTHING",
            params! {
                ":id": id,
                ":user_id": user_id,
                ":provider": proven.provider,
                ":issuer": proven.issuer,
                ":subject": proven.subject,
                ":email": proven.email,
                ":name": proven.name,
                ":created_at": created_at.unix_millis(),
                ":last_used_at": last_used_at.map(Timestamp::unix_millis),
            },
        )
        .map(|inserted| inserted > 0)
}

/// Records that an identity was connected to an account, or disconnected.
pub(super) fn note(
    connection: &Transaction<'_>,
    kind: EventKind,
    (user_id, provider): (UserId, &str),
    (actor, context): (Actor, &RequestContext),
    now: Timestamp,
) -> StoreResult<()> {
    insert_event(
        connection,
        kind,
        Some(user_id),
        actor,
        context,
        provider,
        now,
    )
}

/// Enqueues the mails about a new identity of an account, to the confirmed address with the link that
/// undoes it.
pub(super) fn mail_connection(
    connection: &dyn Connection,
    user_id: UserId,
    mails: &ConnectionMails,
    now: Timestamp,
) -> StoreResult<()> {
    insert_notice_undo(connection, user_id, &mails.undo, now)?;
    notify_earlier_addresses(connection, user_id, &mails.notices, now)
}

/// Removes what was connected since a moment, for the undo of an address change.
pub(super) fn void_identities_since(
    connection: &dyn Connection,
    user_id: UserId,
    since: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "DELETE FROM identity_tickets WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )?;
    connection.run(
        "DELETE FROM identities WHERE user_id = :user_id AND created_at >= :since",
        params! { ":user_id": user_id, ":since": since.unix_millis() },
    )
}

/// Why an account with these identities is not imported, if it is not.
pub(super) fn import_refusal(
    connection: &dyn Connection,
    identities: &[Identity],
) -> StoreResult<Option<ImportRefusal>> {
    for (number, identity) in (1..).zip(identities) {
        let ProvenIdentity {
            issuer, subject, ..
        } = &identity.proven;
        if find_owner(connection, issuer, subject)?.is_some() {
            return Ok(Some(ImportRefusal::IdentityTaken(number)));
        }
    }
    Ok(None)
}

/// Stores the identities of an imported account.
pub(super) fn import_identities(
    connection: &dyn Connection,
    user_id: UserId,
    identities: &[Identity],
) -> StoreResult<()> {
    for identity in identities {
        let times = (identity.created_at, identity.last_used_at);
        insert_identity(connection, user_id, (&identity.id, &identity.proven), times)?;
    }
    Ok(())
}

fn connect(connection: &Transaction<'_>, request: &ConnectIdentity) -> StoreResult<ConnectOutcome> {
    let (user_id, proven, now) = (request.user_id, &request.proven, request.now);
    authorize(connection, &request.context, user_id, false)?;
    if let Some(token_hash) = &request.ticket_hash {
        let ticket = find_ticket(connection, token_hash, now)?;
        let is_right = ticket.is_some_and(|ticket| {
            ticket.user_id == user_id && ticket.sign_up_id.is_none() && ticket.proven == *proven
        });
        if !is_right || !delete_ticket(connection, token_hash)? {
            return Ok(ConnectOutcome::InvalidTicket);
        }
    }
    let before = list_identities(connection, user_id)?;
    let is_same = |one: &&Identity| {
        one.proven.issuer == proven.issuer && one.proven.subject == proven.subject
    };
    if let Some(known) = before.iter().find(is_same) {
        return Ok(ConnectOutcome::Connected(Box::new(known.clone())));
    }
    if before.len() >= request.max {
        return Ok(ConnectOutcome::TooMany);
    }
    if !insert_identity(connection, user_id, (&request.new_id, proven), (now, None))? {
        return Ok(ConnectOutcome::Taken);
    }
    mail_connection(connection, user_id, &request.mails, now)?;
    let by = (Actor::FromContext, &request.context);
    let kind = EventKind::IdentityConnected;
    note(connection, kind, (user_id, &proven.provider), by, now)?;
    Ok(ConnectOutcome::Connected(Box::new(Identity {
        id: request.new_id.clone(),
        proven: proven.clone(),
        created_at: now,
        last_used_at: None,
    })))
}

fn disconnect(
    connection: &Transaction<'_>,
    removal: &DisconnectIdentity,
) -> StoreResult<DisconnectOutcome> {
    let (user_id, id, now) = (removal.user_id, &removal.id, removal.now);
    authorize(connection, &removal.context, user_id, false)?;
    let identities = list_identities(connection, user_id)?;
    let Some(identity) = identities.iter().find(|identity| identity.id == *id) else {
        return Ok(DisconnectOutcome::NotFound);
    };
    if !has_way_in(connection, user_id, &removal.ways, Way::Identity(id))? {
        return Ok(DisconnectOutcome::LastWayIn);
    }
    connection.run(
        "DELETE FROM identities WHERE id = :id",
        params! { ":id": id },
    )?;
    delete_tickets(connection, user_id)?;
    notify_owner(connection, user_id, &removal.notices, now)?;
    let by = (Actor::FromContext, &removal.context);
    let about = (user_id, identity.proven.provider.as_str());
    note(connection, EventKind::IdentityDisconnected, about, by, now)?;
    Ok(DisconnectOutcome::Disconnected)
}

#[async_trait]
impl<E: Engine> IdentityStore for Database<E> {
    async fn list_identities(&self, user_id: UserId) -> StoreResult<Vec<Identity>> {
        self.engine
            .read(move |connection| list_identities(connection, user_id))
            .await
    }

    async fn find_identity_user(&self, issuer: &str, subject: &str) -> StoreResult<Option<UserId>> {
        let issuer = issuer.to_owned();
        let subject = subject.to_owned();
        self.engine
            .read(move |connection| find_owner(connection, &issuer, &subject))
            .await
    }

    async fn sign_in_with_identity(
        &self,
        request: IdentitySignIn,
    ) -> StoreResult<IdentitySignInOutcome> {
        self.engine
            .write(move |connection| identity_sign_in::sign_in(connection, &request))
            .await
    }

    async fn find_identity_ticket(
        &self,
        token_hash: &[u8],
        user_id: UserId,
        now: Timestamp,
    ) -> StoreResult<Option<ProvenIdentity>> {
        let token_hash = token_hash.to_vec();
        self.engine
            .read(move |connection| {
                let ticket = find_ticket(connection, &token_hash, now)?;
                let ticket = ticket.filter(|ticket| ticket.user_id == user_id);
                Ok(ticket.map(|ticket| ticket.proven))
            })
            .await
    }

    async fn connect_identity(&self, request: ConnectIdentity) -> StoreResult<ConnectOutcome> {
        self.engine
            .write(move |connection| connect(connection, &request))
            .await
    }

    async fn disconnect_identity(
        &self,
        removal: DisconnectIdentity,
    ) -> StoreResult<DisconnectOutcome> {
        self.engine
            .write(move |connection| disconnect(connection, &removal))
            .await
    }
}
