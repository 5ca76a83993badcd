//! Mails by a local program.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::{Mail, MailError, Transport, fit_for_log};

/// Hands mails to a program that takes them as `sendmail` does; Postfix, Exim, msmtp and others bring one.
#[derive(Clone, Debug)]
pub struct SendmailMailTransport {
    program: OsString,
    patience: Duration,
}

/// Where the program lives by custom; few services have that folder in their `PATH`.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// How long the program may take for one mail.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often the program is looked after.
const LOOK: Duration = Duration::from_millis(5);

/// Most bytes that are read of what the program has to say.
const MAX_STDERR: u64 = 4096;

/// `EX_TEMPFAIL` of sysexits(3).
const TEMPORARY_FAILURE: i32 = 75;

impl Default for SendmailMailTransport {
    fn default() -> Self {
        let usual = Path::new(SENDMAIL);
        Self::new(if usual.exists() {
            usual
        } else {
            Path::new("sendmail")
        })
    }
}

impl SendmailMailTransport {
    /// A transport that runs `program`, a path or a name to be found in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            patience: PATIENCE,
        }
    }

    /// Whoever runs the server can install the program or let us run it; the mails wait for that.
    fn io_error(&self, error: io::Error) -> MailError {
        MailError::Unreachable {
            message: format!("cannot run {}: {error}", self.program.display()),
            source: Some(error.into()),
        }
    }

    /// Waits for the program, and ends it when it takes too long.
    fn wait(&self, child: &mut Child) -> Result<ExitStatus, MailError> {
        let steps = self.patience.as_millis() / LOOK.as_millis();
        for _ in 0..=steps {
            if let Some(status) = child.try_wait().map_err(|e| self.io_error(e))? {
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
        // It may have ended by itself in the meantime.
        let _ = child.kill();
        let _ = child.wait();
        Err(MailError::Temporary {
            message: format!(
                "{} did not end within {:?}",
                self.program.display(),
                self.patience
            ),
            source: None,
        })
    }
}

impl Transport for SendmailMailTransport {
    fn deliver(&self, mail: &Mail, step: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        let envelope = mail.message.envelope();
        let mut command = Command::new(&self.program);
        // -i: a line with a single dot is no end of the message.
        command.arg("-i");
        if let Some(from) = envelope.from() {
            command.arg("-f").arg(from);
        }
        let mut child = command
            .arg("--")
            .args(envelope.to())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| self.io_error(e))?;
        // On threads of their own: neither a program that reads nothing nor one that talks much holds us up.
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let message = mail.raw_with_lf();
        let writer =
            thread::spawn(move || stdin.map_or(Ok(()), |mut pipe| pipe.write_all(&message)));
        let reader = thread::spawn(move || {
            let mut words = Vec::new();
            if let Some(pipe) = stderr {
                let _ = pipe.take(MAX_STDERR).read_to_end(&mut words);
            }
            words
        });
        let status = self.wait(&mut child)?;
        if status.success() {
            // A program that leaves children behind may keep the pipe open; what it did not read it did not want.
            if writer.is_finished() {
                let written = writer.join().unwrap_or(Ok(()));
                written.map_err(|e| self.io_error(e))?;
            }
            step(&format!("taken by {}", self.program.display()));
            return Ok(());
        }
        // A program that ends early breaks the pipe; its exit code and its words then say more than that.
        let words = reader.join().unwrap_or_default();
        let words = fit_for_log(&String::from_utf8_lossy(&words), Some(mail), &[]);
        let message = format!("{} failed ({status}): {words}", self.program.display());
        let source = None;
        Err(match status.code() {
            // Without a code it was killed by a signal, which says nothing about the mail.
            Some(TEMPORARY_FAILURE) | None => MailError::Temporary { message, source },
            Some(_) => MailError::Permanent { message, source },
        })
    }

    fn name(&self) -> &'static str {
        "sendmail"
    }

    fn lanes(&self) -> usize {
        2
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::tests::mail_to;
    use super::*;

    #[cfg(unix)]
    #[test]
    fn sendmail_gets_envelope_and_message_and_its_exit_code_counts() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().unwrap();
        let script = |name: &str, body: &str| {
            let path = root.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            SendmailMailTransport::new(path)
        };
        let mail = mail_to("ann@example.com");
        let out = root.path().join("out");

        script(
            "good",
            &format!("echo \"$@\" > '{0}'; cat >> '{0}'", out.display()),
        )
        .deliver(&mail, &mut |_| {})
        .unwrap();
        let mut expected = b"-i -f accounts@example.com -- ann@example.com\n".to_vec();
        expected.extend(mail.raw_with_lf());
        assert_eq!(fs::read(&out).unwrap(), expected);

        let later = script("later", "cat > /dev/null; exit 75").deliver(&mail, &mut |_| {});
        assert!(matches!(later, Err(MailError::Temporary { .. })));

        let words = "no <Ann@Example.com> for 123456";
        let never = script(
            "never",
            &format!("cat > /dev/null; echo '{words}' >&2; exit 67"),
        )
        .deliver(&mail, &mut |_| {})
        .unwrap_err();
        assert!(matches!(never, MailError::Permanent { .. }));
        let shown = format!("{never} {never:?}");
        assert!(shown.contains("for ***"), "{shown}");
        assert!(
            !shown.contains("123456") && !shown.to_lowercase().contains("ann@"),
            "{shown}"
        );

        let absent =
            SendmailMailTransport::new(root.path().join("absent")).deliver(&mail, &mut |_| {});
        assert!(matches!(
            absent,
            Err(MailError::Unreachable {
                source: Some(_),
                ..
            })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_hangs_is_ended() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("hangs");
        fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let transport = SendmailMailTransport {
            program: program.into(),
            patience: Duration::from_millis(50),
        };
        let error = transport
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Temporary { .. }), "{error:?}");
        assert!(error.to_string().contains("did not end within 50ms"));
    }
}
