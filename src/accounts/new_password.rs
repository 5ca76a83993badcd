//! Choosing a password: what every operation that sets one reads and checks.

use std::time::Duration;

use super::{AccountError, Client, unread};
use crate::app::App;
use crate::domain::{FieldErrors, FieldReader, User, messages};
use crate::mail::MailContent;
use crate::passwords::PersonalData;
use crate::store::NewMail;

/// How long the notice of a changed password is worth sending.
pub(super) const NOTICE_LIFE: Duration = Duration::from_hours(72);

/// Longest password, in characters.
const PASSWORD_LENGTH: usize = 128;

/// A password as it was typed, and typed again.
pub(super) struct NewPassword {
    password: Option<String>,
    confirmation: Option<String>,
}

impl NewPassword {
    /// Reads `password` and `confirm_password`.
    pub(super) fn read(reader: &mut FieldReader<'_>) -> Self {
        Self {
            password: read_password(reader),
            confirmation: reader.required_secret("confirm_password", None),
        }
    }

    /// Complains about what the rules have against it.
    ///
    /// # Errors
    /// Only by a fault of ours.
    pub(super) async fn check(
        &self,
        app: &App,
        reader: &mut FieldReader<'_>,
        person: &PersonalData<'_>,
    ) -> Result<(), AccountError> {
        match &self.password {
            Some(password) => check_password(app, reader, password, person).await,
            None => Ok(()),
        }
    }

    /// The password, once every single field is right.
    ///
    /// # Errors
    /// When the two are not the same.
    pub(super) fn confirmed(self) -> Result<String, AccountError> {
        let password = self.password.ok_or_else(unread)?;
        if self.confirmation.as_ref() != Some(&password) {
            return Err(FieldErrors::one("confirm_password", messages::PASSWORDS_DIFFER).into());
        }
        Ok(password)
    }
}

/// Reads `password` alone.
pub(super) fn read_password(reader: &mut FieldReader<'_>) -> Option<String> {
    reader.required_secret("password", Some(PASSWORD_LENGTH))
}

/// Complains about what the rules have against a password of this person.
///
/// # Errors
/// Only by a fault of ours.
pub(super) async fn check_password(
    app: &App,
    reader: &mut FieldReader<'_>,
    password: &str,
    person: &PersonalData<'_>,
) -> Result<(), AccountError> {
    for complaint in app.passwords.complaints(password, person).await? {
        reader.reject("password", complaint);
    }
    Ok(())
}

/// What is known of the owner of an account.
pub(super) fn person_of(user: &User) -> PersonalData<'_> {
    PersonalData {
        email: Some(user.shown_email()),
        first_name: Some(&user.profile.first_name),
        last_name: Some(&user.profile.last_name),
    }
}

/// The mail that tells the owner of a new password, set by a client or by an administrator.
pub(super) fn password_changed(app: &App, client: Option<&Client>) -> NewMail {
    let now = app.clock.now();
    let content = MailContent::PasswordChanged {
        ip: client.map(|client| client.ip.to_canonical().to_string()),
    };
    app.outbox.new_mail(&content, now.plus(NOTICE_LIFE))
}
