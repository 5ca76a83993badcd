//! The first staff account: a link that is printed when the server starts makes it.
//!
//! Only somebody who sees the output of the server can use it. It is valid for an hour, once, and
//! never once there is a staff account. Each start makes a new one, which replaces the former.

use std::time::Duration;

use super::sign_up::{SignUp, read};
use super::{AccountError, Client, Signed, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{AuthMethod, EmailAddress, FieldErrors, FieldReader, Fields, messages};
use crate::passwords::PersonalData;
use crate::store::{FirstStaff, FirstStaffOutcome, NewUser, SetupState};

/// How long the link is valid.
const LIFETIME: Duration = Duration::from_hours(1);

/// How far the server is set up.
///
/// # Errors
/// Only store errors.
pub async fn find_setup_state(app: &App) -> Result<SetupState, AccountError> {
    Ok(app.store.find_setup_state().await?)
}

/// Makes the token of a new link; `None` when there is a staff account.
///
/// # Errors
/// Only store errors.
pub async fn start_setup(app: &App) -> Result<Option<String>, AccountError> {
    // A server that is set up writes nothing.
    if app.store.find_setup_state().await?.has_staff {
        return Ok(None);
    }
    let token = new_token();
    let expires_at = app.clock.now().plus(LIFETIME);
    let token_hash = app.codes.hash_link(&token);
    let is_stored = app.store.replace_setup_link(&token_hash, expires_at);
    Ok(is_stored.await?.then_some(token))
}

/// 128 random bits in letters. The link is printed where mails can be printed, too, and programs look
/// there for the digits of a code.
fn new_token() -> String {
    let bytes: [u8; 16] = random::bytes();
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(|half| char::from(b'a' + half)).collect()
}

/// Whether the link with this token can be used.
///
/// # Errors
/// Only store errors.
pub async fn is_setup_open(app: &App, token: &str) -> Result<bool, AccountError> {
    let token_hash = app.codes.hash_link(token);
    let now = app.clock.now();
    Ok(app.store.is_setup_link_valid(&token_hash, now).await?)
}

/// Makes the first staff account and signs it in.
///
/// # Errors
/// [`AccountError::InvalidLink`]; [`AccountError::Fields`] with all invalid fields.
pub async fn set_up(
    app: &App,
    token: &str,
    fields: &Fields,
    client: &Client,
) -> Result<Signed, AccountError> {
    // Strangers cause no hashing.
    if !is_setup_open(app, token).await? {
        return Err(AccountError::InvalidLink);
    }
    let now = app.clock.now();
    let mut reader = FieldReader::new(fields);
    let SignUp {
        email,
        password,
        profile,
    } = read(&mut reader, now);
    let person = PersonalData {
        email: email.as_ref().map(EmailAddress::as_str),
        first_name: Some(&profile.first_name),
        last_name: Some(&profile.last_name),
    };
    password.check(app, &mut reader, &person).await?;
    reader.finish()?;
    let email = email.ok_or_else(unread)?;
    let password = password.confirmed()?;
    let password_hash = app.passwords.hash(password, random::bytes()).await?;
    let session = client.new_session(app, now, AuthMethod::Password);
    let request = FirstStaff {
        token_hash: app.codes.hash_link(token),
        user: NewUser {
            email,
            password_hash,
            profile,
            is_staff: true,
            now,
            context: client.context(None),
        },
        session: session.session.clone(),
    };
    match app.store.create_first_staff(request).await? {
        FirstStaffOutcome::Created(user) => {
            log::info!("user {}: created as the first staff account", user.id);
            session.signed(app, &user).await
        }
        FirstStaffOutcome::InvalidLink => Err(AccountError::InvalidLink),
        FirstStaffOutcome::EmailTaken => {
            Err(FieldErrors::one("email", messages::EMAIL_TAKEN).into())
        }
    }
}
