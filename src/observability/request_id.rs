//! The id of the request that a task works for, so that every line of the log can name it.

use std::str;

use tokio::task_local;

use crate::crypto::random;

/// Digits of an id.
const LENGTH: usize = 16;

/// A name for one request: 64 random bits in 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId([u8; LENGTH]);

impl RequestId {
    /// Another one.
    pub(crate) fn new() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let random: [u8; LENGTH / 2] = random::bytes();
        Self(std::array::from_fn(|index| {
            let byte = random[index / 2];
            let digit = if index % 2 == 0 { byte >> 4 } else { byte & 15 };
            DIGITS[usize::from(digit)]
        }))
    }

    /// As it is written.
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

task_local! {
    static REQUEST_ID: RequestId;
}

/// Runs the work for a request under its id.
pub(crate) async fn scope<T>(id: RequestId, work: impl Future<Output = T>) -> T {
    REQUEST_ID.scope(id, work).await
}

/// Work that goes on in a task of its own, under the id of the request that began it.
pub(crate) fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let id = current();
    async move {
        match id {
            Some(id) => REQUEST_ID.scope(id, work).await,
            None => work.await,
        }
    }
}

/// The id of the request that this is done for, if it is for one.
pub(crate) fn current() -> Option<RequestId> {
    REQUEST_ID.try_with(|id| *id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_id_goes_along_into_other_tasks() {
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
    fn an_id_is_sixteen_digits_and_no_two_are_the_same() {
        let id = RequestId::new();
        assert_eq!(id.as_str().len(), 16);
        assert!(id.as_str().bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(id, RequestId::new());
    }
}
