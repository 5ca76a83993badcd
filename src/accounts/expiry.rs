//! Removing expired rows and accounts that were never verified.

use std::time::Duration;

use super::{AccountError, remove_old_keys};
use crate::app::App;

/// Removes expired rows, including audit entries beyond their retention. Returns their number.
///
/// # Errors
/// Only store errors.
pub async fn clear_expired(app: &App) -> Result<usize, AccountError> {
    let now = app.clock.now();
    let before =
        |days: u32| (days > 0).then(|| now.minus(Duration::from_secs(86_400 * u64::from(days))));
    let events_before = before(app.config.audit.retention_days);
    let unverified_before = before(app.config.accounts.unverified_days);
    let keys = remove_old_keys(app).await?;
    Ok(keys
        + app
            .store
            .delete_expired(now, events_before, unverified_before)
            .await?)
}
