//! The state of the server in numbers, for staff.

use super::{AccountError, Administrator};
use crate::app::App;
use crate::store::Overview;

/// Days that the overview shows, today's included.
const DAYS: i64 = 30;

/// The numbers of now, and those of the last 30 days.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn read_overview(app: &App, by: Administrator<'_>) -> Result<Overview, AccountError> {
    by.context(app)?;
    let today = app.clock.now().unix_days();
    Ok(app.store.read_overview(today - (DAYS - 1), today).await?)
}
