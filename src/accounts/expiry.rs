//! Clearing away what is over.

use std::time::Duration;

use super::{AccountError, remove_old_keys};
use crate::app::App;

/// Removes what has expired, entries of the audit log that are older than they are to be kept included. Gives the number of
/// rows.
///
/// # Errors
/// Only by a fault of the store.
pub async fn clear_expired(app: &App) -> Result<usize, AccountError> {
    let now = app.clock.now();
    let days = app.config.audit.retention_days;
    let events_before =
        (days > 0).then(|| now.minus(Duration::from_secs(86_400 * u64::from(days))));
    let keys = remove_old_keys(app).await?;
    Ok(keys + app.store.delete_expired(now, events_before).await?)
}
