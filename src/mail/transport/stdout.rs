//! Mails on standard output.

use std::io::{self, Stdout, Write};
use std::sync::{Mutex, PoisonError};

use super::{Mail, MailError, Transport};

/// Prints each mail with LF line ends and a blank line after it.
#[derive(Debug)]
pub struct StdoutMailTransport<W = Stdout> {
    out: Mutex<W>,
}

impl Default for StdoutMailTransport<Stdout> {
    fn default() -> Self {
        Self::new(io::stdout())
    }
}

impl<W: Write + Send> StdoutMailTransport<W> {
    /// A transport that prints to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out: Mutex::new(out),
        }
    }
}

impl<W: Write + Send> Transport for StdoutMailTransport<W> {
    fn deliver(&self, mail: &Mail, _step: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        let mut bytes = mail.raw_with_lf();
        bytes.push(b'\n');
        // Standard output stays locked during one `write_all`: no other line gets into the middle of a mail.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&bytes)
            .and_then(|()| out.flush())
            // A part may have been printed, and a closed output never opens again.
            .map_err(|e| MailError::Permanent {
                message: format!("cannot print a mail: {e}"),
                source: Some(e.into()),
            })
    }

    fn name(&self) -> &'static str {
        "stdout"
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::mail_to;
    use super::*;

    #[test]
    fn stdout_prints_the_message_with_lf_and_a_blank_line() {
        let mail = mail_to("ann@example.com");
        let transport = StdoutMailTransport::new(Vec::new());
        transport.deliver(&mail, &mut |_| {}).unwrap();
        let once = String::from_utf8(transport.out.lock().unwrap().clone()).unwrap();
        let raw = String::from_utf8(mail.raw()).unwrap();
        assert_eq!(once, format!("{}\n", raw.replace("\r\n", "\n")));
        assert!(once.contains("\n123456\n"));
        assert!(once.ends_with("--apapapapapapapap--\n\n"));
        transport.deliver(&mail, &mut |_| {}).unwrap();
        assert_eq!(
            String::from_utf8(transport.out.into_inner().unwrap()).unwrap(),
            once.repeat(2)
        );
    }

    #[test]
    fn a_closed_output_is_told() {
        let full = std::io::Cursor::new([0; 10]);
        let error = StdoutMailTransport::new(full)
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(
            error,
            MailError::Permanent {
                source: Some(_),
                ..
            }
        ));
    }
}
