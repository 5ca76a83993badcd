//! The second step of a sign-in: a ticket for a client that has shown the password, and its
//! exchange for a session.

use std::time::Duration;

use super::passkeys::{begin, request_options, second_step};
use super::proofs::{self, Shown, accepted, factor_try, refused};
use crate::accounts::{AccountError, Client, Signed, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::webauthn::RequestOptions;
use crate::domain::{AuthMethod, FieldReader, Fields, SecondFactor, Timestamp};
use crate::limits::Limited;
use crate::store::{CompleteOutcome, CompleteSignIn, NewTicket, Ticket};

/// The field of a ticket.
const TICKET: &str = "ephemeral_token";

/// Longest ticket, in characters.
const TICKET_LENGTH: usize = 128;

/// How long the second step may take.
const TICKET_LIFE: Duration = Duration::from_mins(5);

/// A new ticket for somebody who has authenticated by a method: its token, and what the store keeps
/// of it.
pub(in crate::accounts) fn new_ticket(
    app: &App,
    method: AuthMethod,
    now: Timestamp,
) -> (String, NewTicket) {
    let token = random::id() + &random::id();
    let ticket = NewTicket {
        token_hash: app.codes.hash_ticket(&token),
        method,
        expires_at: now.plus(TICKET_LIFE),
    };
    (token, ticket)
}

/// Begins the use of a passkey as the second step of the sign-in with a ticket.
///
/// # Errors
/// [`AccountError::InvalidToken`] when the ticket is unknown, used, expired or void;
/// [`AccountError::FactorNotEnabled`] when the account has no passkey; [`AccountError::Throttled`].
pub async fn start_second_step(
    app: &App,
    fields: &Fields,
    client: &Client,
) -> Result<RequestOptions, AccountError> {
    let mut reader = FieldReader::new(fields);
    let token = read_ticket(&mut reader);
    reader.finish()?;
    let token_hash = app.codes.hash_ticket(&token.ok_or_else(unread)?);
    let ticket = find_ticket(app, client, &token_hash).await?;
    let methods = super::methods(app, &ticket.factors);
    if !methods.contains(&SecondFactor::Webauthn) {
        return Err(AccountError::FactorNotEnabled);
    }
    let challenge = begin(app, client, second_step(&token_hash)).await?;
    Ok(request_options(app, &challenge, &ticket.factors.passkeys))
}

/// The live ticket with this hash. Guesses at tickets are limited.
async fn find_ticket(
    app: &App,
    client: &Client,
    token_hash: &[u8],
) -> Result<Ticket, AccountError> {
    client.check_limit(app, Limited::FailedSignIn)?;
    let ticket = app.store.find_ticket(token_hash, app.clock.now()).await?;
    let Some(ticket) = ticket else {
        client.count(app, Limited::FailedSignIn)?;
        return Err(AccountError::InvalidToken);
    };
    Ok(ticket)
}

/// Starts a session by a ticket and a code of an authenticator app, a recovery code or a passkey.
///
/// # Errors
/// [`AccountError::InvalidToken`] when the ticket is unknown, used, expired or void;
/// [`AccountError::InvalidPassword`] for a wrong code or passkey; [`AccountError::Throttled`].
pub async fn complete_sign_in(
    app: &App,
    fields: &Fields,
    client: &Client,
) -> Result<Signed, AccountError> {
    let mut reader = FieldReader::new(fields);
    let (token, shown) = read(&mut reader);
    reader.finish()?;
    let (token, shown) = token.zip(shown).ok_or_else(unread)?;
    let now = app.clock.now();
    let token_hash = app.codes.hash_ticket(&token);
    let ticket = find_ticket(app, client, &token_hash).await?;
    let account = (ticket.user_id, &ticket.factors);
    let mut starting = client.new_session(app, now, AuthMethod::Password);
    let tried = factor_try(app, (client, None), account, shown, Some(&token_hash)).await?;
    let factor = tried.proof.factor();
    let sign_in = CompleteSignIn {
        token_hash,
        tried,
        session: starting.session.clone(),
        notice: client.sign_in_notice(app, now),
    };
    match app.store.complete_sign_in(sign_in).await? {
        CompleteOutcome::Started {
            user,
            authentication,
        } => {
            accepted(app, factor);
            log::info!("user {}: signed in with a second factor", user.id);
            if app.config.sends_sign_in_notices() {
                app.outbox.wake().await;
            }
            starting.session.authentication = authentication;
            starting.signed(app, &user).await
        }
        CompleteOutcome::InvalidTicket => Err(AccountError::InvalidToken),
        CompleteOutcome::Refused(refusal) => Err(refused(app, client, (factor, refusal))),
    }
}

/// Reads the ticket and the proof.
pub(in crate::accounts) fn read(reader: &mut FieldReader<'_>) -> (Option<String>, Option<Shown>) {
    let token = read_ticket(reader);
    (token, proofs::read_second_step(reader))
}

/// Reads a ticket that may come along.
pub(in crate::accounts) fn read_optional_ticket(reader: &mut FieldReader<'_>) -> Option<String> {
    let ticket = reader.optional_text(TICKET, TICKET_LENGTH)?;
    (!ticket.is_empty()).then_some(ticket)
}

/// Reads the ticket.
pub(in crate::accounts) fn read_ticket(reader: &mut FieldReader<'_>) -> Option<String> {
    reader.required_text(TICKET, None)
}
