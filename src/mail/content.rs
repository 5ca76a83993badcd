//! What a mail says, before it has a text, a language or a recipient.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::OtpPurpose;

/// What a mail says.
///
/// It is queued as JSON, where another version of the program may find it: names never change, a new
/// field has `#[serde(default)]`, and unknown fields are ignored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MailContent {
    /// A one-time password and the link that does the same.
    Otp {
        /// What it is for.
        purpose: OtpPurpose,
        /// Six ASCII digits.
        code: String,
        /// How long code and link are valid.
        minutes: u64,
        /// The URL with the token, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// The client's address; absent when an administrator caused the mail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ip: Option<String>,
        /// When the sign-up, change or request was made, in Unix seconds, where it is not the time of the
        /// mail: a code that is sent again names its sign-up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requested_at: Option<i64>,
    },
    /// The address of the account was changed; goes to the previous one.
    AddressChanged {
        /// The new address.
        new_email: String,
        /// The URL that undoes the change.
        link: String,
        /// How long it is valid.
        days: u64,
    },
    /// The address of the account was changed once more; goes to earlier ones whose undo link is valid.
    AddressChangedAgain {
        /// The new address.
        new_email: String,
        /// The client's address; absent when an administrator did it.
        ip: Option<String>,
    },
    /// The new address of the account was confirmed; goes to the previous one.
    AddressConfirmed {
        /// The new address.
        new_email: String,
        /// The client's address.
        ip: Option<String>,
    },
    /// A change of address was undone; goes to the address that the account has again.
    AddressRestored {
        /// The client's address.
        ip: Option<String>,
    },
    /// A change of address was undone; goes to the address that the account no longer has.
    AddressRemoved,
    /// The password of the account was changed.
    PasswordChanged {
        /// The client's address; absent when an administrator did it.
        ip: Option<String>,
    },
    /// Someone signed in from a network that is new to the account.
    NewSignIn {
        /// The client's address.
        ip: String,
    },
    /// An authenticator app was added to the account.
    FactorAdded {
        /// The client's address.
        ip: String,
        /// The URL that undoes it, for the account's own address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// How long it is valid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        days: Option<u64>,
    },
    /// The account no longer has a second factor.
    FactorRemoved {
        /// The client's address; absent when an administrator did it.
        ip: Option<String>,
    },
    /// The authenticator app was removed from an account that has other factors.
    AppRemoved {
        /// The client's address.
        ip: String,
    },
    /// A passkey was added to the account.
    PasskeyAdded {
        /// Its name.
        name: String,
        /// The client's address.
        ip: String,
        /// The URL that undoes it, for the account's own address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// How long it is valid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        days: Option<u64>,
    },
    /// A passkey was removed from the account.
    PasskeyRemoved {
        /// Its name.
        name: String,
        /// The client's address.
        ip: String,
    },
    /// An identity at a provider was connected to the account.
    IdentityConnected {
        /// What people call the provider.
        provider: String,
        /// The address that the provider has; empty without one.
        email: String,
        /// The client's address.
        ip: String,
        /// The URL that undoes it, for the account's own address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// How long it is valid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        days: Option<u64>,
    },
    /// An identity was disconnected from the account.
    IdentityDisconnected {
        /// What people call the provider.
        provider: String,
        /// The address that the provider has; empty without one.
        email: String,
        /// The client's address.
        ip: String,
    },
    /// The recovery codes of the account were replaced.
    RecoveryCodesReplaced {
        /// The client's address.
        ip: String,
    },
    /// The account was deleted.
    AccountDeleted {
        /// The client's address; absent when an administrator did it.
        ip: Option<String>,
    },
    /// The account got administrator rights.
    Promoted,
    /// Somebody changed where events are sent; goes to all staff.
    WebhookChanged {
        /// What was done.
        change: WebhookChangeKind,
        /// Host and port of the receiver.
        host: String,
        /// Who did it.
        by: String,
        /// The client's address; absent when a command did it.
        ip: Option<String>,
    },
    /// The server has disabled a webhook; goes to all staff.
    WebhookDisabled {
        /// Why, as [`crate::domain::WebhookDisabled`] names it.
        reason: String,
        /// Host and port of the receiver.
        host: String,
    },
    /// Staff invites the recipient to create an account.
    Invitation {
        /// The URL with the token.
        link: String,
        /// How long it is valid.
        days: u64,
    },
    /// A test of mail delivery.
    Test,
}

/// What was done to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookChangeKind {
    /// It was added.
    Added,
    /// It was changed.
    Changed,
    /// Its secret was replaced.
    SecretRotated,
    /// It was removed.
    Removed,
}

impl WebhookChangeKind {
    /// Its name in sentences.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::SecretRotated => "secret_rotated",
            Self::Removed => "removed",
        }
    }
}

impl MailContent {
    /// One mail of each kind with made-up values, and a name for each.
    #[expect(clippy::too_many_lines, reason = "it is one list")]
    pub fn samples() -> Vec<(&'static str, Self)> {
        let ip = || Some("203.0.113.7".to_owned());
        let new_email = || "new@example.com".to_owned();
        let otp = |purpose, path| Self::Otp {
            purpose,
            code: "135790".to_owned(),
            minutes: 10,
            link: Some(format!(
                "https://accounts.example.com/{path}/281ace4c0c89f8235eecce45a2e3e557/"
            )),
            ip: ip(),
            requested_at: None,
        };
        vec![
            ("sign_up", otp(OtpPurpose::SignUp, "confirm")),
            ("email_change", otp(OtpPurpose::EmailChange, "confirm")),
            ("password_reset", otp(OtpPurpose::PasswordReset, "reset")),
            (
                "reauthentication",
                Self::Otp {
                    purpose: OtpPurpose::Reauthentication,
                    code: "135790".to_owned(),
                    minutes: 10,
                    link: None,
                    ip: ip(),
                    requested_at: None,
                },
            ),
            (
                "address_changed",
                Self::AddressChanged {
                    new_email: new_email(),
                    link: "https://accounts.example.com/api/v1/accounts/email/undo/\
                           281ace4c0c89f8235eecce45a2e3e557/"
                        .to_owned(),
                    days: 7,
                },
            ),
            (
                "address_changed_again",
                Self::AddressChangedAgain {
                    new_email: new_email(),
                    ip: ip(),
                },
            ),
            (
                "address_confirmed",
                Self::AddressConfirmed {
                    new_email: new_email(),
                    ip: ip(),
                },
            ),
            ("address_restored", Self::AddressRestored { ip: ip() }),
            ("address_removed", Self::AddressRemoved),
            ("password_changed", Self::PasswordChanged { ip: ip() }),
            ("password_set", Self::PasswordChanged { ip: None }),
            (
                "new_sign_in",
                Self::NewSignIn {
                    ip: "203.0.113.7".to_owned(),
                },
            ),
            (
                "factor_added",
                Self::FactorAdded {
                    ip: "203.0.113.7".to_owned(),
                    link: Some(
                        "https://accounts.example.com/account/undo/\
                         281ace4c0c89f8235eecce45a2e3e557/"
                            .to_owned(),
                    ),
                    days: Some(7),
                },
            ),
            ("factor_removed", Self::FactorRemoved { ip: ip() }),
            (
                "app_removed",
                Self::AppRemoved {
                    ip: "203.0.113.7".to_owned(),
                },
            ),
            (
                "passkey_added",
                Self::PasskeyAdded {
                    name: "Pixel 9".to_owned(),
                    ip: "203.0.113.7".to_owned(),
                    link: Some(
                        "https://accounts.example.com/account/undo/\
                         281ace4c0c89f8235eecce45a2e3e557/"
                            .to_owned(),
                    ),
                    days: Some(7),
                },
            ),
            (
                "passkey_removed",
                Self::PasskeyRemoved {
                    name: "Pixel 9".to_owned(),
                    ip: "203.0.113.7".to_owned(),
                },
            ),
            (
                "identity_connected",
                Self::IdentityConnected {
                    provider: "Google".to_owned(),
                    email: "ann@example.com".to_owned(),
                    ip: "203.0.113.7".to_owned(),
                    link: Some(
                        "https://accounts.example.com/account/undo/\
                         281ace4c0c89f8235eecce45a2e3e557/"
                            .to_owned(),
                    ),
                    days: Some(7),
                },
            ),
            (
                "identity_disconnected",
                Self::IdentityDisconnected {
                    provider: "Google".to_owned(),
                    email: "ann@example.com".to_owned(),
                    ip: "203.0.113.7".to_owned(),
                },
            ),
            (
                "recovery_codes_replaced",
                Self::RecoveryCodesReplaced {
                    ip: "203.0.113.7".to_owned(),
                },
            ),
            ("account_deleted", Self::AccountDeleted { ip: ip() }),
            ("promoted", Self::Promoted),
        ]
        .into_iter()
        .chain(Self::staff_samples())
        .collect()
    }

    fn staff_samples() -> Vec<(&'static str, Self)> {
        vec![
            (
                "webhook_changed",
                Self::WebhookChanged {
                    change: WebhookChangeKind::Added,
                    host: "crm.example.com".to_owned(),
                    by: "admin@example.com".to_owned(),
                    ip: Some("203.0.113.7".to_owned()),
                },
            ),
            (
                "webhook_disabled",
                Self::WebhookDisabled {
                    reason: "failing".to_owned(),
                    host: "crm.example.com".to_owned(),
                },
            ),
            (
                "invitation",
                Self::Invitation {
                    link: "https://accounts.example.com/account/invitation/\
                           ?token=281ace4c0c89f8235eecce45a2e3e557"
                        .to_owned(),
                    days: 7,
                },
            ),
            ("test", Self::Test),
        ]
    }

    /// Sets the remaining lifetime of a code, to the nearest minute and at least one.
    ///
    /// Rounding makes a mail that is sent twice within seconds the same mail.
    #[must_use]
    pub fn with_time_left(mut self, left: Duration) -> Self {
        if let Self::Otp { minutes, .. } = &mut self {
            let left = (left.as_secs() + 30) / 60;
            *minutes = left.clamp(1, (*minutes).max(1));
        }
        self
    }

    /// Its kind, as the queue names it.
    pub const fn kind(&self) -> &'static str {
        self.section()
    }

    /// The section of a language file that has its sentences.
    pub(super) const fn section(&self) -> &'static str {
        match self {
            Self::Otp { purpose, .. } => purpose.as_str(),
            Self::AddressChanged { .. } => "address_changed",
            Self::AddressChangedAgain { .. } => "address_changed_again",
            Self::AddressConfirmed { .. } => "address_confirmed",
            Self::AddressRestored { .. } => "address_restored",
            Self::AddressRemoved => "address_removed",
            Self::PasswordChanged { .. } => "password_changed",
            Self::NewSignIn { .. } => "new_sign_in",
            Self::FactorAdded { .. } => "factor_added",
            Self::FactorRemoved { .. } => "factor_removed",
            Self::AppRemoved { .. } => "app_removed",
            Self::PasskeyAdded { .. } => "passkey_added",
            Self::PasskeyRemoved { .. } => "passkey_removed",
            Self::IdentityConnected { .. } => "identity_connected",
            Self::IdentityDisconnected { .. } => "identity_disconnected",
            Self::RecoveryCodesReplaced { .. } => "recovery_codes_replaced",
            Self::AccountDeleted { .. } => "account_deleted",
            Self::Promoted => "promoted",
            Self::WebhookChanged { .. } => "webhook_changed",
            Self::WebhookDisabled { .. } => "webhook_disabled",
            Self::Invitation { .. } => "invitation",
            Self::Test => "test",
        }
    }

    /// The name of its templates, without `.txt` and `.html`.
    pub(super) const fn template(&self) -> &'static str {
        match self {
            Self::Otp { .. } => "code",
            Self::AddressChanged { .. } => "address_changed",
            Self::AddressChangedAgain { .. }
            | Self::AddressConfirmed { .. }
            | Self::AddressRestored { .. }
            | Self::AddressRemoved
            | Self::PasswordChanged { .. }
            | Self::NewSignIn { .. }
            | Self::FactorAdded { .. }
            | Self::FactorRemoved { .. }
            | Self::AppRemoved { .. }
            | Self::PasskeyAdded { .. }
            | Self::PasskeyRemoved { .. }
            | Self::IdentityConnected { .. }
            | Self::IdentityDisconnected { .. }
            | Self::RecoveryCodesReplaced { .. }
            | Self::AccountDeleted { .. }
            | Self::Promoted
            | Self::WebhookChanged { .. }
            | Self::WebhookDisabled { .. } => "notice",
            Self::Invitation { .. } => "invitation",
            Self::Test => "test",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What earlier versions have queued, kind by kind.
    const QUEUED: [&str; 28] = [
        r#"{"kind":"otp","purpose":"sign_up","code":"012345","minutes":10}"#,
        r#"{"kind":"otp","purpose":"email_change","code":"012345","minutes":10}"#,
        r#"{"kind":"otp","purpose":"password_reset","code":"012345","minutes":10}"#,
        r#"{"kind":"otp","purpose":"reauthentication","code":"012345","minutes":10}"#,
        r#"{"kind":"otp","purpose":"sign_up","code":"012345","minutes":10,"link":"https://c.example/d/","ip":"203.0.113.7","requested_at":1733227200}"#,
        r#"{"kind":"address_changed","new_email":"a@b.example","link":"https://c.example/d/","days":7}"#,
        r#"{"kind":"address_changed_again","new_email":"a@b.example","ip":"203.0.113.7"}"#,
        r#"{"kind":"address_confirmed","new_email":"a@b.example","ip":"203.0.113.7"}"#,
        r#"{"kind":"address_restored","ip":"203.0.113.7"}"#,
        r#"{"kind":"address_removed"}"#,
        r#"{"kind":"password_changed","ip":null}"#,
        r#"{"kind":"new_sign_in","ip":"203.0.113.7"}"#,
        r#"{"kind":"factor_added","ip":"203.0.113.7","link":"https://c.example/d/","days":7}"#,
        r#"{"kind":"app_removed","ip":"203.0.113.7"}"#,
        r#"{"kind":"passkey_added","name":"Pixel 9","ip":"203.0.113.7","link":"https://c.example/d/","days":7}"#,
        r#"{"kind":"passkey_removed","name":"Pixel 9","ip":"203.0.113.7"}"#,
        r#"{"kind":"factor_added","ip":"203.0.113.7"}"#,
        r#"{"kind":"factor_removed","ip":null}"#,
        r#"{"kind":"identity_connected","provider":"Google","email":"a@b.example","ip":"203.0.113.7","link":"https://c.example/d/","days":7}"#,
        r#"{"kind":"identity_disconnected","provider":"Google","email":"","ip":"203.0.113.7"}"#,
        r#"{"kind":"recovery_codes_replaced","ip":"203.0.113.7"}"#,
        r#"{"kind":"account_deleted","ip":null}"#,
        r#"{"kind":"promoted"}"#,
        r#"{"kind":"webhook_changed","change":"added","host":"https://c.example","by":"a@b.example","ip":"203.0.113.7"}"#,
        r#"{"kind":"webhook_changed","change":"secret_rotated","host":"https://c.example","by":"root","ip":null}"#,
        r#"{"kind":"webhook_disabled","reason":"gone","host":"https://c.example"}"#,
        r#"{"kind":"invitation","link":"https://c.example/d/","days":7}"#,
        r#"{"kind":"test"}"#,
    ];

    #[test]
    fn queued_form_never_changes() {
        for queued in QUEUED {
            let content: MailContent = serde_json::from_str(queued).unwrap();
            assert_eq!(serde_json::to_string(&content).unwrap(), queued);
            // A field of a later version is ignored.
            let later = queued.replacen('{', r#"{"added_later":[1],"#, 1);
            let content: MailContent = serde_json::from_str(&later).unwrap();
            assert_eq!(serde_json::to_string(&content).unwrap(), queued);
        }
        let absent: MailContent = serde_json::from_str(r#"{"kind":"password_changed"}"#).unwrap();
        assert!(matches!(absent, MailContent::PasswordChanged { ip: None }));
    }

    #[test]
    fn every_kind_has_a_sample() {
        let mut kinds: Vec<_> = QUEUED
            .iter()
            .map(|queued| {
                serde_json::from_str::<MailContent>(queued)
                    .unwrap()
                    .section()
            })
            .collect();
        let mut samples: Vec<_> = MailContent::samples()
            .iter()
            .map(|(_, content)| content.section())
            .collect();
        for sections in [&mut kinds, &mut samples] {
            sections.sort_unstable();
            sections.dedup();
        }
        assert_eq!(kinds, samples);
    }
}
