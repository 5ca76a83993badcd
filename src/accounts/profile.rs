//! Reading and updating an account.

use std::sync::Arc;

use super::detached;
use super::new_password::notices;
use super::photo::{PhotoChange, prepare_photo, remove_photo, write_photo};
use super::recent::require_recent_factor;
use super::refresh::recheck;
use super::staff::read_optional_reason;
use super::{AccountError, Caller, Client, require_recent};
use crate::app::App;
use crate::crypto::random;
use crate::delivery::NOTICE_LIFETIME;
use crate::domain::{
    EmailAddress, FieldErrors, FieldReader, Fields, OtpCode, OtpPurpose, Timestamp, User,
    UserChanges, UserId, messages,
};
use crate::limits::{Ceiling, Limited};
use crate::mail::MailContent;
use crate::otp_codes::OtpRequest;
use crate::store::{
    EmailChange, NewEmailUndo, NewMail, RequestContext, UNDO_LIFETIME, UpdateOutcome, UserSnapshot,
    UserUpdate,
};

/// Longest first or last name, in characters.
pub(super) const NAME_LENGTH: usize = 150;

/// Longest postal address, in characters.
pub(super) const ADDRESS_LENGTH: usize = 255;

/// An updated account, and which optional response fields the request set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The account after the update.
    pub user: User,
    /// Whether the request set the photo.
    pub set_photo: bool,
    /// Whether the request set the postal address.
    pub set_address: bool,
    /// Whether the request set the birthday.
    pub set_birthday: bool,
    /// Whether staff set `is_active`.
    pub set_is_active: bool,
    /// Whether staff set `is_staff`.
    pub set_is_staff: bool,
}

/// The account `id`, if the caller may see it.
///
/// # Errors
/// [`AccountError::Forbidden`] for another user's id, existing or not;
/// [`AccountError::UserNotFound`] for staff.
pub async fn retrieve(
    app: &App,
    caller: Caller,
    id: UserId,
) -> Result<Arc<UserSnapshot>, AccountError> {
    check_right(&caller, id)?;
    if caller.user.id == id {
        // The caller was read with its session a moment ago.
        return Ok(caller.user);
    }
    app.store
        .find_user(id)
        .await?
        .map(|user| Arc::new(UserSnapshot::new(user)))
        .ok_or(AccountError::UserNotFound)
}

/// Checks that the caller is the account itself or staff.
pub(super) fn check_right(caller: &Caller, id: UserId) -> Result<(), AccountError> {
    (caller.user.id == id || caller.user.is_staff)
        .then_some(())
        .ok_or(AccountError::Forbidden)
}

/// Updates any subset of an account's fields. A new address gets a code.
///
/// Permission is checked before `fields` is polled, and so before the body is read, and again after
/// it.
///
/// # Errors
/// As [`retrieve`]; [`AccountError::Fields`] with all invalid fields; [`AccountError::EmailTaken`]
/// when the new address was confirmed by another account meanwhile; [`AccountError::Throttled`] at
/// the limit of mails to that address or of address changes by the network.
pub async fn update<E: From<AccountError>>(
    app: &Arc<App>,
    caller: &Caller,
    id: UserId,
    client: &Client,
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
    if caller.user.id != id {
        require_recent_factor(app, caller).await?;
    }
    let fields = fields.await?;
    // A body can arrive slowly, and the caller may have lost its session or rights meanwhile.
    let caller = recheck(app, caller).await?;
    check_right(&caller, id)?;
    Ok(apply(app, &caller, id, &fields, client).await?)
}

async fn apply(
    app: &Arc<App>,
    caller: &Caller,
    id: UserId,
    fields: &Fields,
    client: &Client,
) -> Result<Updated, AccountError> {
    let now = app.clock.now();
    let photo = prepare_photo(app, caller.user.id, fields).await?;
    let mut reader = FieldReader::new(fields);
    let mut changes = read_changes(&mut reader, &photo, now);
    let reason = if caller.user.is_staff {
        read_staff_changes(&mut reader, &mut changes)
    } else {
        String::new()
    };
    if caller.user.id == id && is_other_email(caller, changes.email.as_ref()) {
        match app.config.accounts.email_change.wants_recent() {
            true => require_recent(app, caller).await?,
            false => require_recent_factor(app, caller).await?,
        }
    }
    let own = [caller.user.email.as_str(), caller.user.shown_email()];
    // As at a sign-up, answers about taken addresses and mails to them are rate-limited. Staff
    // sees all addresses anyway.
    let is_limited = changes.email.as_ref().is_some_and(|email| {
        let is_own = |own: &&str| own.eq_ignore_ascii_case(email.as_str());
        !caller.user.is_staff && !own.iter().any(is_own)
    });
    if let Some(email) = &changes.email {
        if is_limited {
            client.check_limit(app, Limited::AddressChange)?;
            client.check_limit(app, Limited::TakenAddress)?;
        }
        if app.store.is_email_taken(email.key(), Some(id), now).await? {
            if is_limited {
                client.count(app, Limited::TakenAddress)?;
            }
            reader.reject("email", messages::EMAIL_TAKEN);
        }
    }
    reader.finish()?;
    let (set_address, set_birthday) = (changes.address.is_some(), changes.birthday.is_some());
    let (set_is_active, set_is_staff) = (changes.is_active.is_some(), changes.is_staff.is_some());
    let set_photo = !matches!(photo, PhotoChange::Absent);
    let context = client.context(Some(caller)).because(&reason);
    if is_limited {
        client.count(app, Limited::AddressChange)?;
    }
    // From here on a disconnect changes nothing: what is stored is mailed, and no file is left.
    let outcome = detached(store_all(
        Arc::clone(app),
        id,
        changes,
        photo,
        client.clone(),
        (context, now),
    ))
    .await?;
    if is_limited && outcome.is_err() {
        app.limits
            .refund(Limited::AddressChange, client.network(), now);
        if matches!(outcome, Err(AccountError::EmailTaken)) {
            // Another account was faster, and the error reveals as much.
            client.count(app, Limited::TakenAddress)?;
        }
    }
    let user = outcome?;
    if is_limited {
        app.limits.note(Ceiling::NewAddressMails, now);
    }
    log::info!("user {id}: profile updated");
    Ok(Updated {
        user,
        set_photo,
        set_address,
        set_birthday,
        set_is_active,
        set_is_staff,
    })
}

/// Whether `email` is not the address that the caller has now.
fn is_other_email(caller: &Caller, email: Option<&EmailAddress>) -> bool {
    email.is_some_and(|email| email.as_str() != caller.user.shown_email())
}

/// Reads what only staff may set, and its reason for it.
pub(super) fn read_staff_changes(
    reader: &mut FieldReader<'_>,
    changes: &mut UserChanges,
) -> String {
    changes.is_active = reader.optional_bool("is_active");
    changes.is_staff = reader.optional_bool("is_staff");
    read_optional_reason(reader)
}

pub(super) fn read_changes(
    reader: &mut FieldReader<'_>,
    photo: &PhotoChange,
    now: Timestamp,
) -> UserChanges {
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
        photo: read_photo(reader, photo),
        address: reader.optional_text("address", ADDRESS_LENGTH),
        birthday: reader.optional_birthday("birthday", now.date()),
        is_active: None,
        is_staff: None,
    }
}

fn read_photo(reader: &mut FieldReader<'_>, photo: &PhotoChange) -> Option<Option<String>> {
    reader.pass_file("photo");
    match photo {
        PhotoChange::Invalid(message) => {
            reader.reject("photo", *message);
            None
        }
        PhotoChange::Remove => Some(None),
        // The name is known once the file is written.
        PhotoChange::Set(_) | PhotoChange::Absent => None,
    }
}

/// Writes a photo file before the row that names it, and removes the replaced file after it.
async fn store_all(
    app: Arc<App>,
    user_id: UserId,
    mut changes: UserChanges,
    photo: PhotoChange,
    client: Client,
    (context, now): (RequestContext, Timestamp),
) -> Result<User, AccountError> {
    let mut written = None;
    if let PhotoChange::Set(photo) = photo {
        let name = write_photo(&app, photo, now).await?;
        changes.photo = Some(Some(name.clone()));
        written = Some(name);
    }
    let outcome = store_and_mail(&app, user_id, changes, &client, (context, now)).await;
    let unused = match &outcome {
        Ok((_, old_photo)) => old_photo.clone(),
        Err(_) => written,
    };
    if let Some(name) = unused {
        remove_photo(&app, name).await;
    }
    outcome.map(|(user, _)| user)
}

/// Stores the changes. Returns the account and the name of its replaced photo.
pub(super) async fn store_and_mail(
    app: &App,
    user_id: UserId,
    changes: UserChanges,
    client: &Client,
    (context, now): (RequestContext, Timestamp),
) -> Result<(User, Option<String>), AccountError> {
    let request = client.otp_request(now);
    let is_own = context.actor_id == Some(user_id);
    let outcome = app
        .codes
        .draw(async |code| {
            let email_change = changes
                .email
                .as_ref()
                .map(|email| email_change(app, email, &code, &request, is_own));
            let update = UserUpdate {
                user_id,
                changes: changes.clone(),
                email_change,
                promotion_notice: promotion_notice(app, &changes),
                keep_last_staff: true,
                now,
                context: context.clone(),
            };
            app.store.update_user(update).await
        })
        .await?;
    match outcome {
        UpdateOutcome::Updated {
            user,
            mail,
            old_photo,
        } => {
            if mail.is_some() || changes.is_staff == Some(true) {
                app.outbox.wake().await;
            }
            Ok((*user, old_photo))
        }
        UpdateOutcome::NotFound => Err(AccountError::UserNotFound),
        UpdateOutcome::LastStaffMember => Err(AccountError::LastStaffMember),
        UpdateOutcome::EmailTaken => Err(AccountError::EmailTaken),
        UpdateOutcome::NotVerified => {
            Err(FieldErrors::one("is_staff", messages::NOT_VERIFIED).into())
        }
        UpdateOutcome::EmailRestored { until } => {
            let hours = until.since(now).as_secs().div_ceil(60 * 60);
            Err(FieldErrors::one("email", messages::restored_recently(hours)).into())
        }
        UpdateOutcome::Throttled { until } => Err(AccountError::Throttled(until.since(now))),
    }
}

/// The notice of a promotion, if the changes promote an account.
pub(super) fn promotion_notice(app: &App, changes: &UserChanges) -> Option<NewMail> {
    let expires_at = app.clock.now().plus(NOTICE_LIFETIME);
    let notice = || app.outbox.new_mail(&MailContent::Promoted, expires_at);
    (changes.is_staff == Some(true)).then(notice)
}

/// The codes of an address change, the notice with the undo link to the former address, and those to
/// earlier ones, which name the client's address when the owner makes the change.
fn email_change(
    app: &App,
    email: &EmailAddress,
    code: &OtpCode,
    request: &OtpRequest,
    is_own: bool,
) -> EmailChange {
    let otp = |purpose| {
        app.codes
            .new_otp(&app.outbox, purpose, email.key(), code, request)
    };
    let undo = new_undo(app, request.now, |link, days| MailContent::AddressChanged {
        new_email: email.as_str().to_owned(),
        link,
        days,
    });
    let again = MailContent::AddressChangedAgain {
        new_email: email.as_str().to_owned(),
        ip: request.ip.clone().filter(|_| is_own),
    };
    EmailChange {
        notices: notices(app, &again),
        change_otp: otp(OtpPurpose::EmailChange),
        sign_up_otp: otp(OtpPurpose::SignUp),
        undo,
        limits: app.codes.limits(),
    }
}

/// A link that undoes what happens to an account from now on, and the mail around it, which gets
/// the URL and the days that it is valid.
pub(super) fn new_undo(
    app: &App,
    now: Timestamp,
    content: impl FnOnce(String, u64) -> MailContent,
) -> NewEmailUndo {
    let token = random::id();
    let expires_at = now.plus(UNDO_LIFETIME);
    let days = UNDO_LIFETIME.as_secs() / (24 * 60 * 60);
    let content = content(app.links.email_undo(&token), days);
    NewEmailUndo {
        token_hash: app.codes.hash_link(&token),
        expires_at,
        mail: app.outbox.new_mail(&content, expires_at),
    }
}
