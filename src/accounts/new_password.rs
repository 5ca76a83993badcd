//! Reading and validating new passwords, for all operations that set one.

use super::{AccountError, Client, unread};
use crate::app::App;
use crate::delivery::NOTICE_LIFETIME;
use crate::domain::{FieldErrors, FieldReader, User, messages};
use crate::mail::MailContent;
use crate::passwords::PersonalData;
use crate::store::{NOTICES, NewMail};

/// Longest password, in characters.
const PASSWORD_LENGTH: usize = 128;

/// A new password and its confirmation.
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

    /// Reports violations of the password rules.
    ///
    /// # Errors
    /// Only internal errors.
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

    /// The password, once all single fields are valid.
    ///
    /// # Errors
    /// When the confirmation differs.
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

/// Reports violations of the password rules by a password of this person.
///
/// # Errors
/// Only internal errors.
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

/// The personal data that a password must not resemble.
pub(super) fn person_of(user: &User) -> PersonalData<'_> {
    PersonalData {
        email: Some(user.shown_email()),
        first_name: Some(&user.profile.first_name),
        last_name: Some(&user.profile.last_name),
    }
}

/// A notice, once for each address of its owner.
pub(super) fn notices(app: &App, content: &MailContent) -> Vec<NewMail> {
    let expires_at = app.clock.now().plus(NOTICE_LIFETIME);
    (0..NOTICES)
        .map(|_| app.outbox.new_mail(content, expires_at))
        .collect()
}

/// The notices of a password change by a client or by an administrator.
pub(super) fn password_changed(app: &App, client: Option<&Client>) -> Vec<NewMail> {
    let content = MailContent::PasswordChanged {
        ip: client.map(|client| client.ip.to_canonical().to_string()),
    };
    notices(app, &content)
}
