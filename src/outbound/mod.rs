//! HTTPS requests to servers that others name, such as receivers of webhooks.
//!
//! A URL that somebody else writes must not lead into this network (server-side request forgery).
//! [`Client`] therefore resolves a name once, demands that every address is public ([`address`]),
//! and connects to one of those that it has checked; the name goes into SNI and `Host`. It follows
//! no redirects, knows no proxies, and bounds time, headers and bytes of an answer.
//!
//! ```text
//! url       EndpointUrl: parsed once, normalised       client   requests and their time limit
//! address   which addresses are public                 pool     connections kept for the next request
//! resolver  names to addresses                         answer   status, headers, body
//! tls       certificates (also those of mail servers)  error    why there is no answer
//! ```
//!
//! It does not know what is sent, when a failure is retried, or what a status means.

pub mod address;
mod answer;
mod client;
mod error;
mod pool;
mod resolver;
pub(crate) mod tls;
mod url;

pub use self::url::{EndpointUrl, UrlProblem};
pub use answer::{Answer, BodyEnd};
pub use client::{Client, ClientLimits, ClientOptions, OutboundRequest};
pub use error::{FailureKind, OutboundError, Step};
pub use resolver::{Resolver, SystemResolver};
pub use tls::TlsSetupError;
