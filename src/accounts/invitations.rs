//! Invitations: staff names an address, and its owner creates an account by the link in a mail.
//!
//! The link proves the mailbox, so the account is verified at once. Nothing about the invited person
//! is stored but the address.

use std::sync::Arc;
use std::time::Duration;

use super::new_password::NewPassword;
use super::sign_up::read_profile;
use super::{AccountError, Administrator, Client, Signed, detached, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{
    AuthMethod, EmailAddress, FieldErrors, FieldReader, Fields, Profile, Timestamp, User, messages,
};
use crate::mail::MailContent;
use crate::passwords::PersonalData;
use crate::store::{
    AcceptInvitation, Invitation, InvitationOutcome, InvitationQuery, NewInvitation, Page,
    RevokeInvitation,
};

/// How many days an invitation is valid.
const DAYS: u64 = 7;

/// Longest language tag, in characters (BCP 47 recommends room for 35).
const TAG_LENGTH: usize = 35;

/// Longest token, in characters.
const TOKEN_LENGTH: usize = 128;

/// The fields of an invitation.
pub(super) struct InvitationFields {
    email: Option<EmailAddress>,
    language: Option<String>,
}

pub(super) fn read(reader: &mut FieldReader<'_>) -> InvitationFields {
    InvitationFields {
        email: reader.required_email("email"),
        language: reader.optional_text("language", TAG_LENGTH),
    }
}

/// Invites an address: mails a link that leads to an account. Repeating it mails another link and
/// extends the invitation.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::Fields`];
/// [`AccountError::EmailTaken`]; [`AccountError::Throttled`] at the limit of mails to the address;
/// [`AccountError::NoInvitationPage`] when links would lead nowhere.
pub async fn invite(
    app: &App,
    by: Administrator<'_>,
    fields: &Fields,
) -> Result<Invitation, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let mut reader = FieldReader::new(fields);
    let InvitationFields { email, language } = read(&mut reader);
    let composer = app.outbox.composer();
    let wanted = language.unwrap_or_default();
    let language = composer.negotiate(&wanted);
    if language.is_empty() && !wanted.is_empty() {
        reader.reject("language", messages::not_a_choice(&wanted));
    }
    reader.finish()?;
    let email = email.ok_or_else(unread)?;
    let now = app.clock.now();
    let expires_at = now.plus(Duration::from_hours(24 * DAYS));
    let token = random::id();
    let link = app.links.invitation(&token);
    let link = link.ok_or(AccountError::NoInvitationPage)?;
    let content = MailContent::Invitation { link, days: DAYS };
    let new = NewInvitation {
        language: language.to_owned(),
        token_hash: app.codes.hash_link(&token),
        address_hash: app.codes.hash_address(email.key()),
        mailbox_hash: app.codes.hash_mailbox(email.key()),
        mail: app.outbox.new_mail(&content, expires_at),
        email,
        expires_at,
        now,
        limits: app.codes.limits(),
        context,
    };
    match app.store.create_invitation(new).await? {
        InvitationOutcome::Created(invitation) => {
            app.outbox.wake().await;
            log::info!("invitation {}: mail queued", invitation.id);
            Ok(invitation)
        }
        InvitationOutcome::EmailTaken => Err(AccountError::EmailTaken),
        InvitationOutcome::Throttled { until } => Err(AccountError::Throttled(until.since(now))),
    }
}

/// A page of the invitations that were not accepted.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::InvalidPage`] past the
/// end.
pub async fn list_invitations(
    app: &App,
    by: Administrator<'_>,
    query: InvitationQuery,
) -> Result<Page<Invitation>, AccountError> {
    by.context(app)?;
    let page = app.store.list_invitations(query).await?;
    page.ok_or(AccountError::InvalidPage)
}

/// Revokes an invitation: its links are dead, and a mail that waits is not sent.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::NotFound`].
pub async fn revoke_invitation(
    app: &App,
    by: Administrator<'_>,
    id: i64,
) -> Result<(), AccountError> {
    let revocation = RevokeInvitation {
        id,
        now: app.clock.now(),
        context: by.context(app)?,
    };
    if !app.store.revoke_invitation(revocation).await? {
        return Err(AccountError::NotFound);
    }
    log::info!("invitation {id}: revoked");
    Ok(())
}

pub(super) fn read_token(reader: &mut FieldReader<'_>) -> Option<String> {
    reader.required_text("token", Some(TOKEN_LENGTH))
}

/// The open invitation that a token is for. It is not used up.
///
/// # Errors
/// [`AccountError::Fields`] when the token is unknown, used, revoked or expired.
pub async fn find_invitation(app: &App, fields: &Fields) -> Result<Invitation, AccountError> {
    let mut reader = FieldReader::new(fields);
    let token = read_token(&mut reader);
    reader.finish()?;
    let token = token.ok_or_else(unread)?;
    let found = find(app, &token).await?;
    found.ok_or_else(invalid_token)
}

async fn find(app: &App, token: &str) -> Result<Option<Invitation>, AccountError> {
    let (hash, now) = (app.codes.hash_link(token), app.clock.now());
    Ok(app.store.find_invitation(&hash, now).await?)
}

fn invalid_token() -> AccountError {
    FieldErrors::one("token", messages::INVALID_TOKEN).into()
}

/// The fields of an acceptance.
pub(super) struct Acceptance {
    token: Option<String>,
    password: NewPassword,
    profile: Profile,
}

pub(super) fn read_acceptance(reader: &mut FieldReader<'_>, now: Timestamp) -> Acceptance {
    Acceptance {
        token: read_token(reader),
        password: NewPassword::read(reader),
        profile: read_profile(reader, now),
    }
}

/// Accepts an invitation: creates its account, verified, and signs in.
///
/// # Errors
/// [`AccountError::Fields`] with all invalid fields, the token among them.
pub async fn accept_invitation(
    app: &Arc<App>,
    fields: &Fields,
    client: &Client,
) -> Result<(User, Signed), AccountError> {
    let now = app.clock.now();
    let mut reader = FieldReader::new(fields);
    let Acceptance {
        token,
        password,
        profile,
    } = read_acceptance(&mut reader, now);
    let invitation = match &token {
        Some(token) => find(app, token).await?,
        None => None,
    };
    if token.is_some() && invitation.is_none() {
        reader.reject("token", messages::INVALID_TOKEN);
    }
    let person = PersonalData {
        email: invitation.as_ref().map(|invitation| &*invitation.email),
        first_name: Some(&profile.first_name),
        last_name: Some(&profile.last_name),
    };
    password.check(app, &mut reader, &person).await?;
    reader.finish()?;
    let token = token.ok_or_else(unread)?;
    let password = password.confirmed()?;
    let password_hash = app
        .passwords
        .asked_by(client.requester(false))
        .hash(password, random::bytes())
        .await?;
    // From here on a disconnect changes nothing: an account that is created is signed in.
    let (app, client) = (Arc::clone(app), client.clone());
    detached(async move {
        let starting = client.new_session(&app, now, AuthMethod::Otp);
        let acceptance = AcceptInvitation {
            token_hash: app.codes.hash_link(&token),
            password_hash,
            profile,
            session: starting.session.clone(),
            now,
            context: client.context(None),
        };
        let user = app.store.accept_invitation(acceptance).await?;
        let user = user.ok_or_else(invalid_token)?;
        log::info!("user {}: invitation accepted, signed in", user.id);
        let signed = starting.signed(&app, &user).await?;
        Ok((user, signed))
    })
    .await?
}
