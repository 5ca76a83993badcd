//! Signing up.

use std::sync::Arc;
use std::time::Duration;

use super::detached;
use super::new_password::NewPassword;
use super::{AccountError, Client, unread};
use crate::app::App;
use crate::domain::{
    EmailAddress, FieldReader, Fields, OtpPurpose, Profile, Timestamp, UserId, messages,
};
use crate::limits::{Ceiling, Limited};
use crate::passwords::PersonalData;
use crate::store::{NewSignUp, SignUpOutcome};

/// How long a sign-up is pending, whether its code has expired or not.
pub(super) const PENDING_TIME: Duration = Duration::from_hours(7 * 24);

/// A pending sign-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignUpResult {
    /// Id of the account that the code will activate.
    pub id: UserId,
    /// The address as typed.
    pub email: EmailAddress,
    /// The other fields.
    pub profile: Profile,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Stores a sign-up and mails its code.
///
/// # Errors
/// [`AccountError::Fields`] with all invalid fields; [`AccountError::Throttled`] at the limit of
/// mails to the address or of sign-ups by the network; [`AccountError::EmailTaken`] when the
/// address was confirmed meanwhile.
pub async fn sign_up(
    app: &Arc<App>,
    fields: &Fields,
    client: &Client,
) -> Result<SignUpResult, AccountError> {
    let now = app.clock.now();
    // Before any lookup in the database or on disk: throttled clients cost nothing.
    client.check_limit(app, Limited::SignUp)?;
    client.check_limit(app, Limited::TakenAddress)?;
    let mut reader = FieldReader::new(fields);
    let SignUp {
        email,
        password,
        profile,
    } = read(&mut reader, now);
    if let Some(email) = &email
        && app.store.is_email_taken(email.key(), None, now).await?
    {
        // The one error that reveals an account. It is rate-limited against address lists.
        client.count(app, Limited::TakenAddress)?;
        reader.reject("email", messages::EMAIL_TAKEN);
    }
    let person = PersonalData {
        email: email.as_ref().map(EmailAddress::as_str),
        first_name: Some(&profile.first_name),
        last_name: Some(&profile.last_name),
    };
    password.check(app, &mut reader, &person).await?;
    reader.finish()?;
    let email = email.ok_or_else(unread)?;
    let password = password.confirmed()?;
    // Also before the costly hash: a flood of sign-ups for one address stays cheap.
    let limits = app.codes.limits();
    let pause = app
        .store
        .find_mail_pause(
            &app.codes.hash_address(email.key()),
            &app.codes.hash_mailbox(email.key()),
            OtpPurpose::SignUp,
            client.network(),
            now,
            limits,
        )
        .await?;
    if let Some(until) = pause {
        return Err(AccountError::Throttled(until.since(now)));
    }
    client.count(app, Limited::SignUp)?;
    let password_hash = app
        .passwords
        .asked_by(client.requester(false))
        .hash(password, app.codes.sign_up_salt(email.key()))
        .await
        .inspect_err(|_| app.limits.refund(Limited::SignUp, client.network(), now))?;
    let pending = SignUpResult {
        id: 0,
        email,
        profile,
        created_at: now,
    };
    // From here on a disconnect changes nothing: what is stored is mailed.
    let composer = app.outbox.composer();
    let language = composer.negotiate(&client.accept_language);
    let task = store_and_mail(
        Arc::clone(app),
        pending,
        password_hash,
        language.to_owned(),
        client.clone(),
    );
    let outcome = detached(task).await?;
    if outcome.is_err() {
        app.limits.refund(Limited::SignUp, client.network(), now);
    }
    if matches!(outcome, Err(AccountError::EmailTaken)) {
        // Another sign-up was faster, and the error reveals as much.
        client.count(app, Limited::TakenAddress)?;
    }
    outcome
}

async fn store_and_mail(
    app: Arc<App>,
    pending: SignUpResult,
    password_hash: String,
    language: String,
    client: Client,
) -> Result<SignUpResult, AccountError> {
    let now = pending.created_at;
    let email = &pending.email;
    let (purpose, request) = (OtpPurpose::SignUp, client.otp_request(now));
    let outcome = app
        .codes
        .draw(async |code| {
            let sign_up = NewSignUp {
                email: email.clone(),
                password_hash: password_hash.clone(),
                profile: pending.profile.clone(),
                language: language.clone(),
                otp: app
                    .codes
                    .new_otp(&app.outbox, purpose, email.key(), &code, &request),
                expires_at: now.plus(PENDING_TIME),
                network: client.network().to_string(),
                now,
                limits: app.codes.limits(),
                context: client.context(None),
            };
            app.store.create_sign_up(sign_up).await
        })
        .await?;
    match outcome {
        SignUpOutcome::Created(id) => {
            app.limits.note(Ceiling::NewAddressMails, now);
            app.outbox.wake().await;
            log::info!("user {id}: signed up");
            Ok(SignUpResult { id, ..pending })
        }
        SignUpOutcome::EmailTaken => Err(AccountError::EmailTaken),
        SignUpOutcome::Throttled { until } => Err(AccountError::Throttled(until.since(now))),
    }
}

/// The fields of a sign-up.
pub(super) struct SignUp {
    pub(super) email: Option<EmailAddress>,
    pub(super) password: NewPassword,
    pub(super) profile: Profile,
}

pub(super) fn read(reader: &mut FieldReader<'_>, now: Timestamp) -> SignUp {
    SignUp {
        email: reader.required_email("email"),
        password: NewPassword::read(reader),
        profile: read_profile(reader, now),
    }
}

/// Reads the optional fields of a sign-up; absent ones are empty.
pub(super) fn read_profile(reader: &mut FieldReader<'_>, now: Timestamp) -> Profile {
    let text = |value: Option<String>| value.unwrap_or_default();
    Profile {
        first_name: text(reader.optional_text("first_name", super::profile::NAME_LENGTH)),
        last_name: text(reader.optional_text("last_name", super::profile::NAME_LENGTH)),
        phone: reader
            .optional_phone("phone")
            .flatten()
            .map(|phone| phone.as_str().to_owned())
            .unwrap_or_default(),
        gender: reader
            .optional_gender("gender")
            .flatten()
            .map(|gender| gender.as_str().to_owned())
            .unwrap_or_default(),
        country: reader
            .optional_country("country")
            .flatten()
            .map(|country| country.as_str().to_owned())
            .unwrap_or_default(),
        address: text(reader.optional_text("address", super::profile::ADDRESS_LENGTH)),
        birthday: reader.optional_birthday("birthday", now.date()).flatten(),
    }
}
