//! What a mail is to say, before it has words, a language or a recipient.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::OtpPurpose;

/// What a mail is to say.
///
/// As JSON it lies in the queue, where another version of the program may find it: names stay as they are, a new field has a
/// `#[serde(default)]`, and fields that are not known are passed over.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MailContent {
    /// A one-time password.
    Otp {
        /// What it is for.
        purpose: OtpPurpose,
        /// Six ASCII digits.
        code: String,
        /// How long it lives.
        minutes: u64,
    },
    /// The address of the account was changed; goes to the one before.
    AddressChanged {
        /// The address now.
        new_email: String,
        /// One of ours; undoes the change.
        link: String,
        /// How long it works.
        days: u64,
    },
    /// The password of the account was changed.
    PasswordChanged {
        /// From where; nothing when an administrator did it.
        ip: Option<String>,
    },
    /// Somebody signed in from a place that is new to the account.
    NewSignIn {
        /// From where.
        ip: String,
    },
    /// A mail to see whether mails arrive.
    Test,
}

impl MailContent {
    /// One of each kind with made-up values, and a name for each.
    pub fn samples() -> Vec<(&'static str, Self)> {
        let otp = |purpose| Self::Otp {
            purpose,
            code: "135790".to_owned(),
            minutes: 10,
        };
        let ip = || "203.0.113.7".to_owned();
        vec![
            ("sign_up", otp(OtpPurpose::SignUp)),
            ("email_change", otp(OtpPurpose::EmailChange)),
            ("password_reset", otp(OtpPurpose::PasswordReset)),
            (
                "address_changed",
                Self::AddressChanged {
                    new_email: "new@example.com".to_owned(),
                    link: "https://accounts.example.com/api/v1/accounts/email/undo/\
                           281ace4c0c89f8235eecce45a2e3e557/"
                        .to_owned(),
                    days: 7,
                },
            ),
            ("password_changed", Self::PasswordChanged { ip: Some(ip()) }),
            ("password_set", Self::PasswordChanged { ip: None }),
            ("new_sign_in", Self::NewSignIn { ip: ip() }),
            ("test", Self::Test),
        ]
    }

    /// The same when so much is left of its life: a code that comes late says how long it still counts, to the nearest minute,
    /// and one of less than a minute says one. So a mail that is sent twice within seconds is the same mail.
    #[must_use]
    pub fn with_time_left(mut self, left: Duration) -> Self {
        if let Self::Otp { minutes, .. } = &mut self {
            let left = (left.as_secs() + 30) / 60;
            *minutes = left.clamp(1, (*minutes).max(1));
        }
        self
    }

    /// The section of a language file that has its sentences.
    pub(super) const fn section(&self) -> &'static str {
        match self {
            Self::Otp { purpose, .. } => purpose.as_str(),
            Self::AddressChanged { .. } => "address_changed",
            Self::PasswordChanged { .. } => "password_changed",
            Self::NewSignIn { .. } => "new_sign_in",
            Self::Test => "test",
        }
    }

    /// The name of the templates that put its sentences together, without `.txt` and `.html`.
    pub(super) const fn template(&self) -> &'static str {
        match self {
            Self::Otp { .. } => "code",
            Self::AddressChanged { .. } => "address_changed",
            Self::PasswordChanged { .. } | Self::NewSignIn { .. } => "notice",
            Self::Test => "test",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an earlier version has put into the queue, kind by kind.
    const QUEUED: [&str; 7] = [
        r#"{"kind":"otp","purpose":"sign_up","code":"012345","minutes":10}"#,
        r#"{"kind":"otp","purpose":"email_change","code":"012345","minutes":10}"#,
        r#"{"kind":"otp","purpose":"password_reset","code":"012345","minutes":10}"#,
        r#"{"kind":"address_changed","new_email":"a@b.example","link":"https://c.example/d/","days":7}"#,
        r#"{"kind":"password_changed","ip":null}"#,
        r#"{"kind":"new_sign_in","ip":"203.0.113.7"}"#,
        r#"{"kind":"test"}"#,
    ];

    #[test]
    fn the_form_in_the_queue_stays() {
        for queued in QUEUED {
            let content: MailContent = serde_json::from_str(queued).unwrap();
            assert_eq!(serde_json::to_string(&content).unwrap(), queued);
            // What a later version adds to it, this one passes over.
            let later = queued.replacen('{', r#"{"added_later":[1],"#, 1);
            let content: MailContent = serde_json::from_str(&later).unwrap();
            assert_eq!(serde_json::to_string(&content).unwrap(), queued);
        }
        let absent: MailContent = serde_json::from_str(r#"{"kind":"password_changed"}"#).unwrap();
        assert!(matches!(absent, MailContent::PasswordChanged { ip: None }));
    }

    #[test]
    fn there_is_a_sample_of_every_kind() {
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
        kinds.sort_unstable();
        samples.sort_unstable();
        samples.dedup();
        assert_eq!(kinds, samples);
    }
}
