//! The mail queue, for staff and administrators: look mails up, retry them, discard them.
//!
//! Nobody sees the text, code or link of a mail.

use super::{AccountError, Administrator};
use crate::app::App;
use crate::store::{MailChange, MailEntry, MailQuery, Page, RetryOutcome};

/// A page of the mail queue.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::InvalidPage`] past the
/// end.
pub async fn list_mails(
    app: &App,
    by: Administrator<'_>,
    query: MailQuery,
) -> Result<Page<MailEntry>, AccountError> {
    by.context(app)?;
    let page = app.store.list_mail_entries(query).await?;
    page.ok_or(AccountError::InvalidPage)
}

/// Makes a mail due at once, also one that was given up. Returns it as it is then.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::NotFound`];
/// [`AccountError::MailExpired`] when it can no longer be sent.
pub async fn retry_mail(
    app: &App,
    by: Administrator<'_>,
    id: i64,
) -> Result<MailEntry, AccountError> {
    match app.store.retry_mail(change(app, by, id)?).await? {
        RetryOutcome::Due(mail) => {
            log::info!("mail {id}: due at once");
            app.outbox.wake().await;
            Ok(mail)
        }
        RetryOutcome::NotFound => Err(AccountError::NotFound),
        RetryOutcome::Expired => Err(AccountError::MailExpired),
    }
}

/// Discards a mail. An attempt that is under way goes on, so it may still arrive.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::NotFound`].
pub async fn discard_mail(app: &App, by: Administrator<'_>, id: i64) -> Result<(), AccountError> {
    if !app.store.discard_mail(change(app, by, id)?).await? {
        return Err(AccountError::NotFound);
    }
    log::info!("mail {id}: discarded");
    Ok(())
}

fn change(app: &App, by: Administrator<'_>, id: i64) -> Result<MailChange, AccountError> {
    Ok(MailChange {
        id,
        now: app.clock.now(),
        context: by.context(app)?,
    })
}
