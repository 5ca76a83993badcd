//! The state of a server in numbers, from counters that are kept beside the rows.

use async_trait::async_trait;
use rusqlite::{Connection, named_params};

use super::SqliteStore;
use super::examination::FAILING_TRIES;
use crate::domain::{EventKind, Timestamp};
use crate::store::{DayCounts, Overview, OverviewStore, StoreResult};

/// Counts an event that the overview shows by day.
pub(super) fn count_by_day(
    connection: &Connection,
    kind: EventKind,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if !kind.is_counted_by_day() {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO daily_counts (day, event, count) VALUES (:day, :event, 1) \
             ON CONFLICT (day, event) DO UPDATE SET count = count + 1",
        )?
        .execute(named_params! {
            ":day": now.unix_days(), ":event": kind.as_str(),
        })
        .map(drop)
}

fn read(connection: &Connection, first_day: i64, last_day: i64) -> rusqlite::Result<Overview> {
    let transaction = connection.unchecked_transaction()?;
    let mut overview = transaction
        .prepare_cached(
            "SELECT coalesce(sum(users), 0), coalesce(sum(users * is_verified), 0), \
             coalesce(sum(users * (1 - is_active)), 0), \
             (SELECT count(*) FROM users WHERE is_staff), \
             (SELECT count(*) FROM deliveries WHERE webhook_id IS NULL), \
             (SELECT count(*) FROM deliveries WHERE webhook_id IS NULL AND tries >= :failing) FROM user_counts",
        )?
        .query_row(named_params! { ":failing": FAILING_TRIES }, |row| {
            let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(Overview {
                accounts: number(0)?,
                confirmed: number(1)?,
                inactive: number(2)?,
                staff: number(3)?,
                mails_waiting: number(4)?,
                mails_failing: number(5)?,
                days: Vec::new(),
            })
        })?;
    overview.days = (first_day..=last_day)
        .map(|day| DayCounts {
            day,
            ..DayCounts::default()
        })
        .collect();
    let mut statement = transaction.prepare_cached(
        "SELECT day, event, count FROM daily_counts WHERE day BETWEEN :first AND :last",
    )?;
    let mut rows = statement.query(named_params! { ":first": first_day, ":last": last_day })?;
    while let Some(row) = rows.next()? {
        let index = usize::try_from(row.get::<_, i64>(0)? - first_day).unwrap_or(usize::MAX);
        let kind = EventKind::parse(row.get_ref(1)?.as_str()?);
        let count = row.get::<_, i64>(2)?.unsigned_abs();
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
impl OverviewStore for SqliteStore {
    async fn read_overview(&self, first_day: i64, last_day: i64) -> StoreResult<Overview> {
        self.read_apart(move |connection| read(connection, first_day, last_day))
            .await
    }
}
