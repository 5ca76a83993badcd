//! Removing all factors of an account for somebody who has lost them.

use std::net::{IpAddr, Ipv4Addr};

use crate::accounts::new_password::notices;
use crate::accounts::recent::require_recent;
use crate::accounts::refresh::recheck;
use crate::accounts::staff::{self, check_staff};
use crate::accounts::{AccountError, Caller, Client, operator, site_ways, unread};
use crate::app::App;
use crate::domain::{EmailAddress, FieldReader, Fields, OtpPurpose, User, UserId};
use crate::mail::MailContent;
use crate::otp_codes::OtpRequest;
use crate::store::{RequestContext, ResetFactors};

/// Removes all factors of an account and revokes its sessions. The owner is notified.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::UserNotFound`];
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::Fields`] without a reason.
pub async fn reset_factors(
    app: &App,
    caller: &Caller,
    id: UserId,
    fields: &Fields,
    client: &Client,
) -> Result<(), AccountError> {
    let caller = &recheck(app, caller).await?;
    check_staff(caller)?;
    require_recent(app, caller).await?;
    let mut reader = FieldReader::new(fields);
    let reason = read_reason(&mut reader);
    reader.finish()?;
    let reason = reason.ok_or_else(unread)?;
    let context = client.context(Some(caller)).because(&reason);
    apply(app, id, &client.otp_request(app.clock.now()), context).await
}

/// Reads why the factors are removed.
pub(crate) fn read_reason(reader: &mut FieldReader<'_>) -> Option<String> {
    staff::read_reason(reader)
}

/// As [`reset_factors`], for administrators.
///
/// # Errors
/// [`AccountError::UserNotFound`].
pub async fn reset_factors_of(app: &App, user: &User, reason: &str) -> Result<(), AccountError> {
    let request = OtpRequest {
        now: app.clock.now(),
        network: IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
        ip: None,
        requested_at: None,
    };
    apply(app, user.id, &request, operator(app).because(reason)).await
}

/// Removes the factors in the name of a context whose right the caller has checked. An account that
/// could sign in with passkeys only gets a password reset.
pub(in crate::accounts) async fn apply(
    app: &App,
    user_id: UserId,
    request: &OtpRequest,
    context: RequestContext,
) -> Result<(), AccountError> {
    let user = app.store.find_user(user_id).await?;
    let user = user.ok_or(AccountError::UserNotFound)?;
    let email = EmailAddress::parse(&user.email)
        .map_err(|_| AccountError::Internal("a stored address is invalid".into()))?;
    let exists = app
        .codes
        .draw(async |code| {
            let purpose = OtpPurpose::PasswordReset;
            let reset = ResetFactors {
                user_id,
                email: (email.key().to_owned(), email.as_str().to_owned()),
                reset: app
                    .codes
                    .new_otp(&app.outbox, purpose, email.key(), &code, request),
                ways: site_ways(app),
                notices: notices(app, &MailContent::FactorRemoved { ip: None }),
                context: context.clone(),
                now: request.now,
            };
            app.store.reset_factors(reset).await
        })
        .await?;
    if !exists {
        return Err(AccountError::UserNotFound);
    }
    app.outbox.wake().await;
    log::info!("user {user_id}: factors reset, sessions revoked");
    Ok(())
}
