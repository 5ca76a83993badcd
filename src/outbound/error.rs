//! Why a request got no answer.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio_rustls::rustls;

/// The step of a request that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The name, the connection or TLS.
    Connect,
    /// The answer's status and headers.
    Answer,
}

/// Why a request got no answer.
///
/// The texts are for the log: they name addresses. What clients and receivers may see is
/// [`OutboundError::kind`].
#[derive(Debug, Error)]
pub enum OutboundError {
    /// The name has no address, or none that can be found now.
    #[error("its name cannot be resolved: {0}")]
    Unresolvable(#[source] io::Error),
    /// An address is not public and not in an allowed network.
    #[error(
        "its address {address} is {purpose}; only public addresses and allow_networks are used"
    )]
    NotPublic {
        /// The address.
        address: IpAddr,
        /// What it is for.
        purpose: &'static str,
    },
    /// The URL has `http` and leads out of the allowed networks.
    #[error("its URL begins with http:// and {0} is not in allow_networks")]
    NotEncrypted(IpAddr),
    /// No address accepts a connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The certificate is not valid for the name.
    #[error("its certificate is refused: {0}")]
    Certificate(#[source] rustls::Error),
    /// TLS failed for another reason.
    #[error("TLS with {address} failed: {source}")]
    Tls {
        /// The address of the connection.
        address: SocketAddr,
        /// What failed.
        source: io::Error,
    },
    /// It took too long.
    #[error("{} within {limit:?}", late(*.step))]
    Timeout {
        /// What was waited for.
        step: Step,
        /// The limit of the whole request.
        limit: Duration,
    },
    /// The connection was closed before an answer.
    #[error("it closed the connection without an answer")]
    Closed,
    /// The answer is not HTTP, or its headers exceed the limits.
    #[error("its answer is not valid HTTP: {0}")]
    Protocol(#[source] hyper::Error),
    /// The request cannot be made of its parts.
    #[error("the request is invalid: {0}")]
    Request(#[source] http::Error),
}

const fn late(step: Step) -> &'static str {
    match step {
        Step::Connect => "no connection",
        Step::Answer => "no answer",
    }
}

/// Kinds of failure, without the details that would reveal this network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// There is no address that may be used: one text for names and addresses of all kinds.
    Unreachable,
    /// A public address accepts no connection, or closes it without an answer.
    Connection,
    /// TLS failed.
    Tls,
    /// It took too long.
    Timeout,
    /// The answer is not HTTP.
    Protocol,
}

impl FailureKind {
    /// The name in the database, the API and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }
}

impl OutboundError {
    /// What may be shown to those who have named the URL.
    pub const fn kind(&self) -> FailureKind {
        match self {
            Self::Unresolvable(_) | Self::NotPublic { .. } | Self::NotEncrypted(_) => {
                FailureKind::Unreachable
            }
            Self::Connect { .. } | Self::Closed => FailureKind::Connection,
            Self::Certificate(_) | Self::Tls { .. } => FailureKind::Tls,
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::Protocol(_) | Self::Request(_) => FailureKind::Protocol,
        }
    }

    /// A failed handshake.
    pub(super) fn tls(address: SocketAddr, source: io::Error) -> Self {
        let cause = source.get_ref().and_then(|e| e.downcast_ref());
        match cause {
            Some(cause @ rustls::Error::InvalidCertificate(_)) => Self::Certificate(cause.clone()),
            _ => Self::Tls { address, source },
        }
    }

    /// A failed request on an open connection.
    pub(super) fn http(error: hyper::Error) -> Self {
        let is_lost = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
        // What the system says of the connection, such as a reset.
        let is_io =
            std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<io::Error>);
        if is_lost || is_io {
            Self::Closed
        } else {
            Self::Protocol(error)
        }
    }
}
