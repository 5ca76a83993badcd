//! Mails on standard output.

use std::io::{self, ErrorKind, Stdout, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Mail, MailError, Transport};
use crate::output::TimeoutWriter;

/// How long a mail waits for whoever reads standard output.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints each mail with LF line ends and a blank line after it.
#[derive(Debug)]
pub struct StdoutMailTransport<W = TimeoutWriter<Stdout>> {
    printer: Mutex<Printer<W>>,
}

#[derive(Debug)]
struct Printer<W> {
    out: W,
    /// What is still to be printed of a mail that was begun.
    rest: Vec<u8>,
}

impl Default for StdoutMailTransport {
    fn default() -> Self {
        Self::new(TimeoutWriter::new(io::stdout(), PATIENCE))
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
    fn go_on(&mut self) -> io::Result<()> {
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
        // Held until the end: no other mail gets into the middle of this one.
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was begun comes to its end first.
        printer.go_on().map_err(mail_error)?;
        let length = bytes.len();
        printer.rest = bytes;
        let Err(e) = printer.go_on() else {
            return Ok(());
        };
        if e.kind() == ErrorKind::TimedOut && printer.rest.len() < length {
            // It has begun, and its rest comes before the next one, should anybody read on.
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
            message: "nobody reads standard output, where mails are printed".into(),
            source: Some(e.into()),
        };
    }
    // A part may have been printed, and a closed output never opens again.
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

    /// Takes so many bytes until somebody reads.
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
    fn where_nobody_reads_mails_wait_and_none_is_printed_in_part() {
        let mail = mail_to("ann@example.com");
        let whole = [mail.raw_with_lf(), b"\n".to_vec()].concat();
        let transport = StdoutMailTransport::new(Pipe {
            room: whole.len() + 10,
            content: Vec::new(),
        });
        // The second one is begun.
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
