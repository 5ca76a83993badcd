//! The URLs that mails link to.

use crate::config::MailConfig;
use crate::links::Links;

/// The links in mails of a server with this public URL and these settings.
pub(crate) fn links(public_url: &str, mail: &MailConfig) -> Links {
    let url = |url: &String| Some(url.clone()).filter(|url| !url.is_empty());
    Links {
        email_undo: format!("{public_url}/api/v1/accounts/email/undo/"),
        confirm: url(&mail.confirm_url),
        reset: url(&mail.reset_url),
    }
}
