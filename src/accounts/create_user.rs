//! Creating a verified account, for administrators and staff.

use super::new_password::{check_password, read_password};
use super::sign_up::read_profile;
use super::{AccountError, Administrator, Caller, Client, operator, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{EmailAddress, FieldErrors, FieldReader, Fields, UserId, messages};
use crate::passwords::PersonalData;
use crate::store::{NewUser, RequestContext};

/// Creates a verified account from `email`, `password` and the optional fields of a sign-up.
///
/// # Errors
/// [`AccountError::Fields`] with all invalid fields.
pub async fn create_user(
    app: &App,
    fields: &Fields,
    is_staff: bool,
) -> Result<UserId, AccountError> {
    create(app, FieldReader::new(fields), is_staff, operator(app)).await
}

/// As [`create_user`], by staff; `is_staff` among the fields makes the account staff.
///
/// # Errors
/// As [`create_user`]; [`AccountError::Forbidden`] unless the caller is staff.
pub async fn create_user_as_staff(
    app: &App,
    caller: &Caller,
    client: &Client,
    fields: &Fields,
) -> Result<UserId, AccountError> {
    let context = Administrator::Staff(caller, client).context(app)?;
    let mut reader = FieldReader::new(fields);
    let is_staff = reader.optional_bool("is_staff") == Some(true);
    create(app, reader, is_staff, context).await
}

async fn create(
    app: &App,
    mut reader: FieldReader<'_>,
    is_staff: bool,
    context: RequestContext,
) -> Result<UserId, AccountError> {
    let now = app.clock.now();
    let email = reader.required_email("email");
    let password = read_password(&mut reader);
    let profile = read_profile(&mut reader, now);
    if let Some(password) = &password {
        let person = PersonalData {
            email: email.as_ref().map(EmailAddress::as_str),
            first_name: Some(&profile.first_name),
            last_name: Some(&profile.last_name),
        };
        check_password(app, &mut reader, password, &person).await?;
    }
    reader.finish()?;
    let (Some(email), Some(password)) = (email, password) else {
        return Err(unread());
    };
    let user = NewUser {
        email,
        password_hash: app.passwords.hash(password, random::bytes()).await?,
        profile,
        is_staff,
        now,
        context,
    };
    let id = app
        .store
        .create_verified_user(user)
        .await?
        .ok_or_else(|| FieldErrors::one("email", messages::EMAIL_TAKEN))?;
    log::info!("user {id}: created");
    Ok(id)
}
