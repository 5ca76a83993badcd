//! The identities of an account: listing, connecting and disconnecting them.

use super::apps::{Connection, read_connection, redeem};
use super::sign_in::connection_mails;
use super::site_ways;
use crate::accounts::new_password::notices;
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::{AccountError, Caller, Client, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{FieldErrors, FieldReader, Fields, UserId, messages};
use crate::mail::MailContent;
use crate::store::{
    ConnectIdentity, ConnectOutcome, DisconnectIdentity, DisconnectOutcome, Identity,
    ProvenIdentity, ProviderPurpose,
};

/// Most identities of an account.
pub(in crate::accounts) const MOST_IDENTITIES: usize = 20;

/// The identities of the caller, oldest first.
///
/// # Errors
/// Only store errors.
pub async fn list_identities(app: &App, caller: &Caller) -> Result<Vec<Identity>, AccountError> {
    list_user_identities(app, caller.user.id).await
}

/// The identities of an account, for administrators.
///
/// # Errors
/// Only store errors.
pub async fn list_user_identities(
    app: &App,
    user_id: UserId,
) -> Result<Vec<Identity>, AccountError> {
    Ok(app.store.list_identities(user_id).await?)
}

/// Connects an identity to the caller's account: that of a ticket, or that of a code whose request was
/// started in the caller's session.
///
/// # Errors
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::Fields`] about ticket or code;
/// [`AccountError::IdentityTaken`]; [`AccountError::TooManyIdentities`];
/// [`AccountError::Overloaded`] when the provider cannot be asked; [`AccountError::Throttled`].
pub async fn connect_identity(
    app: &App,
    caller: &Caller,
    fields: &Fields,
    client: &Client,
) -> Result<Identity, AccountError> {
    let caller = &recheck(app, caller).await?;
    require_recent(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let connection = read_connection(&mut reader);
    reader.finish()?;
    match connection.ok_or_else(unread)? {
        Connection::Ticket(ticket) => {
            let hash = app.codes.hash_identity_ticket(&ticket);
            let (user_id, now) = (caller.user.id, app.clock.now());
            let found = app.store.find_identity_ticket(&hash, user_id, now).await?;
            let proven = found.ok_or_else(invalid_ticket)?;
            connect(app, caller, proven, Some(hash), client).await
        }
        Connection::Code(code, verifier) => {
            let session_id = caller.session_id();
            let (_, person) = redeem(app, &(code, verifier), client, |request| {
                let expected = ProviderPurpose::Connection(session_id.to_owned());
                request.purpose == expected && request.user_id == Some(caller.user.id)
            })
            .await?;
            connect(app, caller, person.proven, None, client).await
        }
    }
}

/// Connects an identity that was proven, or the one of a ticket.
pub(super) async fn connect(
    app: &App,
    caller: &Caller,
    proven: ProvenIdentity,
    ticket_hash: Option<Vec<u8>>,
    client: &Client,
) -> Result<Identity, AccountError> {
    let (user_id, now) = (caller.user.id, app.clock.now());
    let name = provider_name(app, &proven);
    let request = ConnectIdentity {
        user_id,
        mails: connection_mails(app, client, (&name, &proven.email), now),
        proven,
        new_id: random::id(),
        ticket_hash,
        max: MOST_IDENTITIES,
        context: client.context(Some(caller)),
        now,
    };
    match app.store.connect_identity(request).await? {
        ConnectOutcome::Connected(identity) => {
            app.outbox.wake().await;
            log::info!("user {user_id}: connected to {}", identity.proven.provider);
            Ok(*identity)
        }
        ConnectOutcome::Taken => Err(AccountError::IdentityTaken),
        ConnectOutcome::InvalidTicket => Err(invalid_ticket()),
        ConnectOutcome::TooMany => Err(AccountError::TooManyIdentities),
    }
}

/// What people call the provider of an identity.
fn provider_name(app: &App, proven: &ProvenIdentity) -> String {
    let provider = app.providers.get(&proven.provider);
    provider.map_or_else(
        || proven.provider.clone(),
        |provider| provider.name().to_owned(),
    )
}

/// The error for a ticket that does not count.
fn invalid_ticket() -> AccountError {
    FieldErrors::one("ephemeral_token", messages::INVALID_TOKEN).into()
}

/// Removes an identity of the caller.
///
/// # Errors
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::LastWayIn`] when the account could not sign in without it.
pub async fn disconnect_identity(
    app: &App,
    caller: &Caller,
    id: &str,
    client: &Client,
) -> Result<(), AccountError> {
    let caller = &recheck(app, caller).await?;
    require_recent(app, caller).await?;
    let user_id = caller.user.id;
    let identities = app.store.list_identities(user_id).await?;
    let identity = identities.into_iter().find(|identity| identity.id == id);
    let identity = identity.ok_or(AccountError::NotFound)?;
    let content = MailContent::IdentityDisconnected {
        provider: provider_name(app, &identity.proven),
        email: identity.proven.email,
        ip: client.shown_ip(),
    };
    let removal = DisconnectIdentity {
        user_id,
        id: identity.id,
        ways: site_ways(app),
        notices: notices(app, &content),
        context: client.context(Some(caller)),
        now: app.clock.now(),
    };
    match app.store.disconnect_identity(removal).await? {
        DisconnectOutcome::Disconnected => {
            app.outbox.wake().await;
            log::info!(
                "user {user_id}: disconnected from {}",
                identity.proven.provider
            );
            Ok(())
        }
        DisconnectOutcome::NotFound => Err(AccountError::NotFound),
        DisconnectOutcome::LastWayIn => Err(AccountError::LastWayIn),
    }
}
