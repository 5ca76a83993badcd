//! Observability: logs, metrics, request ids and readiness.

mod error_chain;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub(crate) mod request_id;

pub use error_chain::error_chain;
