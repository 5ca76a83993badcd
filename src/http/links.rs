//! The URLs that mails link to.

use crate::links::Links;

/// The links in mails of a server with this public URL.
pub(crate) fn links(public_url: &str) -> Links {
    Links {
        email_undo: format!("{public_url}/api/v1/accounts/email/undo/"),
    }
}
