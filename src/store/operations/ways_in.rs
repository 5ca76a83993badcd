//! The ways to sign in to an account, of which the last one is not removed.

use super::connection::{Connection, params};

use crate::domain::UserId;
use crate::store::{SiteWays, StoreResult};

/// A way in that is about to go.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// The passkey with this id.
    Passkey(&'a str),
    /// The identity with this id.
    Identity(&'a str),
    /// All passkeys.
    Passkeys,
}

/// Whether an account can sign in to the site when a way in is gone: with a password, a passkey of
/// the site's domain, or an identity of a provider that is configured.
pub(super) fn has_way_in(
    connection: &dyn Connection,
    user_id: UserId,
    ways: &SiteWays,
    gone: Way<'_>,
) -> StoreResult<bool> {
    let (passkey, identity, keeps_passkeys) = match gone {
        Way::Passkey(id) => (id, "", true),
        Way::Identity(id) => ("", id, true),
        Way::Passkeys => ("", "", false),
    };
    let has_other: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = :user_id AND password_hash NOT LIKE '!%') \
         OR (:keeps_passkeys AND EXISTS (SELECT 1 FROM passkeys WHERE user_id = :user_id AND rp_id \
         = :rp_id AND id <> :passkey))",
        params! {
            ":user_id": user_id,
            ":rp_id": ways.rp_id,
            ":passkey": passkey,
            ":keeps_passkeys": keeps_passkeys,
        },
        |row| row.get(0),
    )?;
    if has_other {
        return Ok(true);
    }
    for provider in &ways.providers {
        if connection.exists(
            "SELECT 1 FROM identities WHERE user_id = :user_id AND id <> :identity AND provider = \
             :provider",
            params! { ":user_id": user_id, ":identity": identity, ":provider": provider },
        )? {
            return Ok(true);
        }
    }
    Ok(false)
}
