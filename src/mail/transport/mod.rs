//! Transports: an SMTP server, a local `sendmail` program, a directory, or standard output.
//!
//! They own connections and timeouts, and decide whether a failure concerns one mail or all and whether it
//! is temporary. Queue and retries are unknown here; of a mail they use the message, the envelope and what
//! error texts must not contain.

mod file;
mod sendmail;
mod smtp;
mod stdout;

pub use file::FileMailTransport;
pub use sendmail::SendmailMailTransport;
pub use smtp::{SmtpMailTransport, SmtpOptions};
pub use stdout::StdoutMailTransport;

use super::{Mail, MailError};

/// Delivers mails, blocking until each is done.
pub trait Transport: Send + Sync {
    /// Delivers one mail and reports each step as a line. After `Ok` the receiver is responsible for it.
    ///
    /// # Errors
    /// [`MailError::Unreachable`] when no mail can be delivered at present, [`MailError::Misconfigured`] when
    /// the operator has to change something first, [`MailError::Temporary`] when this mail can be retried,
    /// [`MailError::Permanent`] when not.
    fn deliver(&self, mail: &Mail, step: &mut dyn FnMut(&str)) -> Result<(), MailError>;

    /// A short name for the log.
    fn name(&self) -> &'static str;

    /// How many mails may be delivered concurrently.
    fn max_concurrent(&self) -> usize {
        1
    }

    /// Checks whether mails can be delivered, without sending one.
    ///
    /// # Errors
    /// [`MailError::Unreachable`] when not.
    fn probe(&self) -> Result<(), MailError> {
        Ok(())
    }

    /// Checks in addition, where possible, whether mails of this sender are accepted.
    ///
    /// # Errors
    /// As [`Transport::probe`], and [`MailError::Misconfigured`] when the sender is refused.
    fn probe_sender(&self, _sender: &str) -> Result<(), MailError> {
        self.probe()
    }

    /// Closes idle connections.
    fn close_idle(&self) {}
}

/// Most characters of a reply or output in an error text.
const MAX_QUOTED: usize = 300;

/// Makes a reply or output fit for the log: one line of bounded length without secrets.
///
/// Servers quote addresses, subjects and commands. The recipient of `mail` is masked; its code and link and
/// the `secrets` are removed.
fn redacted(text: &str, mail: Option<&Mail>, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    if let Some(mail) = mail {
        for secret in mail.otp.iter().chain(&mail.link) {
            text = text.replace(secret.as_str(), "***");
        }
        let masked = mail.to.masked();
        for address in [mail.to.ascii(), mail.to.as_str().to_owned()] {
            text = replace_ignoring_case(&text, &address, &masked);
        }
    }
    text.split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MAX_QUOTED)
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
