//! Removing expired rows.

use std::time::Duration;

use super::{AccountError, remove_old_keys};
use crate::app::App;

/// Removes expired rows, including audit entries beyond their retention. Returns their number.
///
/// # Errors
/// Only store errors.
pub async fn clear_expired(app: &App) -> Result<usize, AccountError> {
    let now = app.clock.now();
    let days = app.config.audit.retention_days;
    let events_before =
        (days > 0).then(|| now.minus(Duration::from_secs(86_400 * u64::from(days))));
    let keys = remove_old_keys(app).await?;
    Ok(keys + app.store.delete_expired(now, events_before).await?)
}
