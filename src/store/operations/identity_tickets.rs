//! Tickets for identities that no account has yet,.

use super::connection::{Connection, params};

use crate::domain::{Timestamp, UserId};
use crate::store::{ProvenIdentity, StoreResult};

/// A live ticket.
pub(super) struct IdentityTicket {
    /// The account that the identity may become one of.
    pub(super) user_id: UserId,
    /// The pending sign-up that it belongs to, if the account is not verified.
    pub(super) sign_up_id: Option<i64>,
    pub(super) proven: ProvenIdentity,
}

/// Stores a ticket: for a verified account, or for a pending sign-up of an account.
pub(super) fn insert_ticket(
    connection: &dyn Connection,
    (user_id, sign_up_id): (UserId, Option<i64>),
    proven: &ProvenIdentity,
    (token_hash, expires_at): (&[u8], Timestamp),
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO identity_tickets (token_hash, user_id, sign_up_id, provider, issuer, subject, \
         email, name, expires_at) VALUES (:token_hash, :user_id, :sign_up_id, :provider, :issuer, \
         :subject, :email, :name, :expires_at)",
        params! {
            ":token_hash": token_hash,
            ":user_id": user_id,
            ":sign_up_id": sign_up_id,
            ":provider": proven.provider,
            ":issuer": proven.issuer,
            ":subject": proven.subject,
            ":email": proven.email,
            ":name": proven.name,
            ":expires_at": expires_at.unix_millis(),
        },
    )
}

/// Finds a live ticket.
pub(super) fn find_ticket(
    connection: &dyn Connection,
    token_hash: &[u8],
    now: Timestamp,
) -> StoreResult<Option<IdentityTicket>> {
    connection.query_optional(
        "SELECT user_id, sign_up_id, provider, issuer, subject, email, name FROM identity_tickets \
         WHERE token_hash = :token_hash AND expires_at > :now",
        params! { ":token_hash": token_hash, ":now": now.unix_millis() },
        |row| {
            Ok(IdentityTicket {
                user_id: row.get(0)?,
                sign_up_id: row.get(1)?,
                proven: ProvenIdentity {
                    provider: row.get(2)?,
                    issuer: row.get(3)?,
                    subject: row.get(4)?,
                    email: row.get(5)?,
                    name: row.get(6)?,
                },
            })
        },
    )
}

/// Uses up a ticket; false when another request was faster.
pub(super) fn delete_ticket(connection: &dyn Connection, token_hash: &[u8]) -> StoreResult<bool> {
    connection
        .execute(
            "DELETE FROM identity_tickets WHERE token_hash = :token_hash",
            params! { ":token_hash": token_hash },
        )
        .map(|deleted| deleted > 0)
}
