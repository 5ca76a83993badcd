//! Request ids, task-local so that every log line can contain one.

use std::str;

use tokio::task_local;

use crate::crypto::random;

/// Length of an id in digits.
const LENGTH: usize = 16;

/// The id of a request: 64 random bits in 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId([u8; LENGTH]);

impl RequestId {
    /// A new random id.
    pub(crate) fn new() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let random: [u8; LENGTH / 2] = random::bytes();
        Self(std::array::from_fn(|index| {
            let byte = random[index / 2];
            let digit = if index % 2 == 0 { byte >> 4 } else { byte & 15 };
            DIGITS[usize::from(digit)]
        }))
    }

    /// Its digits.
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

task_local! {
    static REQUEST_ID: RequestId;
}

/// Runs the work of a request with its id.
pub(crate) async fn scope<T>(id: RequestId, work: impl Future<Output = T>) -> T {
    REQUEST_ID.scope(id, work).await
}

/// Keeps the current id for work that is spawned as another task.
pub(crate) fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let id = current();
    async move {
        match id {
            Some(id) => REQUEST_ID.scope(id, work).await,
            None => work.await,
        }
    }
}

/// The id of the current request, if there is one.
pub(crate) fn current() -> Option<RequestId> {
    REQUEST_ID.try_with(|id| *id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn spawned_tasks_keep_the_id() {
        assert_eq!(current(), None);
        let id = RequestId::new();
        scope(id, async {
            assert_eq!(current(), Some(id));
            let bare = tokio::spawn(async { current() });
            assert_eq!(bare.await.unwrap(), None);
            let task = tokio::spawn(carried(async { current() }));
            assert_eq!(task.await.unwrap(), Some(id));
        })
        .await;
        assert_eq!(tokio::spawn(carried(async { 7 })).await.unwrap(), 7);
    }

    #[test]
    fn ids_are_sixteen_random_digits() {
        let id = RequestId::new();
        assert_eq!(id.as_str().len(), 16);
        assert!(id.as_str().bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(id, RequestId::new());
    }
}
