//! The ways a mail leaves: an SMTP server, a local `sendmail` program, a folder, or standard output.
//!
//! Owns connection settings, timeouts and the question whether a failure is the mail's or everybody's, and may pass.
//! Knows nothing of queues or retries, and of a mail only its bytes, its envelope and what must be kept out of error texts.

mod file;
mod sendmail;
mod smtp;
mod smtp_url;
mod stdout;

pub use file::FileMailTransport;
pub use sendmail::SendmailMailTransport;
pub use smtp::{SmtpMailTransport, SmtpOptions};
pub use stdout::StdoutMailTransport;

use super::{Mail, MailError};

/// Carries mails on, each waiting until it is done.
pub trait Transport: Send + Sync {
    /// Hands one mail over and tells `step` what happens on the way, a line each. Once this returns `Ok`, somebody else is
    /// responsible for the mail.
    ///
    /// # Errors
    /// [`MailError::Unreachable`] when no mail can be handed over at present, [`MailError::Temporary`] when this one may
    /// be tried again, [`MailError::Permanent`] when that is of no use.
    fn deliver(&self, mail: &Mail, step: &mut dyn FnMut(&str)) -> Result<(), MailError>;

    /// A short name for the log.
    fn name(&self) -> &'static str;

    /// How many mails may be handed over side by side.
    fn lanes(&self) -> usize {
        1
    }

    /// Tries whether mails could be handed over.
    ///
    /// # Errors
    /// [`MailError::Unreachable`] when not.
    fn probe(&self) -> Result<(), MailError> {
        Ok(())
    }

    /// Lets go of what is kept for the next mail, as none has come for a while.
    fn rest(&self) {}
}

/// How much of what others say goes into an error text, in characters.
const MAX_WORDS: usize = 300;

/// Makes what a mail server or program said fit for a log: one line of bounded length, in which the recipient of `mail` is masked
/// and the code and the `secrets` are left out. Servers quote addresses, subjects and commands in their replies.
fn fit_for_log(words: &str, mail: Option<&Mail>, secrets: &[String]) -> String {
    let mut words = words.to_owned();
    for secret in secrets {
        words = words.replace(secret.as_str(), "***");
    }
    if let Some(mail) = mail {
        for secret in mail.otp.iter().chain(&mail.link) {
            words = words.replace(secret.as_str(), "***");
        }
        let masked = mail.to.masked();
        for address in [mail.to.ascii(), mail.to.as_str().to_owned()] {
            words = replace_ignoring_case(&words, &address, &masked);
        }
    }
    words
        .split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MAX_WORDS)
        .collect()
}

fn replace_ignoring_case(text: &str, needle: &str, with: &str) -> String {
    // Lower-casing ASCII letters alone keeps every byte where it is.
    let (lower, needle) = (text.to_ascii_lowercase(), needle.to_ascii_lowercase());
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (start, _) in lower.match_indices(&needle) {
        out.push_str(&text[end..start]);
        out.push_str(with);
        end = start + needle.len();
    }
    out.push_str(&text[end..]);
    out
}
