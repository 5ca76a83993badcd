//! What is requested from a provider and kept for an hour.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::error::ProviderError;
use crate::domain::Timestamp;

/// How long it is kept.
const LIFETIME: Duration = Duration::from_hours(1);

/// How long there is no other look before that, whatever asks for it.
const PAUSE: Duration = Duration::from_mins(1);

/// A value that is fetched when it is needed, by one request at a time.
pub(super) struct Cached<T> {
    state: Mutex<State<T>>,
    failures: AtomicU64,
}

struct State<T> {
    value: Option<(Arc<T>, Timestamp)>,
    last_failure: Option<ProviderError>,
    last_look: Option<Timestamp>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                value: None,
                last_failure: None,
                last_look: None,
            }),
            failures: AtomicU64::new(0),
        }
    }
}

impl<T> Cached<T> {
    /// The value, fetched if there is none or it is too old.
    ///
    /// Those who wait while somebody else fetches share the outcome, also a failure: a provider that
    /// does not answer would otherwise hold each of them up in turn.
    pub(super) async fn get(
        &self,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<Arc<T>, ProviderError> {
        let failures = self.failures.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some((value, fetched_at)) = &state.value
            && now.since(*fetched_at) < LIFETIME
        {
            return Ok(Arc::clone(value));
        }
        if failures != self.failures.load(Ordering::SeqCst)
            && let Some(failure) = &state.last_failure
        {
            return Err(failure.clone());
        }
        let fetched = fetch.await;
        self.keep(&mut state, now, fetched)
    }

    /// Fetches the value although it is not old, at most once a minute; `None` where that was done
    /// already.
    pub(super) async fn look_again(
        &self,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, ProviderError>>,
    ) -> Option<Result<Arc<T>, ProviderError>> {
        let mut state = self.state.lock().await;
        if state.last_look.is_some_and(|last| now.since(last) < PAUSE) {
            // Somebody who waited meanwhile gets what was found.
            return state.value.as_ref().map(|(value, _)| Ok(Arc::clone(value)));
        }
        state.last_look = Some(now);
        let fetched = fetch.await;
        Some(self.keep(&mut state, now, fetched))
    }

    fn keep(
        &self,
        state: &mut State<T>,
        now: Timestamp,
        fetched: Result<T, ProviderError>,
    ) -> Result<Arc<T>, ProviderError> {
        match fetched {
            Ok(value) => {
                let value = Arc::new(value);
                state.value = Some((Arc::clone(&value), now));
                Ok(value)
            }
            Err(failure) => {
                state.last_failure = Some(failure.clone());
                self.failures.fetch_add(1, Ordering::SeqCst);
                Err(failure)
            }
        }
    }
}
