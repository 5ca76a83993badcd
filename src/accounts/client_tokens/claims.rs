//! What clients learn of users: claims by scope alone (OpenID Connect Core, sections 5.1 and 5.4).
//!
//! The user info has all of them. ID tokens have name, picture and address of the user too, since
//! many clients look for them there and nowhere else; they have nothing more, since an ID token comes
//! back as a hint in URLs.

use serde_json::{Map, Value, json};

use super::GrantError;
use super::issue::verify;
use crate::accounts::{AccountError, session_lifetimes};
use crate::app::App;
use crate::crypto::tokens::ClientTokenType;
use crate::domain::{Gender, Scope, Scopes, User};
use crate::store::ClientSession;

/// What claims are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimsFor {
    /// The answer of the user info endpoint.
    UserInfo,
    /// An ID token.
    IdToken,
}

/// What a live access token of a client allows.
pub struct ClientAccess {
    /// The client.
    pub client_id: String,
    /// Its scopes, which may be fewer than those of the session.
    pub scopes: Scopes,
    session: ClientSession,
}

/// Finds what an access token of a client allows.
///
/// # Errors
/// [`GrantError::InvalidToken`] when it is foreign or expired, also one of the account API, or its
/// session has ended.
pub async fn find_client_access(app: &App, token: &str) -> Result<ClientAccess, GrantError> {
    let token = verify(app, token)
        .await?
        .filter(|token| token.token_type == ClientTokenType::Access)
        .ok_or(GrantError::InvalidToken)?;
    let now = app.clock.now();
    let session = app
        .store
        .find_client_session(&token.session.id, session_lifetimes(app), now)
        .await?
        .filter(|session| session.client_id == token.client_id)
        .ok_or(GrantError::InvalidToken)?;
    Ok(ClientAccess {
        client_id: token.client_id,
        scopes: token.scopes.within(&session.scopes),
        session,
    })
}

/// The claims that the user info endpoint answers with.
///
/// # Errors
/// Only by a fault of the store.
pub async fn user_info(app: &App, access: &ClientAccess) -> Result<Map<String, Value>, GrantError> {
    let mut info = claims(app, &access.session, &access.scopes, ClaimsFor::UserInfo).await?;
    // First, as a reader expects.
    info.shift_insert(
        0,
        "sub".to_owned(),
        access.session.user.id.to_string().into(),
    );
    Ok(info)
}

/// The claims about the user of a session that these scopes allow, without `sub`. What the user has
/// not filled in is left out.
pub(super) async fn claims(
    app: &App,
    session: &ClientSession,
    scopes: &Scopes,
    purpose: ClaimsFor,
) -> Result<Map<String, Value>, AccountError> {
    let user = &session.user;
    let mut claims = Map::new();
    if scopes.contains(Scope::Profile) {
        add_profile(app, &mut claims, user, purpose).await?;
    }
    if scopes.contains(Scope::Email) {
        // The last confirmed address; a requested one is nobody's yet.
        claims.insert("email".into(), user.email.as_str().into());
        claims.insert("email_verified".into(), user.is_verified().into());
    }
    if purpose == ClaimsFor::IdToken {
        return Ok(claims);
    }
    let profile = &user.profile;
    if scopes.contains(Scope::Phone) {
        add(&mut claims, "phone_number", &profile.phone);
    }
    if scopes.contains(Scope::Address) {
        let mut address = Map::new();
        add(&mut address, "formatted", &profile.address);
        add(&mut address, "country", &profile.country);
        if !address.is_empty() {
            claims.insert("address".into(), address.into());
        }
    }
    Ok(claims)
}

async fn add_profile(
    app: &App,
    claims: &mut Map<String, Value>,
    user: &User,
    purpose: ClaimsFor,
) -> Result<(), AccountError> {
    let profile = &user.profile;
    let name = format!("{} {}", profile.first_name, profile.last_name);
    add(claims, "name", name.trim());
    add(claims, "given_name", &profile.first_name);
    add(claims, "family_name", &profile.last_name);
    if let Some(photo) = &user.photo {
        claims.insert("picture".into(), app.links.photo(photo).into());
    }
    if purpose == ClaimsFor::IdToken {
        return Ok(());
    }
    let gender = match Gender::parse(&profile.gender) {
        Some(Gender::Female) => "female",
        Some(Gender::Male) => "male",
        Some(Gender::Other) => "other",
        None => "",
    };
    add(claims, "gender", gender);
    if let Some(birthday) = profile.birthday {
        claims.insert("birthdate".into(), json!(birthday));
    }
    let language = app.store.find_language(user.id).await?;
    add(claims, "locale", &language);
    claims.insert("updated_at".into(), user.updated_at.unix_seconds().into());
    Ok(())
}

/// Adds a text, unless it is empty.
fn add(claims: &mut Map<String, Value>, name: &str, text: &str) {
    if !text.is_empty() {
        claims.insert(name.to_owned(), text.into());
    }
}
