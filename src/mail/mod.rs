//! Mail: composing it ([`Composer`]), keeping it for development ([`Inbox`]), and handing it to what carries it on
//! ([`Transport`]).
//!
//! Nothing here knows accounts, HTTP, the queue that mails wait in or when one is due; codes and addresses are never
//! logged. A new way of carrying mail is one more [`Transport`]; a new kind of mail is one more [`MailContent`] with a section
//! in each language file, and a new language one more file.

mod content;
mod inbox;
mod language;
mod message;
mod templates;
mod transport;

use std::error::Error;
use std::fmt;

use crate::domain::{EmailAddress, Timestamp};

pub use content::MailContent;
pub use inbox::{Inbox, InboxEntry};
pub use message::{Composer, ComposerOptions};
pub use templates::BUILT_IN as BUILT_IN_TEMPLATES;
pub use transport::{
    FileMailTransport, SendmailMailTransport, SmtpMailTransport, SmtpOptions, StdoutMailTransport,
    Transport,
};

/// A finished mail.
///
/// The public fields say what it says; what travels is fixed when it is composed. `Debug` shows neither code nor
/// address.
#[derive(Clone)]
pub struct Mail {
    /// The one recipient.
    pub to: EmailAddress,
    /// The sender, `a@b` or `Name <a@b>`.
    pub from: String,
    /// The subject, decoded.
    pub subject: String,
    /// The text part, with LF line ends.
    pub text: String,
    /// The HTML part, with LF line ends.
    pub html: String,
    /// The one-time password, where the mail carries one.
    pub otp: Option<String>,
    /// The link, where the mail carries one.
    pub link: Option<String>,
    /// When the mail was composed.
    pub created_at: Timestamp,
    /// The part of the message id before the `@`, letters only: names the mail in files.
    id: String,
    message: lettre::Message,
}

impl Mail {
    /// The whole message as it travels: RFC 5322, CRLF line ends.
    pub fn raw(&self) -> Vec<u8> {
        self.message.formatted()
    }

    /// The whole message with LF line ends, as local programs and terminals expect it.
    fn raw_with_lf(&self) -> Vec<u8> {
        let mut bytes = self.raw();
        // The composer writes no carriage return but before a line feed.
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

/// Why a mail was not composed, queued or delivered.
///
/// The texts may be logged: recipients are masked, codes and passwords left out, also where a mail server quotes them.
/// For the same reason a server's reply is kept as text only, never as the source.
#[derive(Debug)]
pub enum MailError {
    /// An address is unusable; another one is needed.
    Address {
        /// Which one, and what to do.
        message: String,
        /// What the parser said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The message could not be put together from what was given.
    Compose {
        /// What is wrong with it.
        message: String,
        /// What the builder said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The settings of a transport are unusable; the person who runs the server has to change them.
    Setup {
        /// What is wrong with them, and what to do.
        message: String,
        /// What the system said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// No mail can be handed over at present, whatever it says: the server does not answer or does not let us in.
    Unreachable {
        /// Who failed and what it said.
        message: String,
        /// What the system said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// This mail was refused in a way that may pass; it may be tried again.
    Temporary {
        /// Who failed and what it said.
        message: String,
        /// What the system said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The transport refused the mail; trying again is of no use.
    Permanent {
        /// Who refused and what it said.
        message: String,
        /// What the system said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl MailError {
    /// Whether trying the same mail again is of no use.
    ///
    /// One that cannot be composed may be later, when a template or the clock was set right.
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Permanent { .. } | Self::Address { .. } | Self::Setup { .. }
        )
    }
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { message, .. }
            | Self::Setup { message, .. }
            | Self::Unreachable { message, .. } => f.write_str(message),
            Self::Compose { message, .. } => write!(f, "the mail cannot be composed: {message}"),
            Self::Temporary { message, .. } => write!(f, "{message} (it may work later)"),
            Self::Permanent { message, .. } => {
                write!(f, "{message} (trying again will not help)")
            }
        }
    }
}

impl Error for MailError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Address { source, .. }
            | Self::Compose { source, .. }
            | Self::Setup { source, .. }
            | Self::Unreachable { source, .. }
            | Self::Temporary { source, .. }
            | Self::Permanent { source, .. } => source.as_deref().map(|e| e as _),
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
