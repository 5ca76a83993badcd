//! Password attempts, and the known networks of accounts.

use std::time::Duration;

use async_trait::async_trait;

use super::connection::{Connection, params};
use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::lock::Keys;
use super::otps::CLOCK_SLACK;
use super::rows::optional_timestamp;
use super::transaction::Transaction;
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::{PasswordTry, PasswordTryLimits, PasswordTryStore, StoreResult, TrySource};

const HOUR: Duration = Duration::from_hours(1);

/// How long a failure is kept.
pub(super) const REMEMBER_FAILURES: Duration = Duration::from_hours(24);

/// Maximum number of failures; the oldest are evicted. Password hashing is too slow for anybody to
/// cause as many in a day.
const MOST_FAILURES: i64 = 500_000;

/// Maximum number of networks per account; the least recently seen is evicted.
const MOST_NETWORKS: u32 = 100;

/// How long a network is kept after the last sign-in from it.
pub(super) const REMEMBER_NETWORKS: Duration = Duration::from_hours(365 * 24);

/// The name of a source in the table. A network never has the prefix of a session.
fn name(source: &TrySource) -> String {
    match source {
        TrySource::Network(network) => network.clone(),
        TrySource::Session(id) => format!("session {id}"),
    }
}

/// When the next attempt from a source is allowed; `None` when it is allowed now.
pub(super) fn find_pause(
    connection: &dyn Connection,
    tried: &PasswordTry,
) -> StoreResult<Option<Timestamp>> {
    let Some(limits) = tried.limits else {
        return Ok(None);
    };
    let source = name(&tried.source);
    let soon = tried.now.plus(CLOCK_SLACK).unix_millis();
    let (failures, last): (u32, Option<Timestamp>) = connection.query_row(
        "SELECT count(*), max(failed_at) FROM password_failures WHERE account_hash = :account AND \
         failed_at > :remembered AND failed_at < :soon AND source = :source",
        params! {
            ":account": tried.account,
            ":soon": soon,
            ":remembered": tried.now.minus(REMEMBER_FAILURES).unix_millis(),
            ":source": source,
        },
        |row| Ok((row.get(0)?, optional_timestamp(row, 1)?)),
    )?;
    // The failure that reaches the limit of the hour, if one does.
    let full: Option<Timestamp> = connection
        .query_optional(
            "SELECT failed_at FROM password_failures WHERE account_hash = :account AND failed_at > \
             :hour_ago AND failed_at < :soon ORDER BY failed_at DESC LIMIT 1 OFFSET :most",
            params! {
                ":account": tried.account,
                ":soon": soon,
                ":hour_ago": tried.now.minus(HOUR).unix_millis(),
                ":most": limits.an_hour.saturating_sub(1),
            },
            |row| optional_timestamp(row, 0),
        )?
        .flatten();
    if failures < limits.free && full.is_none() {
        return Ok(None);
    }
    let origin = match &tried.source {
        TrySource::Session(_) => Origin::Session,
        TrySource::Network(_) if is_known_network(connection, tried.user_id, &source)? => {
            Origin::KnownNetwork
        }
        TrySource::Network(_) => Origin::UnknownNetwork,
    };
    let until = next_at(limits, origin, (failures, last), full);
    Ok(until.filter(|until| *until > tried.now))
}

/// Where attempts come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Session,
    KnownNetwork,
    UnknownNetwork,
}

/// When the next attempt is allowed after a number of failures of its source, the last of which is
/// given, and after the failure that has reached the limit of the hour.
fn next_at(
    limits: PasswordTryLimits,
    origin: Origin,
    (failures, last): (u32, Option<Timestamp>),
    full: Option<Timestamp>,
) -> Option<Timestamp> {
    let longest = match origin {
        Origin::KnownNetwork => limits.max_pause_if_known,
        Origin::Session | Origin::UnknownNetwork => limits.max_pause,
    };
    let after_pause = failures.checked_sub(limits.free).and_then(|beyond| {
        let doubled = limits
            .first_pause
            .saturating_mul(2u32.saturating_pow(beyond));
        Some(last?.plus(doubled.min(longest)))
    });
    // Failures of others shut out nobody who has signed in before.
    let after_hour = full
        .filter(|_| origin == Origin::UnknownNetwork)
        .map(|full| full.plus(HOUR));
    after_pause.max(after_hour)
}

pub(super) fn is_known_network(
    connection: &dyn Connection,
    user_id: Option<UserId>,
    network: &str,
) -> StoreResult<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM known_networks WHERE user_id = :user_id AND network = \
         :network)",
        params! { ":user_id": user_id, ":network": network },
        |row| row.get(0),
    )
}

fn count_failure(
    connection: &Transaction<'_>,
    tried: &PasswordTry,
) -> StoreResult<Option<Timestamp>> {
    if let Some(until) = find_pause(connection, tried)? {
        return Ok(Some(until));
    }
    let kind = match tried.source {
        TrySource::Network(_) => EventKind::SignInFailed,
        TrySource::Session(_) => EventKind::PasswordCheckFailed,
    };
    insert_event(
        connection,
        kind,
        tried.user_id,
        Actor::FromContext,
        &tried.context,
        "",
        tried.now,
    )?;
    if tried.limits.is_none() {
        return Ok(None);
    }
    connection.run(
        "INSERT INTO password_failures (account_hash, source, failed_at) VALUES (:account, \
         :source, :now)",
        params! {
            ":account": tried.account,
            ":source": name(&tried.source),
            ":now": tried.now.unix_millis(),
        },
    )?;
    // Ids ascend, so this deletes the oldest row or none.
    connection.run(
        "DELETE FROM password_failures WHERE id <= (SELECT max(id) FROM password_failures) - :most",
        params! { ":most": MOST_FAILURES },
    )?;
    Ok(None)
}

/// Deletes the failures of a source after a correct password.
pub(super) fn forget_failures(connection: &dyn Connection, tried: &PasswordTry) -> StoreResult<()> {
    connection.run(
        "DELETE FROM password_failures WHERE account_hash = :account AND source = :source",
        params! { ":account": tried.account, ":source": name(&tried.source) },
    )
}

/// Records that the owner of an account was authenticated from a network, by password or by a
/// mailed code. Returns whether the network is new to the account.
pub(super) fn note_network(
    connection: &dyn Connection,
    user_id: UserId,
    network: &str,
    now: Timestamp,
) -> StoreResult<bool> {
    let seen = connection.execute(
        "UPDATE known_networks SET last_seen_at = :now WHERE user_id = :user_id AND network = \
         :network",
        params! {
            ":user_id": user_id, ":network": network, ":now": now.unix_millis(),
        },
    )?;
    if seen > 0 {
        return Ok(false);
    }
    connection.run(
        "INSERT INTO known_networks (user_id, network, first_seen_at, last_seen_at) VALUES \
         (:user_id, :network, :now, :now)",
        params! {
            ":user_id": user_id, ":network": network, ":now": now.unix_millis(),
        },
    )?;
    connection.run(
        "DELETE FROM known_networks WHERE user_id = :user_id AND network IN (SELECT network FROM \
         known_networks WHERE user_id = :user_id ORDER BY last_seen_at DESC, network LIMIT 1000000 \
         OFFSET :most)",
        params! { ":user_id": user_id, ":most": MOST_NETWORKS },
    )?;
    Ok(true)
}

#[async_trait]
impl<E: Engine> PasswordTryStore for Database<E> {
    async fn find_password_pause(&self, tried: &PasswordTry) -> StoreResult<Option<Timestamp>> {
        let tried = tried.clone();
        self.engine
            .read(move |connection| find_pause(connection, &tried))
            .await
    }

    async fn is_network_known(&self, user_id: UserId, network: &str) -> StoreResult<bool> {
        let network = network.to_owned();
        self.engine
            .read(move |connection| is_known_network(connection, Some(user_id), &network))
            .await
    }

    async fn count_failed_password(&self, tried: PasswordTry) -> StoreResult<Option<Timestamp>> {
        self.engine
            .write_for(
                tried
                    .user_id
                    .map_or_else(Keys::none, Keys::user)
                    .and_hash(&tried.account),
                move |connection| count_failure(connection, &tried),
            )
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PasswordTryLimits = PasswordTryLimits {
        free: 5,
        first_pause: Duration::from_secs(2),
        max_pause: Duration::from_mins(15),
        max_pause_if_known: Duration::from_secs(30),
        an_hour: 100,
    };

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(seconds * 1000)
    }

    #[test]
    fn pauses_double_up_to_that_of_the_origin() {
        use Origin::{KnownNetwork, Session, UnknownNetwork};
        for (origin, failures, expected) in [
            (UnknownNetwork, 4, None),
            (UnknownNetwork, 5, Some(1002)),
            (UnknownNetwork, 7, Some(1008)),
            (UnknownNetwork, 40, Some(1900)),
            (UnknownNetwork, u32::MAX, Some(1900)),
            (KnownNetwork, 7, Some(1008)),
            (KnownNetwork, 40, Some(1030)),
            (Session, 40, Some(1900)),
        ] {
            let until = next_at(LIMITS, origin, (failures, Some(at(1000))), None);
            assert_eq!(until, expected.map(at), "{failures}");
        }
    }

    #[test]
    fn failures_of_all_networks_shut_out_only_unknown_ones() {
        let full = Some(at(500));
        let after = |origin| next_at(LIMITS, origin, (0, None), full);
        assert_eq!(after(Origin::UnknownNetwork), Some(at(4100)));
        assert_eq!(after(Origin::KnownNetwork), None);
        assert_eq!(after(Origin::Session), None);
        // The later of both.
        let both = next_at(LIMITS, Origin::UnknownNetwork, (40, Some(at(4000))), full);
        assert_eq!(both, Some(at(4900)));
    }
}
