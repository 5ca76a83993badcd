//! What the receiver of `--dev` got: the newest deliveries, in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::Timestamp;

/// Most deliveries that are kept; the oldest one is evicted.
const CAPACITY: usize = 1_000;

/// A delivery, in the key order of its JSON form.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ReceivedEvent {
    /// Counts from 1 in the order of arrival.
    pub id: u64,
    /// The header `webhook-id`: the same at each try.
    pub webhook_id: String,
    /// The header `webhook-timestamp`.
    pub webhook_timestamp: String,
    /// The header `webhook-signature`.
    pub webhook_signature: String,
    /// The body.
    pub body: Map<String, Value>,
    /// When it arrived.
    pub received_at: Timestamp,
}

/// The newest 1,000 deliveries, shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct ReceivedEvents(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    last_id: u64,
    /// Oldest first.
    events: VecDeque<ReceivedEvent>,
}

impl ReceivedEvent {
    /// The type of the event.
    pub fn kind(&self) -> Option<&str> {
        self.body.get("type").and_then(Value::as_str)
    }
}

impl ReceivedEvents {
    /// Adds a delivery and numbers it; evicts the oldest one when there is no room.
    pub fn add(&self, mut event: ReceivedEvent) {
        let mut ring = self.lock();
        ring.last_id += 1;
        event.id = ring.last_id;
        if ring.events.len() == CAPACITY {
            ring.events.pop_front();
        }
        ring.events.push_back(event);
    }

    /// Lists the deliveries, newest first; with `kind` only events of this type.
    pub fn list(&self, kind: Option<&str>) -> Vec<ReceivedEvent> {
        let ring = self.lock();
        let events = ring.events.iter().rev();
        events
            .filter(|event| kind.is_none() || event.kind() == kind)
            .cloned()
            .collect()
    }

    /// Removes all deliveries and restarts the numbers at 1.
    pub fn clear(&self) {
        *self.lock() = Ring::default();
    }

    /// No operation leaves the ring half changed, so a poisoned lock is harmless.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
