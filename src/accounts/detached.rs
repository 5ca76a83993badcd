//! Tasks that finish even when their request is cancelled.

use super::AccountError;
use crate::observability::request_id;

/// Runs a task that continues when the client disconnects.
///
/// # Errors
/// When the task panicked.
pub(super) async fn detached<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Result<T, AccountError> {
    tokio::spawn(request_id::carried(task))
        .await
        .map_err(|e| AccountError::Internal(e.into()))
}
