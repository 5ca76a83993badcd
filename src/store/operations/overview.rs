//! The state of a server in numbers, from counters that are kept beside the rows.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use crate::domain::{EventKind, Timestamp, UserId};
use crate::store::{DayCounts, Overview, OverviewStore, StoreResult};

/// Failed attempts after which a mail counts as failing: a single failure is often temporary.
pub(in crate::store) const FAILING_TRIES: u32 = 2;

/// Rows of an event in a day.
const SHARDS: i64 = 16;

/// Counts an event that the overview shows by day.
pub(super) fn count_by_day(
    connection: &dyn Connection,
    kind: EventKind,
    user_id: Option<UserId>,
    now: Timestamp,
) -> StoreResult<()> {
    if !kind.is_counted_by_day() {
        return Ok(());
    }
    connection.run(
        "INSERT INTO daily_counts (day, event, shard, count) VALUES (:day, :event, :shard, 1) ON \
         CONFLICT (day, event, shard) DO UPDATE SET count = daily_counts.count + 1",
        params! {
            ":day": now.unix_days(),
            ":event": kind.as_str(),
            ":shard": user_id.unwrap_or_default().rem_euclid(SHARDS),
        },
    )
}

fn read<E: Engine>(
    connection: &dyn Connection,
    first_day: i64,
    last_day: i64,
) -> StoreResult<Overview> {
    let users = E::count_users(connection)?;
    let mut overview = connection.query_row(
        "SELECT (SELECT count(*) FROM users WHERE is_staff), (SELECT count(*) FROM deliveries \
         WHERE webhook_id IS NULL), (SELECT count(*) FROM deliveries WHERE webhook_id IS NULL AND \
         tries >= :failing)",
        params! { ":failing": FAILING_TRIES },
        |row| {
            let number = |column| row.get::<i64>(column).map(i64::unsigned_abs);
            Ok(Overview {
                accounts: users.all,
                confirmed: users.confirmed,
                inactive: users.inactive,
                staff: number(0)?,
                mails_waiting: number(1)?,
                mails_failing: number(2)?,
                days: Vec::new(),
            })
        },
    )?;
    overview.days = (first_day..=last_day)
        .map(|day| DayCounts {
            day,
            ..DayCounts::default()
        })
        .collect();
    let counts = connection.query_all(
        "SELECT day, event, CAST(sum(count) AS BIGINT) FROM daily_counts WHERE day BETWEEN :first \
         AND :last GROUP BY day, event",
        params! { ":first": first_day, ":last": last_day },
        |row| {
            let kind = EventKind::parse(row.text(1)?);
            Ok((row.get::<i64>(0)?, kind, row.get::<i64>(2)?.unsigned_abs()))
        },
    )?;
    for (day, kind, count) in counts {
        let index = usize::try_from(day - first_day).unwrap_or(usize::MAX);
        let Some(day) = overview.days.get_mut(index) else {
            continue;
        };
        match kind {
            Some(EventKind::SignUp) => day.sign_ups = count,
            Some(EventKind::SignUpConfirmed) => day.confirmed = count,
            Some(EventKind::SignIn) => day.sign_ins = count,
            Some(EventKind::SignInFailed) => day.failed_sign_ins = count,
            _ => {}
        }
    }
    Ok(overview)
}

#[async_trait]
impl<E: Engine> OverviewStore for Database<E> {
    async fn read_overview(&self, first_day: i64, last_day: i64) -> StoreResult<Overview> {
        self.engine
            .read_long(move |connection| read::<E>(connection, first_day, last_day))
            .await
    }
}
