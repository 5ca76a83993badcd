//! Mail: content, templates, languages, the development inbox ([`Inbox`]) and transports ([`Transport`]).
//!
//! It does not know accounts, HTTP, or the queue and its schedule. It never logs codes or whole
//! addresses. To add a transport, implement [`Transport`]; to add a kind of mail, add a [`MailContent`]
//! and a section in each language file; to add a language, add a file.

mod composer;
mod content;
mod inbox;
mod mailbox;
mod templates;
mod transport;

use std::fmt;

use thiserror::Error;

use crate::domain::{EmailAddress, Timestamp};

pub use composer::{Composer, ComposerOptions};
pub use content::{MailContent, WebhookChangeKind};
pub use inbox::{Inbox, InboxEntry};
pub use templates::BUILT_IN as BUILT_IN_TEMPLATES;
pub use transport::{
    FileMailTransport, SendmailMailTransport, SmtpMailTransport, SmtpOptions, StdoutMailTransport,
    Transport,
};

/// A composed mail.
///
/// The public fields show what it says; the message itself never changes. `Debug` shows neither code nor
/// address.
#[derive(Clone)]
pub struct Mail {
    /// The only recipient.
    pub to: EmailAddress,
    /// The sender, `a@b` or `Name <a@b>`.
    pub from: String,
    /// The subject, decoded.
    pub subject: String,
    /// The text part, with LF line ends.
    pub text: String,
    /// The HTML part, with LF line ends.
    pub html: String,
    /// The one-time password, if any.
    pub otp: Option<String>,
    /// The link, if any.
    pub link: Option<String>,
    /// When the mail was composed.
    pub created_at: Timestamp,
    /// The message id before the `@`, letters only; names the mail in files.
    id: String,
    message: lettre::Message,
}

impl Mail {
    /// The whole message as it is sent: RFC 5322, CRLF line ends.
    pub fn raw(&self) -> Vec<u8> {
        self.message.formatted()
    }

    /// The whole message with LF line ends, for local programs and terminals.
    fn raw_with_lf(&self) -> Vec<u8> {
        let mut bytes = self.raw();
        // The composer writes carriage returns only before line feeds.
        bytes.retain(|byte| *byte != b'\r');
        bytes
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("id", &self.id)
            .field("to", &self.to.masked())
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// What a parser, the system or a library reported.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a mail was not composed, queued or delivered.
///
/// The texts may be logged: recipients are masked, codes and passwords removed, also where a mail server
/// quotes them. For the same reason a server's reply is kept as text only, never as the source.
#[derive(Debug, Error)]
pub enum MailError {
    /// An address is invalid.
    #[error("{message}")]
    Address {
        /// Which one, and what to do.
        message: String,
        /// The cause.
        source: Option<Cause>,
    },
    /// The message cannot be composed; a corrected template or clock may help.
    #[error("the mail cannot be composed: {message}")]
    Compose {
        /// What is wrong with it.
        message: String,
        /// The cause.
        source: Option<Cause>,
    },
    /// The settings of a transport are invalid; the operator has to change them.
    #[error("{message}")]
    Setup {
        /// What is wrong with them, and what to do.
        message: String,
        /// The cause.
        source: Option<Cause>,
    },
    /// No mail can be delivered at present: the server does not answer or refuses the sign-in.
    #[error("{message}{}", suffix(*.advice))]
    Unreachable {
        /// Who failed and what it said.
        message: String,
        /// What the operator can do, where that is known.
        advice: Option<&'static str>,
        /// The cause.
        source: Option<Cause>,
    },
    /// The mail was refused for what the operator has to change, not for its recipient; it waits.
    #[error("{message}{}", suffix(Some(*.advice)))]
    Misconfigured {
        /// Who refused and what it said.
        message: String,
        /// What the operator can do.
        advice: &'static str,
    },
    /// The mail was refused for now and can be retried.
    #[error("{message} (it is retried)")]
    Temporary {
        /// Who failed and what it said.
        message: String,
        /// The cause.
        source: Option<Cause>,
    },
    /// The mail was refused for good.
    #[error("{message} (a retry does not help)")]
    Permanent {
        /// Who refused and what it said.
        message: String,
        /// The cause.
        source: Option<Cause>,
    },
}

/// Longest reason that is kept, in characters.
const REASON_LENGTH: usize = 500;

fn suffix(advice: Option<&str>) -> String {
    advice.map_or_else(String::new, |advice| format!("; {advice}"))
}

impl MailError {
    /// Whether a retry of the same mail is pointless.
    ///
    /// A mail that cannot be composed can be later, with another template or clock.
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Permanent { .. } | Self::Address { .. } | Self::Setup { .. }
        )
    }

    /// Why it failed, without what happens next. At most 500 characters.
    pub fn reason(&self) -> String {
        let reason = match self {
            Self::Address { message, .. }
            | Self::Setup { message, .. }
            | Self::Temporary { message, .. }
            | Self::Permanent { message, .. } => message.clone(),
            Self::Compose { .. } | Self::Unreachable { .. } | Self::Misconfigured { .. } => {
                self.to_string()
            }
        };
        reason.chars().take(REASON_LENGTH).collect()
    }

    /// What the operator has to fix, where that is known.
    ///
    /// The text has no replies, addresses or host names and is fit for anyone.
    pub const fn operator_problem(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable {
                advice: Some(advice),
                ..
            }
            | Self::Misconfigured { advice, .. } => Some(advice),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::domain::OtpPurpose;

    /// A mail with the code 123456, composed at 2024-12-03T12:00:00.123Z.
    pub(super) fn mail_to(to: &str) -> Mail {
        mail_with_id(to, [0x0f; 16])
    }

    pub(super) fn mail_with_id(to: &str, id: [u8; 16]) -> Mail {
        static COMPOSER: LazyLock<Composer> = LazyLock::new(|| {
            Composer::new(&ComposerOptions {
                from: "Accounts <accounts@example.com>",
                reply_to: None,
                public_url: "http://127.0.0.1:8000",
                default_language: "en",
                templates_dir: None,
            })
            .unwrap()
        });
        COMPOSER
            .compose(
                &MailContent::Otp {
                    purpose: OtpPurpose::SignUp,
                    code: "123456".to_owned(),
                    minutes: 10,
                    link: None,
                    ip: None,
                    requested_at: None,
                },
                &EmailAddress::parse(to).unwrap(),
                "",
                Timestamp::from_unix_millis(1_733_227_200_123),
                id,
            )
            .unwrap()
    }

    #[test]
    fn debug_shows_neither_code_nor_address() {
        let shown = format!("{:?}", mail_to("ann@example.com"));
        assert!(
            !shown.contains("123456") && !shown.contains("ann@"),
            "{shown}"
        );
    }
}
