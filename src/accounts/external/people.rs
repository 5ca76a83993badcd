//! What a provider says of somebody, in the terms of accounts.

use crate::accounts::profile::NAME_LENGTH;
use crate::domain::{EmailAddress, Profile, trim};
use crate::providers::{ExternalUser, Provider};
use crate::store::ProvenIdentity;

/// Longest name of an identity, in characters.
const SHOWN_LENGTH: usize = 255;

/// Somebody who was proven by a provider.
pub(super) struct Person {
    pub(super) proven: ProvenIdentity,
    /// The address, if it has one of a form that accounts take.
    pub(super) email: Option<EmailAddress>,
    /// Whether the provider is trusted for the address.
    pub(super) is_trusted: bool,
    /// The fields of a new account.
    pub(super) profile: Profile,
}

impl Person {
    /// Reads what a provider has said.
    pub(super) fn of(provider: &Provider, user: ExternalUser) -> Self {
        let email = user.email.as_deref();
        let email = email.and_then(|email| EmailAddress::parse(trim(email)).ok());
        let name = |text: Option<String>, length: usize| tidy(text.as_deref(), length);
        let shown = email.as_ref().map(|email| email.as_str().to_owned());
        Self {
            proven: ProvenIdentity {
                provider: provider.id().to_owned(),
                issuer: user.issuer,
                subject: user.subject,
                email: shown.unwrap_or_default(),
                name: name(user.name, SHOWN_LENGTH),
            },
            is_trusted: user.is_email_trusted,
            email,
            profile: Profile {
                first_name: name(user.given_name, NAME_LENGTH),
                last_name: name(user.family_name, NAME_LENGTH),
                ..Profile::default()
            },
        }
    }
}

/// A text from outside on one line, cut where it is too long for a field.
fn tidy(text: Option<&str>, length: usize) -> String {
    let text = text.unwrap_or_default().replace(char::is_control, " ");
    let cut: String = trim(&text).chars().take(length).collect();
    trim(&cut).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_kept_on_one_line() {
        assert_eq!(tidy(Some(" Ann\u{0}\nLee "), 150), "Ann  Lee");
        assert_eq!(tidy(Some("Änne Lee"), 5), "Änne");
        assert_eq!(tidy(None, 5), "");
    }
}
