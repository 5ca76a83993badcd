//! The URLs that mails link to.

use super::pages;
use crate::config::Config;
use crate::links::Links;

/// The links in mails of a server with these settings.
///
/// They lead to the account pages, unless the settings name others. Without either a mail carries
/// its code alone.
pub(crate) fn links(public_url: &str, config: &Config) -> Links {
    let has_pages = config.pages.enabled && pages::are_safe_at(public_url);
    let url = |setting: &str, page: &str| {
        if !setting.is_empty() {
            return Some(setting.to_owned());
        }
        has_pages.then(|| format!("{public_url}{page}"))
    };
    let undo = if has_pages {
        "/account/undo/"
    } else {
        "/api/v1/accounts/email/undo/"
    };
    Links {
        email_undo: format!("{public_url}{undo}"),
        external: format!("{public_url}/api/v1/accounts/o/"),
        photos: format!("{public_url}/media/photos/"),
        confirm: url(&config.mail.confirm_url, "/account/confirm/"),
        reset: url(&config.mail.reset_url, "/account/reset/confirm/"),
        invitation: url(&config.mail.invitation_url, "/account/invitation/"),
    }
}
