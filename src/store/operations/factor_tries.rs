//! Wrong codes of authenticator apps: how long a client has to wait after them.
//!
//! A code has six digits, so guesses are few: networks that are unknown to the account share an
//! allowance a day. Known ones wait longer after each wrong code, and are never shut out.

use std::time::Duration;

use super::connection::{Connection, params};
use super::otps::CLOCK_SLACK;
use super::password_tries::is_known_network;
use super::rows::timestamp;
use crate::domain::{Timestamp, UserId};
use crate::store::{FactorTry, StoreResult};

const DAY: Duration = Duration::from_hours(24);

/// Wait of a known network after its first wrong code; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait of a known network.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// When the next try of a network is allowed; `None` when it is allowed now.
pub(super) fn find_pause(
    connection: &dyn Connection,
    user_id: UserId,
    tried: &FactorTry,
) -> StoreResult<Option<Timestamp>> {
    let until = if is_known_network(connection, Some(user_id), &tried.network)? {
        pause_of_known(connection, user_id, tried)?
    } else {
        pause_of_unknown(connection, user_id, tried)?
    };
    Ok(until.filter(|until| *until > tried.now))
}

fn pause_of_known(
    connection: &dyn Connection,
    user_id: UserId,
    tried: &FactorTry,
) -> StoreResult<Option<Timestamp>> {
    let (failures, last): (u32, Option<i64>) = connection.query_row(
        "SELECT count(*), max(failed_at) FROM factor_failures WHERE user_id = :user_id AND network \
         = :network AND failed_at > :day_ago AND failed_at < :soon",
        params! {
            ":user_id": user_id,
            ":network": tried.network,
            ":day_ago": tried.now.minus(DAY).unix_millis(),
            ":soon": tried.now.plus(CLOCK_SLACK).unix_millis(),
        },
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let last = last.map(Timestamp::from_unix_millis);
    Ok(last.map(|last| last.plus(pause_after(failures))))
}

/// How long a known network waits after its last wrong code.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)))
        .min(LONGEST_PAUSE)
}

fn pause_of_unknown(
    connection: &dyn Connection,
    user_id: UserId,
    tried: &FactorTry,
) -> StoreResult<Option<Timestamp>> {
    // The failure that reached the limit of the day, if one did.
    connection
        .query_optional(
            "SELECT failed_at FROM factor_failures WHERE user_id = :user_id AND NOT was_known AND \
             failed_at > :day_ago AND failed_at < :soon ORDER BY failed_at DESC LIMIT 1 OFFSET \
             :most",
            params! {
                ":user_id": user_id,
                ":day_ago": tried.now.minus(DAY).unix_millis(),
                ":soon": tried.now.plus(CLOCK_SLACK).unix_millis(),
                ":most": tried.limits.unknown_a_day.saturating_sub(1),
            },
            |row| timestamp(row, 0),
        )
        .map(|full| full.map(|full| full.plus(DAY)))
}

/// Counts a wrong code, and forgets those of more than a day ago.
pub(super) fn count_wrong(
    connection: &dyn Connection,
    user_id: UserId,
    tried: &FactorTry,
) -> StoreResult<()> {
    let was_known = is_known_network(connection, Some(user_id), &tried.network)?;
    connection.run(
        "DELETE FROM factor_failures WHERE user_id = :user_id AND failed_at <= :day_ago",
        params! {
            ":user_id": user_id, ":day_ago": tried.now.minus(DAY).unix_millis(),
        },
    )?;
    connection.run(
        "INSERT INTO factor_failures (user_id, network, was_known, failed_at) VALUES (:user_id, \
         :network, :was_known, :now)",
        params! {
            ":user_id": user_id,
            ":network": tried.network,
            ":was_known": was_known,
            ":now": tried.now.unix_millis(),
        },
    )
}

/// Ends the waits of a network after a right code.
pub(super) fn forget_wrong(
    connection: &dyn Connection,
    user_id: UserId,
    tried: &FactorTry,
) -> StoreResult<()> {
    connection.run(
        "DELETE FROM factor_failures WHERE user_id = :user_id AND network = :network AND was_known",
        params! { ":user_id": user_id, ":network": tried.network },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        let seconds = |failures| pause_after(failures).as_secs();
        assert_eq!([1, 2, 3, 12].map(seconds), [1, 2, 4, 2048]);
        assert_eq!([13, 14, 100, u32::MAX].map(seconds), [3600; 4]);
    }
}
