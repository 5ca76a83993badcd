//! Prints mails to standard output.

use std::io::{self, ErrorKind, Stdout, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Mail, MailError, Transport};
use crate::output::TimeoutWriter;

/// Longest wait for a reader of standard output.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Prints each mail with LF line ends and a blank line.
#[derive(Debug)]
pub struct StdoutMailTransport<W = TimeoutWriter<Stdout>> {
    printer: Mutex<Printer<W>>,
}

#[derive(Debug)]
struct Printer<W> {
    out: W,
    /// The unprinted rest of the last mail.
    rest: Vec<u8>,
}

impl Default for StdoutMailTransport {
    fn default() -> Self {
        Self::new(TimeoutWriter::new(io::stdout(), TIMEOUT))
    }
}

impl<W: Write + Send> StdoutMailTransport<W> {
    /// A transport that prints to `out`.
    pub fn new(out: W) -> Self {
        let rest = Vec::new();
        Self {
            printer: Mutex::new(Printer { out, rest }),
        }
    }
}

impl<W: Write> Printer<W> {
    /// Prints the rest.
    fn resume(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.out.write(&self.rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => drop(self.rest.drain(..length)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.flush()
    }
}

impl<W: Write + Send> Transport for StdoutMailTransport<W> {
    fn deliver(&self, mail: &Mail, _step: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        let mut bytes = mail.raw_with_lf();
        bytes.push(b'\n');
        // Held until the end, so that mails are not interleaved.
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        // The previous mail is completed first.
        printer.resume().map_err(mail_error)?;
        let length = bytes.len();
        printer.rest = bytes;
        let Err(e) = printer.resume() else {
            return Ok(());
        };
        if e.kind() == ErrorKind::TimedOut && printer.rest.len() < length {
            // It is partly printed; its rest precedes the next mail.
            return Ok(());
        }
        printer.rest.clear();
        Err(mail_error(e))
    }

    fn name(&self) -> &'static str {
        "stdout"
    }
}

fn mail_error(e: io::Error) -> MailError {
    if e.kind() == ErrorKind::TimedOut {
        return MailError::Unreachable {
            message: "standard output, where mails are printed, is not read".into(),
            advice: Some("mails are printed to standard output, which is not read"),
            source: Some(e.into()),
        };
    }
    // A part may have been printed, and a closed output is never reopened.
    MailError::Permanent {
        message: format!("cannot print a mail: {e}"),
        source: Some(e.into()),
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
        let once = String::from_utf8(transport.printer.lock().unwrap().out.clone()).unwrap();
        let raw = String::from_utf8(mail.raw()).unwrap();
        assert_eq!(once, format!("{}\n", raw.replace("\r\n", "\n")));
        assert!(once.contains("\n123456\n"));
        assert!(once.ends_with("--apapapapapapapap--\n\n"));
        transport.deliver(&mail, &mut |_| {}).unwrap();
        assert_eq!(
            String::from_utf8(transport.printer.into_inner().unwrap().out).unwrap(),
            once.repeat(2)
        );
    }

    #[test]
    fn closed_output_is_reported() {
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

    /// Accepts `room` bytes, as a pipe without a reader.
    struct Pipe {
        room: usize,
        content: Vec<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Err(ErrorKind::TimedOut.into());
            }
            self.room -= length;
            self.content.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn unread_output_makes_mails_wait_and_prints_none_in_part() {
        let mail = mail_to("ann@example.com");
        let whole = [mail.raw_with_lf(), b"\n".to_vec()].concat();
        let transport = StdoutMailTransport::new(Pipe {
            room: whole.len() + 10,
            content: Vec::new(),
        });
        // The second one is printed in part.
        transport.deliver(&mail, &mut |_| {}).unwrap();
        transport.deliver(&mail, &mut |_| {}).unwrap();
        for _ in 0..2 {
            let error = transport.deliver(&mail, &mut |_| {}).unwrap_err();
            assert!(matches!(error, MailError::Unreachable { .. }), "{error}");
        }
        transport.printer.lock().unwrap().out.room = usize::MAX;
        transport.deliver(&mail, &mut |_| {}).unwrap();
        let content = transport.printer.into_inner().unwrap().out.content;
        assert_eq!(content, whole.repeat(3));
    }
}
