//! The second step of a sign-in: a ticket for a client that has shown the password, and its
//! exchange for a session.

use std::time::Duration;

use super::codes::{self, factor_try, refused};
use crate::accounts::{AccountError, Client, Signed, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{AuthMethod, FieldReader, Fields, Timestamp};
use crate::limits::Limited;
use crate::store::{CompleteOutcome, CompleteSignIn, NewTicket};

/// How long the second step may take.
const TICKET_LIFE: Duration = Duration::from_mins(5);

/// A new ticket: its token, and what the store keeps of it.
pub(in crate::accounts) fn new_ticket(app: &App, now: Timestamp) -> (String, NewTicket) {
    let token = random::id() + &random::id();
    let ticket = NewTicket {
        token_hash: app.codes.hash_ticket(&token),
        expires_at: now.plus(TICKET_LIFE),
    };
    (token, ticket)
}

/// Starts a session by a ticket and a code of an authenticator app or a recovery code.
///
/// # Errors
/// [`AccountError::InvalidToken`] when the ticket is unknown, used, expired or void;
/// [`AccountError::InvalidPassword`] for a wrong code; [`AccountError::Throttled`].
pub async fn complete_sign_in(
    app: &App,
    fields: &Fields,
    client: &Client,
) -> Result<Signed, AccountError> {
    let mut reader = FieldReader::new(fields);
    let (token, code) = read(&mut reader);
    reader.finish()?;
    let (token, code) = token.zip(code).ok_or_else(unread)?;
    // Before the look-up: guesses at tickets are limited, too.
    client.check_limit(app, Limited::FailedSignIn)?;
    let now = app.clock.now();
    let token_hash = app.codes.hash_ticket(&token);
    let ticket = app.store.find_ticket(&token_hash, now).await?;
    let Some(ticket) = ticket else {
        client.count(app, Limited::FailedSignIn)?;
        return Err(AccountError::InvalidToken);
    };
    let account = (ticket.user_id, &ticket.factors);
    let mut starting = client.new_session(app, now, AuthMethod::Password);
    let sign_in = CompleteSignIn {
        token_hash,
        tried: factor_try(app, (client, None), account, &code)?,
        session: starting.session.clone(),
        notice: client.sign_in_notice(app, now),
    };
    match app.store.complete_sign_in(sign_in).await? {
        CompleteOutcome::Started {
            user,
            authentication,
        } => {
            log::info!("user {}: signed in with a second factor", user.id);
            if app.config.sends_sign_in_notices() {
                app.outbox.wake().await;
            }
            starting.session.authentication = authentication;
            starting.signed(app, &user).await
        }
        CompleteOutcome::InvalidTicket => Err(AccountError::InvalidToken),
        CompleteOutcome::Refused(refusal) => Err(refused(app, client, refusal)),
    }
}

/// Reads the ticket and the code.
pub(in crate::accounts) fn read(reader: &mut FieldReader<'_>) -> (Option<String>, Option<String>) {
    let token = reader.required_text("ephemeral_token", None);
    (token, codes::read(reader))
}
