//! The id of the request that a task works for, so that every line of the log can name it.

use std::sync::Arc;

use tokio::task_local;

task_local! {
    static REQUEST_ID: Arc<str>;
}

/// Runs the work for a request under its id.
pub(crate) async fn scope<T>(id: &str, work: impl Future<Output = T>) -> T {
    REQUEST_ID.scope(id.into(), work).await
}

/// Work that goes on in a task of its own, under the id of the request that began it.
pub(crate) fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let id = REQUEST_ID.try_with(Arc::clone).ok();
    async move {
        match id {
            Some(id) => REQUEST_ID.scope(id, work).await,
            None => work.await,
        }
    }
}

/// Does something with the id of the request that this is done for, if it is for one.
pub(crate) fn with<T>(then: impl FnOnce(Option<&str>) -> T) -> T {
    let id = REQUEST_ID.try_with(Arc::clone).ok();
    then(id.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_id_goes_along_into_other_tasks() {
        let id = || with(|id| id.map(str::to_owned));
        assert_eq!(id(), None);
        scope("one", async {
            assert_eq!(id(), Some("one".into()));
            let bare = tokio::spawn(async move { with(|id| id.is_some()) });
            assert!(!bare.await.unwrap());
            let task = tokio::spawn(carried(async { with(|id| id.map(str::to_owned)) }));
            assert_eq!(task.await.unwrap(), Some("one".into()));
        })
        .await;
        assert_eq!(tokio::spawn(carried(async { 7 })).await.unwrap(), 7);
    }
}
