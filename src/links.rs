//! The links in mails, and the URLs that are registered elsewhere. The HTTP layer knows the paths and gives them in.

use crate::domain::OtpPurpose;

/// Where the links in mails lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// URL of the page that undoes an address change, up to its token.
    pub email_undo: String,
    /// URL of the sign-in with external providers, up to the id of one.
    pub external: String,
    /// URL of the photos, up to the name of one.
    pub photos: String,
    /// URL of the page that confirms an address; `None` puts no links into such mails.
    pub confirm: Option<String>,
    /// URL of the page that resets a password; `None` puts no links into such mails.
    pub reset: Option<String>,
    /// URL of the page that accepts an invitation; `None` when there is none.
    pub invitation: Option<String>,
}

/// Stands for the token in a configured URL.
const TOKEN: &str = "{token}";

impl Links {
    /// The link that undoes an address change.
    pub fn email_undo(&self, token: &str) -> String {
        format!("{}{token}/", self.email_undo)
    }

    /// The redirect URI of this server at an external provider, which is registered there.
    pub fn provider_callback(&self, provider: &str) -> String {
        format!("{}{provider}/callback/", self.external)
    }

    /// The URL of a photo, for the applications that users sign in to.
    pub fn photo(&self, name: &str) -> String {
        format!("{}{name}", self.photos)
    }

    /// The link that does the same as a code, if there is a page for it.
    pub fn otp(&self, purpose: OtpPurpose, token: &str) -> Option<String> {
        let url = match purpose {
            OtpPurpose::SignUp | OtpPurpose::EmailChange => self.confirm.as_deref(),
            OtpPurpose::PasswordReset => self.reset.as_deref(),
            // A link would open another browser than the one that asks.
            OtpPurpose::Reauthentication => None,
        }?;
        Some(with_token(url, token))
    }

    /// The link that accepts an invitation, if there is a page for it.
    pub fn invitation(&self, token: &str) -> Option<String> {
        Some(with_token(self.invitation.as_deref()?, token))
    }
}

/// A URL with the token in its place, or at the end of its query.
fn with_token(url: &str, token: &str) -> String {
    if url.contains(TOKEN) {
        return url.replace(TOKEN, token);
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}token={token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_gets_its_place_in_the_configured_url() {
        for (url, link) in [
            (
                "https://a.example/confirm",
                "https://a.example/confirm?token=t",
            ),
            (
                "https://a.example/?page=1",
                "https://a.example/?page=1&token=t",
            ),
            ("https://a.example/#/c/{token}", "https://a.example/#/c/t"),
        ] {
            let links = Links {
                email_undo: String::new(),
                external: String::new(),
                photos: String::new(),
                confirm: Some(url.to_owned()),
                reset: None,
                invitation: Some(url.to_owned()),
            };
            assert_eq!(links.otp(OtpPurpose::SignUp, "t").as_deref(), Some(link));
            assert_eq!(links.otp(OtpPurpose::PasswordReset, "t"), None);
            assert_eq!(links.invitation("t").as_deref(), Some(link));
        }
    }
}
