//! What operators see of the running server: logs, metrics, request ids and readiness.

pub mod logging;
pub mod metrics;
pub mod readiness;
pub(crate) mod request_id;
