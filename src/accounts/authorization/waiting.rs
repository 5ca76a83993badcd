//! Requests that wait in the store: for their user to sign in or to decide, or because they came by a
//! form of another site, whose cookies say nothing.
//!
//! Only a random id is in the address of the pages that continue them.

use std::time::Duration;

use super::parameters::{MAX_LENGTH, Parameters};
use super::request::{RequestError, RequestFault};
use crate::accounts::browser_session::hash;
use crate::accounts::{AccountError, Client};
use crate::app::App;
use crate::crypto::random;
use crate::domain::Timestamp;
use crate::limits::Limited;
use crate::store::NewAuthorizationRequest;

/// How long somebody may take to sign up or in, and to find the code in a mail.
const LIFETIME: Duration = Duration::from_hours(1);

/// The parameter with the time at which a kept request came, in milliseconds since 1970.
const RECEIVED_AT: &str = "received_at";

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signing in.
    Authorization,
    /// Signing out.
    SignOut,
}

impl Purpose {
    /// The hash that a request is stored under. A request is found for its own purpose alone.
    pub(super) fn hash(self, id: &str) -> Vec<u8> {
        match self {
            Self::Authorization => hash(&format!("authorization {id}")),
            Self::SignOut => hash(&format!("sign-out {id}")),
        }
    }
}

/// A request that waited.
#[derive(Clone, Debug)]
pub struct WaitingRequest {
    /// Its id.
    pub id: String,
    /// Its parameters.
    pub parameters: Parameters,
    /// When it came.
    pub received_at: Timestamp,
}

/// Keeps a request for an hour. Returns its id.
///
/// # Errors
/// When it is too long; [`AccountError::Throttled`] for a network that sends many.
pub async fn keep_request(
    app: &App,
    purpose: Purpose,
    parameters: &Parameters,
    client: &Client,
) -> Result<String, RequestError> {
    let query = parameters.to_query();
    if query.len() > MAX_LENGTH {
        return Err(RequestError::Fault(RequestFault::TooLong));
    }
    client.count(app, Limited::AuthorizationRequest)?;
    let (id, now) = (random::secret(), app.clock.now());
    let request = NewAuthorizationRequest {
        id_hash: purpose.hash(&id),
        parameters: format!("{RECEIVED_AT}={}&{query}", now.unix_millis()),
        expires_at: now.plus(LIFETIME),
    };
    app.store.create_authorization_request(request).await?;
    Ok(id)
}

/// Finds a request that waits.
///
/// # Errors
/// [`RequestFault::Expired`].
pub async fn find_waiting_request(
    app: &App,
    purpose: Purpose,
    id: &str,
) -> Result<WaitingRequest, RequestError> {
    let now = app.clock.now();
    let found = app
        .store
        .find_authorization_request(&purpose.hash(id), now)
        .await?;
    let found = found.ok_or(RequestError::Fault(RequestFault::Expired))?;
    let received_at = found
        .split_once('&')
        .and_then(|(first, _)| first.strip_prefix(RECEIVED_AT)?.strip_prefix('='))
        .and_then(|millis| millis.parse().ok())
        .ok_or_else(|| AccountError::Internal("a stored request is malformed".into()))?;
    let (_, query) = found.split_once('&').unwrap_or_default();
    Ok(WaitingRequest {
        id: id.to_owned(),
        parameters: Parameters::parse(query),
        received_at: Timestamp::from_unix_millis(received_at),
    })
}
