//! The cookies of the pages. The API reads none of them.
//!
//! With an https address every name has the prefix `__Host-` (RFC 6265bis, section 4.1.3.2): the
//! browser then takes the cookie only with `Secure`, `Path=/` and without `Domain`, so that no
//! other host of the domain can plant one.

use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The secret of a browser session.
    Session,
    /// Binds the forms of somebody who is not signed in to the browser.
    Form,
    /// The ticket of a sign-in that waits for a second factor.
    Ticket,
    /// Binds a request to a provider to the browser that was sent there.
    Provider,
    /// The ticket of an identity that waits for its account.
    Identity,
    /// A message for the next page.
    Flash,
    /// The chosen language.
    Language,
    /// A passkey was offered in this browser.
    PasskeyOffered,
    /// The id of the request of an application that somebody signs in to.
    Application,
}

impl Cookie {
    const fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => "__Host-session",
            (Self::Session, false) => "session",
            (Self::Form, true) => "__Host-form",
            (Self::Form, false) => "form",
            (Self::Ticket, true) => "__Host-ticket",
            (Self::Ticket, false) => "ticket",
            (Self::Provider, true) => "__Host-provider",
            (Self::Provider, false) => "provider",
            (Self::Identity, true) => "__Host-identity",
            (Self::Identity, false) => "identity",
            (Self::Flash, true) => "__Host-flash",
            (Self::Flash, false) => "flash",
            (Self::Language, true) => "__Host-language",
            (Self::Language, false) => "language",
            (Self::PasskeyOffered, true) => "__Host-passkey-offered",
            (Self::PasskeyOffered, false) => "passkey-offered",
            (Self::Application, true) => "__Host-application",
            (Self::Application, false) => "application",
        }
    }

    /// Its value in a request; the first one of the name counts.
    pub(super) fn read(self, headers: &HeaderMap, is_secure: bool) -> Option<&str> {
        let name = self.name(is_secure);
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(known, value)| (known == name && !value.is_empty()).then_some(value))
    }

    /// Sets it in a response. `life` is `None` for as long as the browser runs.
    pub(super) fn set(
        self,
        headers: &mut HeaderMap,
        is_secure: bool,
        value: &str,
        life: Option<Duration>,
    ) {
        let name = self.name(is_secure);
        let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
        if let Some(life) = life {
            text.push_str(&format!("; Max-Age={}", life.as_secs()));
        }
        if is_secure {
            text.push_str("; Secure");
        }
        if let Ok(text) = HeaderValue::try_from(text) {
            headers.append(SET_COOKIE, text);
        }
    }

    /// Whether a response sets or removes it.
    pub(super) fn is_set(self, headers: &HeaderMap, is_secure: bool) -> bool {
        let start = format!("{}=", self.name(is_secure));
        let mut set = headers.get_all(SET_COOKIE).iter();
        set.any(|cookie| cookie.as_bytes().starts_with(start.as_bytes()))
    }

    /// Removes it.
    pub(super) fn remove(self, headers: &mut HeaderMap, is_secure: bool) {
        self.set(headers, is_secure, "", Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; session=plain"));
        headers.append(COOKIE, HeaderValue::from_static("__Host-session=secure;x"));
        assert_eq!(Cookie::Session.read(&headers, true), Some("secure"));
        assert_eq!(Cookie::Session.read(&headers, false), Some("plain"));
        assert_eq!(Cookie::Flash.read(&headers, true), None);
    }

    #[test]
    fn attributes_protect_the_value() {
        let mut headers = HeaderMap::new();
        Cookie::Session.set(&mut headers, true, "v", Some(Duration::from_mins(1)));
        Cookie::Form.set(&mut headers, false, "w", None);
        let set: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(
            set,
            [
                "__Host-session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure",
                "form=w; Path=/; HttpOnly; SameSite=Lax",
            ]
        );
    }
}
