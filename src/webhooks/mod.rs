//! Webhooks: what happens to accounts, sent to other services (Standard Webhooks 1.0).
//!
//! [`EventBodies`] composes the bodies of events and keeps them encrypted in the queue,
//! [`signature`] signs them, and [`WebhookSender`] sends one to an endpoint and returns the
//! outcome of this try. When an event is sent, and what follows from an outcome, is decided in
//! [`crate::delivery`].

mod body;
mod received;
mod sender;
pub mod signature;

pub use body::EventBodies;
pub use received::{ReceivedEvent, ReceivedEvents};
pub use sender::{WebhookAnswer, WebhookMessage, WebhookSender, shown_host};
