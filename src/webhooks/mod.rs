//! Webhooks: what happens to accounts, sent to other services (Standard Webhooks 1.0).
//!
//! [`signature`] signs bodies, and [`WebhookSender`] sends one to an endpoint and returns the
//! outcome of this try. Which events exist, when they are sent and what follows from an outcome is
//! not known here.

mod sender;
pub mod signature;

pub use sender::{WebhookAnswer, WebhookMessage, WebhookSender};
