//! Refresh tokens: each is used once, for a successor (RFC 9700, section 4.14.2).

use std::time::Duration;

use super::connection::{Connection, Row, params};
use super::rows::optional_timestamp;
use crate::domain::Timestamp;
use crate::store::{RotateRefreshToken, StoreResult};

/// How long a used refresh token keeps its row.
const REMEMBER_USED: Duration = Duration::from_hours(1);

/// Maximum number of refresh tokens with a row per session.
const MAX_REFRESH_TOKENS: i64 = 100;

/// A refresh token that has a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredToken {
    /// When it was used.
    used_at: Option<Timestamp>,
    /// The token it was exchanged for; versions before 10 stored none.
    successor_id: Option<String>,
}

/// What the use of a refresh token comes to.
#[derive(Debug, PartialEq, Eq)]
enum Use {
    /// It is used for the first time.
    First,
    /// It is repeated within the grace; this is its successor, if it has one.
    Repeated(Option<String>),
    /// It was used before.
    Reused,
}

impl Use {
    /// Decides by the row of a validly signed token of a live session. One without a row was used before.
    fn of(token: Option<StoredToken>, now: Timestamp, grace: Duration) -> Self {
        match token {
            Some(StoredToken { used_at: None, .. }) => Self::First,
            Some(StoredToken {
                used_at: Some(used_at),
                successor_id,
                // A clock that was set back must not extend a grace of zero.
            }) if used_at > now.minus(grace) && !grace.is_zero() => Self::Repeated(successor_id),
            _ => Self::Reused,
        }
    }
}

pub(super) fn insert_refresh_token(
    connection: &dyn Connection,
    id: &str,
    session_id: &str,
    expires_at: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO refresh_tokens (id, session_id, expires_at) VALUES (:id, :session_id, \
         :expires_at)",
        params! {
            ":id": id, ":session_id": session_id, ":expires_at": expires_at.unix_millis(),
        },
    )
}

/// Finds a refresh token of a session.
pub(super) fn find_refresh_token(
    connection: &dyn Connection,
    session_id: &str,
    id: &str,
) -> StoreResult<Option<StoredToken>> {
    connection.query_optional(
        "SELECT used_at, successor_id FROM refresh_tokens WHERE id = :id AND session_id = \
         :session_id",
        params! { ":id": id, ":session_id": session_id },
        |row| stored_token(row, 0),
    )
}

/// Reads `used_at` and `successor_id` of a refresh token.
pub(super) fn stored_token(row: &Row<'_>, index: usize) -> StoreResult<StoredToken> {
    Ok(StoredToken {
        used_at: optional_timestamp(row, index)?,
        successor_id: row.get(index + 1)?,
    })
}

/// Whether a refresh token of a live session is unused, or was used within the grace.
pub(super) fn is_refresh_token_usable(
    connection: &dyn Connection,
    session_id: &str,
    refresh_id: &str,
    now: Timestamp,
    grace: Duration,
) -> StoreResult<bool> {
    let token = find_refresh_token(connection, session_id, refresh_id)?;
    Ok(Use::of(token, now, grace) != Use::Reused)
}

/// Exchanges a refresh token for its successor, whose id is returned; `None` when it was used before.
///
/// `token` was read in the same transaction, which no other exchange for the account runs beside.
pub(super) fn exchange(
    connection: &dyn Connection,
    rotation: &RotateRefreshToken,
    token: Option<StoredToken>,
    expires_at: Timestamp,
) -> StoreResult<Option<String>> {
    let new_id = &rotation.new_refresh_id;
    match Use::of(token, rotation.now, rotation.grace) {
        Use::First => {
            connection.run(
                "UPDATE refresh_tokens SET used_at = :now, successor_id = :new_id WHERE id = :id",
                params! {
                    ":id": rotation.refresh_id,
                    ":new_id": new_id,
                    ":now": rotation.now.unix_millis(),
                },
            )?;
        }
        Use::Repeated(None) => {
            connection.run(
                "UPDATE refresh_tokens SET successor_id = :new_id WHERE id = :id",
                params! { ":id": rotation.refresh_id, ":new_id": new_id },
            )?;
        }
        Use::Repeated(Some(successor)) => {
            // The token that is signed for it now expires a few seconds later than the first one.
            connection.run(
                "UPDATE refresh_tokens SET expires_at = greatest(expires_at, :expires_at) WHERE id \
                 = :id",
                params! {
                    ":id": successor, ":expires_at": expires_at.unix_millis(),
                },
            )?;
            return Ok(Some(successor));
        }
        Use::Reused => return Ok(None),
    }
    insert_refresh_token(connection, new_id, &rotation.session_id, expires_at)?;
    Ok(Some(new_id.clone()))
}

/// Deletes the rows of expired refresh tokens and of those used long ago.
pub(super) fn delete_surplus_refresh_tokens(
    connection: &dyn Connection,
    rotation: &RotateRefreshToken,
    new_id: &str,
) -> StoreResult<()> {
    let remember = REMEMBER_USED.max(rotation.grace);
    connection.run(
        "DELETE FROM refresh_tokens WHERE session_id = :session_id AND (used_at < :used_before OR \
         expires_at <= :now OR id IN (SELECT id FROM refresh_tokens WHERE session_id = :session_id \
         AND id NOT IN (:id, :new_id) ORDER BY coalesce(used_at <= :grace_ends, FALSE), used_at \
         DESC NULLS LAST, expires_at DESC LIMIT 1000000 OFFSET :others))",
        params! {
            ":session_id": rotation.session_id,
            ":id": rotation.refresh_id,
            ":new_id": new_id,
            ":others": MAX_REFRESH_TOKENS - 2,
            ":grace_ends": rotation.now.minus(rotation.grace).unix_millis(),
            ":used_before": rotation.now.minus(remember).unix_millis(),
            ":now": rotation.now.unix_millis(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(seconds * 1000)
    }

    /// A token that was used at this second, for a successor.
    fn used(at_second: i64, successor_id: Option<&str>) -> StoredToken {
        StoredToken {
            used_at: Some(at(at_second)),
            successor_id: successor_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_token_is_used_once_and_repeated_within_the_grace() {
        let grace = Duration::from_secs(10);
        let unused = || {
            Some(StoredToken {
                used_at: None,
                successor_id: None,
            })
        };
        let spent = || Some(used(100, Some("next")));
        let repeated = || Use::Repeated(Some("next".to_owned()));
        for (stored, now, grace, expected) in [
            (unused(), 100, grace, Use::First),
            (unused(), 100, Duration::ZERO, Use::First),
            (spent(), 100, grace, repeated()),
            (spent(), 109, grace, repeated()),
            (spent(), 110, grace, Use::Reused),
            // The clock was set back.
            (spent(), 40, grace, repeated()),
            (spent(), 40, Duration::ZERO, Use::Reused),
            (Some(used(100, None)), 105, grace, Use::Repeated(None)),
            (None, 100, grace, Use::Reused),
        ] {
            let case = format!("{stored:?} at {now} with {grace:?}");
            assert_eq!(Use::of(stored, at(now), grace), expected, "{case}");
        }
    }
}
