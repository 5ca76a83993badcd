//! Authenticating by token, rotating refresh tokens, signing out.

use std::sync::Arc;

use super::{AccountError, Client, keys, session_lifetimes, unread};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::tokens::{TokenPair, TokenSubject, TokenType, Verified};
use crate::domain::{Authentication, FieldReader, Fields, SessionRef};
use crate::store::{RotateRefreshToken, Rotation, UserSnapshot};

/// Field name of a refresh token.
pub(super) const REFRESH: &str = "refresh";

/// Field name of a token of either type.
pub(super) const TOKEN: &str = "token";

/// The account behind a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The current state of the account.
    pub user: Arc<UserSnapshot>,
    proof: Proof,
}

/// What a request was authenticated by.
#[derive(Clone, Debug)]
enum Proof {
    /// An access token.
    Token(Arc<Verified>),
    /// The secret of a browser session.
    Cookie(Arc<CookieProof>),
}

/// A browser session, as its row was when the request came.
#[derive(Debug)]
struct CookieProof {
    session: SessionRef,
    authentication: Authentication,
}

impl Caller {
    /// The caller behind a browser session.
    pub(super) fn of_browser(
        user: Arc<UserSnapshot>,
        session: SessionRef,
        authentication: Authentication,
    ) -> Self {
        Self {
            user,
            proof: Proof::Cookie(Arc::new(CookieProof {
                session,
                authentication,
            })),
        }
    }

    /// The session of the request.
    pub fn session(&self) -> &SessionRef {
        match &self.proof {
            Proof::Token(token) => &token.session,
            Proof::Cookie(cookie) => &cookie.session,
        }
    }

    /// How and when the owner of the session had last authenticated, by what the request showed.
    pub(super) fn authentication(&self) -> Option<&Authentication> {
        match &self.proof {
            Proof::Token(token) => token.authentication.as_ref(),
            Proof::Cookie(cookie) => Some(&cookie.authentication),
        }
    }

    /// The id of that session.
    pub fn session_id(&self) -> &str {
        &self.session().id
    }
}

/// Authenticates the caller by an access token.
///
/// # Errors
/// [`AccountError::InvalidToken`] when the token is foreign or expired, its session has ended or
/// its account is inactive.
pub async fn authenticate(app: &App, token: &str) -> Result<Caller, AccountError> {
    let token = keys::verify(app, token).await?;
    if token.token_type != TokenType::Access {
        return Err(AccountError::InvalidToken);
    }
    let user = app
        .store
        .find_session_user(&token.session)
        .await?
        .ok_or(AccountError::InvalidToken)?;
    Ok(Caller {
        user,
        proof: Proof::Token(token),
    })
}

/// Authenticates the caller again after a wait, such as for the request body.
///
/// # Errors
/// [`AccountError::SessionEnded`].
pub(super) async fn recheck(app: &App, caller: &Caller) -> Result<Caller, AccountError> {
    let user = app
        .store
        .find_session_user(caller.session())
        .await?
        .ok_or(AccountError::SessionEnded)?;
    Ok(Caller {
        user,
        proof: caller.proof.clone(),
    })
}

/// Rotates a refresh token: returns the next token pair.
///
/// # Errors
/// [`AccountError::InvalidToken`] when it is foreign, expired or reused; reuse ends its session.
pub async fn refresh(
    app: &App,
    fields: &Fields,
    client: &Client,
) -> Result<TokenPair, AccountError> {
    let now = app.clock.now();
    let token = read_refresh_token(app, fields).await?;
    let lifetimes = session_lifetimes(app);
    let rotation = RotateRefreshToken {
        session_id: token.session.id.clone(),
        refresh_id: token.id.clone(),
        new_refresh_id: random::id(),
        new_expires_at: now.plus(app.keys.refresh_life()),
        now,
        grace: app.reuse_grace,
        lifetimes,
        ip: client.ip.to_canonical().to_string(),
        user_agent: client.short_user_agent(),
    };
    match app.store.rotate_refresh_token(rotation).await? {
        Rotation::Rotated {
            user,
            created_at,
            authentication,
            refresh_id,
        } => {
            let subject = TokenSubject {
                user: &user,
                session_id: &token.session.id,
                authentication: &authentication,
                session_end: lifetimes.end(created_at, user.is_staff),
            };
            let tokens = keys::signing(app).await?;
            Ok(tokens.issue(subject, &random::id(), &refresh_id, now)?)
        }
        Rotation::Reused => {
            log::warn!(
                "user {}: refresh token reuse detected, session revoked",
                token.session.user_id
            );
            Err(AccountError::InvalidToken)
        }
        Rotation::Invalid => Err(AccountError::InvalidToken),
    }
}

/// Ends the session of a refresh token, also of a used one: its holder can sign out with it.
///
/// # Errors
/// [`AccountError::InvalidToken`] when it is foreign or its session has ended.
pub async fn blacklist(app: &App, fields: &Fields, client: &Client) -> Result<(), AccountError> {
    let token = read_refresh_token(app, fields).await?;
    let (context, now) = (client.context(None), app.clock.now());
    let ended = app
        .store
        .delete_session(&token.session.id, context, now)
        .await?;
    if !ended {
        return Err(AccountError::InvalidToken);
    }
    log::info!("user {}: signed out", token.session.user_id);
    Ok(())
}

/// Checks that a token of either type is valid now.
///
/// # Errors
/// [`AccountError::InvalidToken`] when it is not.
pub async fn check_token(app: &App, fields: &Fields) -> Result<(), AccountError> {
    let text = read_token(fields, TOKEN)?;
    let now = app.clock.now();
    let token = keys::verify(app, &text).await?;
    let is_valid = match token.token_type {
        TokenType::Access => app.store.find_session_user(&token.session).await?.is_some(),
        TokenType::Refresh => {
            app.store
                .is_refresh_token_live(
                    &token.session.id,
                    &token.id,
                    now,
                    app.reuse_grace,
                    session_lifetimes(app),
                )
                .await?
        }
    };
    is_valid.then_some(()).ok_or(AccountError::InvalidToken)
}

async fn read_refresh_token(app: &App, fields: &Fields) -> Result<Arc<Verified>, AccountError> {
    let text = read_token(fields, REFRESH)?;
    let token = keys::verify(app, &text).await?;
    if token.token_type != TokenType::Refresh {
        return Err(AccountError::InvalidToken);
    }
    Ok(token)
}

/// Reads the token from a field.
pub(super) fn read(reader: &mut FieldReader<'_>, name: &'static str) -> Option<String> {
    reader.required_text(name, None)
}

fn read_token(fields: &Fields, name: &'static str) -> Result<String, AccountError> {
    let mut reader = FieldReader::new(fields);
    let token = read(&mut reader, name);
    reader.finish()?;
    token.ok_or_else(unread)
}
