//! Reading and changing an account.

use std::sync::Arc;

use super::{AccountError, Caller};
use crate::app::{App, detached};
use crate::domain::{
    EmailAddress, FieldErrors, FieldReader, Fields, Input, OtpPurpose, Timestamp, User,
    UserChanges, UserId, messages,
};
use crate::store::{EmailChange, UpdateOutcome, UserUpdate};

/// Longest first or last name, in characters.
pub(super) const NAME_LENGTH: usize = 150;

/// Longest postal address, in characters.
pub(super) const ADDRESS_LENGTH: usize = 255;

/// An account after a change, and which of the fields that are not always answered the request set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The account now.
    pub user: User,
    /// Whether the request set the photo.
    pub set_photo: bool,
    /// Whether the request set the postal address.
    pub set_address: bool,
    /// Whether the request set the birthday.
    pub set_birthday: bool,
}

/// The account `id`, if the caller may see it.
///
/// # Errors
/// [`AccountError::Forbidden`] for somebody else's number, existing or not; [`AccountError::UserNotFound`] for staff.
pub async fn retrieve(app: &App, caller: Caller, id: UserId) -> Result<User, AccountError> {
    check_right(&caller, id)?;
    if caller.user.id == id {
        // Whoever calls was read with its session a moment ago.
        return Ok(caller.user);
    }
    app.store
        .find_user(id)
        .await?
        .ok_or(AccountError::UserNotFound)
}

/// Only the account itself and staff may touch an account.
fn check_right(caller: &Caller, id: UserId) -> Result<(), AccountError> {
    (caller.user.id == id || caller.user.is_staff)
        .then_some(())
        .ok_or(AccountError::Forbidden)
}

/// Changes the account `id`: any subset of its fields. A new address gets a code.
///
/// The right is checked before `fields` is called for, and so before the body is read.
///
/// # Errors
/// As [`retrieve`], and [`AccountError::Fields`] with every wrong field at once.
pub async fn update<E: From<AccountError>>(
    app: &Arc<App>,
    caller: &Caller,
    id: UserId,
    fields: impl Future<Output = Result<Fields, E>>,
) -> Result<Updated, E> {
    check_right(caller, id)?;
    if caller.user.id != id
        && app
            .store
            .find_user(id)
            .await
            .map_err(AccountError::from)?
            .is_none()
    {
        return Err(AccountError::UserNotFound.into());
    }
    let fields = fields.await?;
    Ok(apply(app, id, &fields).await?)
}

async fn apply(app: &Arc<App>, id: UserId, fields: &Fields) -> Result<Updated, AccountError> {
    let now = app.clock.now();
    let mut reader = FieldReader::new(fields);
    let changes = read_changes(&mut reader, now);
    if let Some(email) = &changes.email
        && app.store.is_email_taken(email.key(), Some(id)).await?
    {
        reader.reject("email", messages::EMAIL_TAKEN);
    }
    reader.finish()?;
    let updated = Updated {
        set_photo: changes.photo.is_some(),
        set_address: changes.address.is_some(),
        set_birthday: changes.birthday.is_some(),
        // Kept in step with the store below.
        user: detached(store_and_mail(Arc::clone(app), id, changes, now)).await??,
    };
    log::info!("user {id}: profile changed");
    Ok(updated)
}

fn read_changes(reader: &mut FieldReader<'_>, now: Timestamp) -> UserChanges {
    UserChanges {
        email: reader.optional_email("email"),
        first_name: reader.optional_text("first_name", NAME_LENGTH),
        last_name: reader.optional_text("last_name", NAME_LENGTH),
        phone: reader
            .optional_phone("phone")
            .map(|phone| phone.map_or_else(String::new, |phone| phone.as_str().to_owned())),
        gender: reader
            .optional_gender("gender")
            .map(|gender| gender.map_or("", |gender| gender.as_str()).to_owned()),
        country: reader
            .optional_country("country")
            .map(|country| country.map_or("", |country| country.as_str()).to_owned()),
        photo: read_photo(reader),
        address: reader.optional_text("address", ADDRESS_LENGTH),
        birthday: reader.optional_birthday("birthday", now.date()),
        is_active: None,
        is_staff: None,
    }
}

/// Reads a photo: `null` takes it away.
fn read_photo(reader: &mut FieldReader<'_>) -> Option<Option<String>> {
    match reader.raw("photo")? {
        Input::Null => return Some(None),
        Input::File(_) => reader.reject("photo", messages::NOT_AN_IMAGE),
        _ => reader.reject("photo", messages::NOT_A_FILE),
    }
    None
}

async fn store_and_mail(
    app: Arc<App>,
    user_id: UserId,
    changes: UserChanges,
    now: Timestamp,
) -> Result<User, AccountError> {
    let (outcome, code) = app
        .codes
        .draw(async |code| {
            let otp =
                |purpose, email: &EmailAddress| app.codes.new_otp(purpose, email.key(), &code, now);
            let email_change = changes.email.as_ref().map(|email| EmailChange {
                change_otp: otp(OtpPurpose::EmailChange, email),
                sign_up_otp: otp(OtpPurpose::SignUp, email),
                limits: app.codes.limits(),
            });
            let update = UserUpdate {
                user_id,
                changes: changes.clone(),
                email_change,
                now,
            };
            Ok((app.store.update_user(update).await?, code))
        })
        .await?;
    match outcome {
        UpdateOutcome::Updated { user, mail } => {
            if let (Some(purpose), Some(email)) = (mail, &changes.email) {
                app.mail_otp(purpose, email, &code, now);
            }
            Ok(*user)
        }
        UpdateOutcome::Missing => Err(AccountError::UserNotFound),
        UpdateOutcome::EmailTaken => Err(FieldErrors::one("email", messages::EMAIL_TAKEN).into()),
        UpdateOutcome::Throttled { until } => Err(AccountError::Throttled(until.since(now))),
    }
}
