//! Delivers mails with a local `sendmail` program.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::{Mail, MailError, Transport, redacted};

/// Delivers mails with a `sendmail` program; Postfix, Exim, msmtp and others have one.
#[derive(Clone, Debug)]
pub struct SendmailMailTransport {
    program: OsString,
    timeout: Duration,
}

/// The usual path of the program, which is seldom in the `PATH` of a service.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// Longest run of the program for one mail.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How often the program is checked for its end.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Most bytes of the program's standard error that are read.
const MAX_STDERR: u64 = 4096;

/// `EX_DATAERR`, `EX_NOUSER` and `EX_NOHOST` of sysexits(3): the mail or its recipient is refused.
const REFUSALS: [i32; 3] = [65, 67, 68];

/// `EX_TEMPFAIL` of sysexits(3).
const TEMPORARY_FAILURE: i32 = 75;

const ADVICE: &str = "the sendmail program is not set up; try `mail test` and see its own log";

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
    /// A transport that runs `program`, a path or a name in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            timeout: TIMEOUT,
        }
    }

    /// The mails wait until the operator installs the program or permits its use.
    fn io_error(&self, error: io::Error) -> MailError {
        MailError::Unreachable {
            message: format!("cannot run {}: {error}", self.program.display()),
            advice: Some("the sendmail program cannot be run"),
            source: Some(error.into()),
        }
    }

    /// Waits for the program, and kills it after the timeout.
    fn wait(&self, child: &mut Child) -> Result<ExitStatus, MailError> {
        let steps = self.timeout.as_millis() / POLL_INTERVAL.as_millis();
        for _ in 0..=steps {
            if let Some(status) = child.try_wait().map_err(|e| self.io_error(e))? {
                return Ok(status);
            }
            thread::sleep(POLL_INTERVAL);
        }
        // It may have ended in the meantime.
        let _ = child.kill();
        let _ = child.wait();
        Err(MailError::Temporary {
            message: format!(
                "{} did not end within {:?}",
                self.program.display(),
                self.timeout
            ),
            source: None,
        })
    }
}

impl Transport for SendmailMailTransport {
    fn deliver(&self, mail: &Mail, step: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        let envelope = mail.message.envelope();
        let mut command = Command::new(&self.program);
        // -i: a line with a single dot does not end the message.
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
        // Separate threads: neither an unread pipe nor a full one blocks the wait.
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let message = mail.raw_with_lf();
        let writer =
            thread::spawn(move || stdin.map_or(Ok(()), |mut pipe| pipe.write_all(&message)));
        let reader = thread::spawn(move || {
            let mut output = Vec::new();
            if let Some(pipe) = stderr {
                let _ = pipe.take(MAX_STDERR).read_to_end(&mut output);
            }
            output
        });
        let status = self.wait(&mut child)?;
        if status.success() {
            // Children of the program may keep the pipe open; what it did not read it did not need.
            if writer.is_finished() {
                let written = writer.join().unwrap_or(Ok(()));
                written.map_err(|e| self.io_error(e))?;
            }
            step(&format!("taken by {}", self.program.display()));
            return Ok(());
        }
        // An early end breaks the pipe; exit code and output then say more than that error.
        let output = reader.join().unwrap_or_default();
        let output = redacted(&String::from_utf8_lossy(&output), Some(mail), &[]);
        let message = format!("{} failed ({status}): {output}", self.program.display());
        let source = None;
        Err(match status.code() {
            Some(code) if REFUSALS.contains(&code) => MailError::Permanent { message, source },
            // Without a code it was killed by a signal, which says nothing about the mail.
            Some(TEMPORARY_FAILURE) | None => MailError::Temporary { message, source },
            // Usage, permissions, configuration, a missing file: for the operator to fix.
            Some(_) => MailError::Misconfigured {
                message,
                advice: ADVICE,
            },
        })
    }

    fn name(&self) -> &'static str {
        "sendmail"
    }

    fn max_concurrent(&self) -> usize {
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
    fn sendmail_gets_envelope_and_message_and_its_exit_code_decides() {
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

        for code in [1, 64, 69, 77, 78, 127] {
            let waits = script("broken", &format!("cat > /dev/null; exit {code}"))
                .deliver(&mail, &mut |_| {});
            assert!(
                matches!(waits, Err(MailError::Misconfigured { .. })),
                "{code}"
            );
        }

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
    fn hanging_program_is_killed() {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("hangs");
        fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let transport = SendmailMailTransport {
            program: program.into(),
            timeout: Duration::from_millis(50),
        };
        let error = transport
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Temporary { .. }), "{error:?}");
        assert!(error.to_string().contains("did not end within 50ms"));
    }
}
