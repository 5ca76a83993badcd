//! The ways a mail leaves: an SMTP server, a local `sendmail` program, a folder, or standard output.
//!
//! Owns connection settings, timeouts and the question whether a failure may pass. Knows nothing of queues or retries,
//! and of a mail only its bytes, its envelope and what must be kept out of error texts.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Stdout, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::SmtpTransport;
use lettre::Transport as _;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{PoolConfig, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};

use super::{Mail, MailError};

/// Carries mails on, one at a time and waiting until it is done.
pub trait Transport: Send {
    /// Hands one mail over. Once this returns `Ok`, somebody else is responsible for the mail.
    ///
    /// # Errors
    /// [`MailError::Temporary`] when the same mail may be tried again, [`MailError::Permanent`] when that is of no use.
    fn deliver(&mut self, mail: &Mail) -> Result<(), MailError>;

    /// A short name for the log.
    fn name(&self) -> &'static str;
}

/// How long one step of the conversation with a mail server may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of what others say goes into an error text, in characters.
const MAX_WORDS: usize = 300;

/// Makes what a mail server or program said fit for a log: one line of bounded length, in which the recipient is masked
/// and the code and the `secrets` are left out. Servers quote addresses, subjects and commands in their replies.
fn fit_for_log(words: &str, mail: &Mail, secrets: &[String]) -> String {
    let masked = mail.to.masked();
    let mut words = words.to_owned();
    for secret in secrets.iter().chain(&mail.otp).chain(&mail.link) {
        words = words.replace(secret.as_str(), "***");
    }
    for address in [mail.to.ascii(), mail.to.as_str().to_owned()] {
        words = replace_ignoring_case(&words, &address, &masked);
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

/// Sends by an SMTP server and keeps the connection for the mails that follow within a minute.
pub struct SmtpMailTransport {
    transport: SmtpTransport,
    /// Host and port, for errors.
    server: String,
    /// What must not appear in errors: the password and the forms in which it goes over the wire.
    secrets: Vec<String>,
}

impl SmtpMailTransport {
    /// A transport for `smtp://USER:PASSWORD@HOST:PORT` or `smtps://…`; nothing is connected yet.
    ///
    /// User and password may be left out, special characters in them are percent-encoded. Ports: 465 for `smtps`; for
    /// `smtp` 25 without and 587 with encryption. `smtps` is encrypted from the first byte. For `smtp` STARTTLS is
    /// `?tls=required`, `opportunistic` or `none`; by default it is required, for a loopback host there is none. A
    /// path is the name to greet the server with, the machine's own by default. Each step may take 30 seconds.
    ///
    /// # Errors
    /// [`MailError::Setup`] when the URL has another form. The text never quotes it: it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, MailError> {
        let url = SmtpUrl::parse(url).map_err(|problem| MailError::Setup {
            message: format!(
                "{problem}; write smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT \
                 with special characters percent-encoded"
            ),
            source: None,
        })?;
        let tls_parameters = || {
            TlsParameters::new(url.host.clone()).map_err(|e| MailError::Setup {
                message: "the mail server's name cannot be checked by TLS; use its DNS name"
                    .to_owned(),
                source: Some(e.into()),
            })
        };
        let (tls, default_port) = match url.encryption {
            Encryption::None => (Tls::None, SMTP_PORT),
            Encryption::StartTlsIfOffered => {
                (Tls::Opportunistic(tls_parameters()?), SUBMISSION_PORT)
            }
            Encryption::StartTls => (Tls::Required(tls_parameters()?), SUBMISSION_PORT),
            Encryption::Wrapped => (Tls::Wrapper(tls_parameters()?), SUBMISSIONS_PORT),
        };
        if url.credentials.is_some()
            && !is_loopback(&url.host)
            && matches!(
                url.encryption,
                Encryption::None | Encryption::StartTlsIfOffered
            )
        {
            log::warn!(
                "the mail server's password may go over the network unencrypted; \
                 leave ?tls= away or use smtps://"
            );
        }
        let port = url.port.unwrap_or(default_port);
        let server = match url.host.contains(':') {
            true => format!("[{}]:{port}", url.host),
            false => format!("{}:{port}", url.host),
        };
        let mut builder = SmtpTransport::builder_dangerous(url.host)
            .port(port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            // One thread sends, one mail at a time.
            .pool_config(PoolConfig::new().max_size(1));
        if let Some(name) = url.hello_name {
            builder = builder.hello_name(ClientId::Domain(name));
        }
        let mut secrets = Vec::new();
        if let Some((user, password)) = url.credentials {
            // AUTH PLAIN sends the first of these (RFC 4616), AUTH LOGIN the second.
            secrets = vec![
                BASE64.encode(format!("\0{user}\0{password}")),
                BASE64.encode(&password),
                password.clone(),
            ];
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self {
            transport: builder.build(),
            server,
            secrets,
        })
    }

    fn error(&self, error: lettre::transport::smtp::Error, mail: &Mail) -> MailError {
        let words = fit_for_log(&error.to_string(), mail, &self.secrets);
        let message = format!("mail server {}: {words}", self.server);
        // What the client itself refuses is settled by configuration: no STARTTLS, no way to authenticate.
        let permanent = error.is_permanent() || error.is_client();
        // A reply has been told in the text; kept as the source it would get past the masking.
        let is_reply = error.status().is_some() || error.is_response();
        let source = (!is_reply).then(|| error.into());
        if permanent {
            MailError::Permanent { message, source }
        } else {
            MailError::Temporary { message, source }
        }
    }
}

impl Transport for SmtpMailTransport {
    fn deliver(&mut self, mail: &Mail) -> Result<(), MailError> {
        // The library ends the message with a line break of its own.
        let raw = mail.raw();
        let raw = raw.strip_suffix(b"\r\n").unwrap_or(&raw);
        self.transport
            .send_raw(mail.message.envelope(), raw)
            .map(drop)
            .map_err(|e| self.error(e, mail))
    }

    fn name(&self) -> &'static str {
        "smtp"
    }
}

impl fmt::Debug for SmtpMailTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailTransport")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// How the conversation with a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    None,
    StartTlsIfOffered,
    StartTls,
    Wrapped,
}

/// The parts of an SMTP URL. The library's own reader has no `tls=none`, no IPv6 hosts and no encryption by default.
struct SmtpUrl {
    encryption: Encryption,
    /// User and password, decoded.
    credentials: Option<(String, String)>,
    /// A name or an IP address without brackets.
    host: String,
    port: Option<u16>,
    hello_name: Option<String>,
}

impl SmtpUrl {
    /// The error says what is wrong without quoting the URL.
    fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.trim().split_once("://").ok_or("this is no URL")?;
        if rest.contains('#') {
            return Err("an SMTP URL has no part after \"#\"");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port)?;
        let port = port
            .map(|port| port.parse::<u16>().ok().filter(|port| *port > 0))
            .map(|port| port.ok_or("the port is no number from 1 to 65535"))
            .transpose()?;
        let credentials = userinfo.map(parse_credentials).transpose()?;
        let tls = match query {
            "" => None,
            query => Some(query.strip_prefix("tls=").ok_or("only ?tls= is known")?),
        };
        let encryption = match (scheme.to_ascii_lowercase().as_str(), tls) {
            ("smtps", None | Some("required")) => Encryption::Wrapped,
            ("smtps", _) => return Err("smtps:// is always encrypted and takes no ?tls="),
            ("smtp", Some("required")) => Encryption::StartTls,
            ("smtp", Some("opportunistic")) => Encryption::StartTlsIfOffered,
            ("smtp", Some("none")) => Encryption::None,
            ("smtp", Some(_)) => return Err("tls is one of none, opportunistic, required"),
            ("smtp", None) if is_loopback(&host) => Encryption::None,
            ("smtp", None) => Encryption::StartTls,
            _ => return Err("the scheme is smtp or smtps"),
        };
        let hello_name = match path.trim_end_matches('/') {
            "" => None,
            // A password with a bare slash ends up here, too, and must not be sent as a greeting.
            name if is_host_name(name) => Some(name.to_owned()),
            _ => return Err("the path is no host name"),
        };
        Ok(Self {
            encryption,
            credentials,
            host,
            port,
            hello_name,
        })
    }
}

/// Splits `host:port`, where an IPv6 address stands in brackets.
fn split_port(text: &str) -> Result<(String, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
        let is_address = address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        return match (is_address, rest, rest.strip_prefix(':')) {
            (true, "", _) => Ok((address.to_owned(), None)),
            (true, _, Some(port)) => Ok((address.to_owned(), Some(port))),
            _ => Err("only an IPv6 address stands in brackets"),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if is_host_name(host) {
        Ok((host.to_ascii_lowercase(), port))
    } else {
        Err("the host is no name")
    }
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn parse_credentials(userinfo: &str) -> Result<(String, String), &'static str> {
    let (user, password) = userinfo
        .split_once(':')
        .ok_or("there is a user without a password")?;
    let (user, password) = (percent_decoded(user)?, percent_decoded(password)?);
    if user.is_empty() || password.is_empty() {
        return Err("user or password is empty");
    }
    Ok((user, password))
}

fn percent_decoded(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "a % in user or password is not followed by the two digits of a UTF-8 byte";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = rest.next().map(char::from)?.to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let (high, low) = digit().zip(digit()).ok_or(WRONG)?;
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| WRONG)
}

/// Hands mails to a program that takes them as `sendmail` does; Postfix, Exim, msmtp and others bring one.
#[derive(Clone, Debug)]
pub struct SendmailMailTransport {
    program: OsString,
}

/// Where the program lives by custom; few services have that folder in their `PATH`.
const SENDMAIL: &str = "/usr/sbin/sendmail";

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
        }
    }

    /// A program that is not there or not ours to run stays so; anything else may pass.
    fn io_error(&self, error: io::Error) -> MailError {
        let settled = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        );
        let message = format!("cannot run {}: {error}", self.program.display());
        let source = Some(error.into());
        if settled {
            MailError::Permanent { message, source }
        } else {
            MailError::Temporary { message, source }
        }
    }
}

impl Transport for SendmailMailTransport {
    fn deliver(&mut self, mail: &Mail) -> Result<(), MailError> {
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
        // A program that ends early breaks the pipe; its exit code and its words then say more than that.
        let written = child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(&mail.raw_with_lf()));
        let output = child.wait_with_output().map_err(|e| self.io_error(e))?;
        if output.status.success() {
            return written.map_err(|e| self.io_error(e));
        }
        let words = fit_for_log(&String::from_utf8_lossy(&output.stderr), mail, &[]);
        let message = format!(
            "{} failed ({}): {words}",
            self.program.display(),
            output.status
        );
        let source = None;
        Err(match output.status.code() {
            // Without a code it was killed by a signal, which says nothing about the mail.
            Some(TEMPORARY_FAILURE) | None => MailError::Temporary { message, source },
            Some(_) => MailError::Permanent { message, source },
        })
    }

    fn name(&self) -> &'static str {
        "sendmail"
    }
}

/// Puts each mail into a folder as a file of its own, `<time>-<message id>.eml`, which sort by time.
#[derive(Clone, Debug)]
pub struct FileMailTransport {
    dir: PathBuf,
}

impl FileMailTransport {
    /// A transport into `dir`, which is created with its parents when it is missing; a new one is its owner's alone,
    /// because the files hold codes.
    ///
    /// # Errors
    /// [`MailError::Setup`] when `dir` cannot be created or is no folder.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, MailError> {
        let dir = dir.into();
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&dir) {
            Ok(()) => Ok(Self { dir }),
            Err(e) => Err(MailError::Setup {
                message: format!("cannot create the folder {}: {e}", dir.display()),
                source: Some(e.into()),
            }),
        }
    }

    /// Writes under a name that no reader of `*.eml` looks at and renames, so that nobody sees half a mail.
    fn write(&self, mail: &Mail) -> io::Result<()> {
        let name = format!(
            "{}.{:03}Z-{}.eml",
            mail.created_at
                .to_string()
                .trim_end_matches('Z')
                .replace(':', ""),
            mail.created_at.unix_millis().rem_euclid(1_000),
            mail.id
        );
        let temporary = self.dir.join(format!(".{name}.tmp"));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&mail.raw())?;
            file.sync_all()?;
            fs::rename(&temporary, self.dir.join(&name))
        });
        if written.is_err() {
            // The first failure is the one to tell.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl Transport for FileMailTransport {
    fn deliver(&mut self, mail: &Mail) -> Result<(), MailError> {
        // A full disk gets room and a lost folder comes back: each failure may pass.
        self.write(mail).map_err(|e| MailError::Temporary {
            message: format!(
                "cannot write a mail to the folder {}: {e}",
                self.dir.display()
            ),
            source: Some(e.into()),
        })
    }

    fn name(&self) -> &'static str {
        "file"
    }
}

/// Prints each mail with LF line ends and a blank line after it.
#[derive(Clone, Debug)]
pub struct StdoutMailTransport<W = Stdout> {
    out: W,
}

impl Default for StdoutMailTransport<Stdout> {
    fn default() -> Self {
        Self::new(io::stdout())
    }
}

impl<W: Write + Send> StdoutMailTransport<W> {
    /// A transport that prints to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Transport for StdoutMailTransport<W> {
    fn deliver(&mut self, mail: &Mail) -> Result<(), MailError> {
        let mut bytes = mail.raw_with_lf();
        bytes.push(b'\n');
        // Standard output stays locked during one `write_all`: no other line gets into the middle of a mail.
        self.out
            .write_all(&bytes)
            .and_then(|()| self.out.flush())
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
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::super::tests::mail_to;
    use super::*;

    #[test]
    fn stdout_prints_the_message_with_lf_and_a_blank_line() {
        let mail = mail_to("ann@example.com");
        let mut transport = StdoutMailTransport::new(Vec::new());
        transport.deliver(&mail).unwrap();
        let once = String::from_utf8(transport.out.clone()).unwrap();
        let raw = String::from_utf8(mail.raw()).unwrap();
        assert_eq!(once, format!("{}\n", raw.replace("\r\n", "\n")));
        assert!(once.contains("\n123456\n"));
        assert!(once.ends_with("--apapapapapapapap--\n\n"));
        transport.deliver(&mail).unwrap();
        assert_eq!(String::from_utf8(transport.out).unwrap(), once.repeat(2));
    }

    #[test]
    fn a_closed_output_is_told() {
        let full: &mut [u8] = &mut [0; 10];
        let error = StdoutMailTransport::new(full)
            .deliver(&mail_to("ann@example.com"))
            .unwrap_err();
        assert!(matches!(
            error,
            MailError::Permanent {
                source: Some(_),
                ..
            }
        ));
    }

    #[test]
    fn each_mail_becomes_one_sortable_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("deep/mails");
        let mail = mail_to("ann@example.com");
        FileMailTransport::new(&dir)
            .unwrap()
            .deliver(&mail)
            .unwrap();
        FileMailTransport::new(&dir).unwrap();
        let names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(
            names,
            ["2024-12-03T120000.123Z-apapapapapapapapapapapapapapapap.eml"]
        );
        assert_eq!(fs::read(dir.join(&names[0])).unwrap(), mail.raw());

        fs::remove_dir_all(&dir).unwrap();
        let error = FileMailTransport { dir }.deliver(&mail).unwrap_err();
        assert!(error.is_temporary(), "{error}");
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = FileMailTransport::new(&file).unwrap_err();
        assert!(matches!(error, MailError::Setup { .. }), "{error}");
    }

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
        .deliver(&mail)
        .unwrap();
        let mut expected = b"-i -f accounts@example.com -- ann@example.com\n".to_vec();
        expected.extend(mail.raw_with_lf());
        assert_eq!(fs::read(&out).unwrap(), expected);

        let later = script("later", "cat > /dev/null; exit 75").deliver(&mail);
        assert!(matches!(later, Err(MailError::Temporary { .. })));

        let words = "no <Ann@Example.com> for 123456";
        let never = script(
            "never",
            &format!("cat > /dev/null; echo '{words}' >&2; exit 67"),
        )
        .deliver(&mail)
        .unwrap_err();
        assert!(matches!(never, MailError::Permanent { .. }));
        let shown = format!("{never} {never:?}");
        assert!(shown.contains("for ***"), "{shown}");
        assert!(
            !shown.contains("123456") && !shown.to_lowercase().contains("ann@"),
            "{shown}"
        );

        let absent = SendmailMailTransport::new(root.path().join("absent")).deliver(&mail);
        assert!(matches!(
            absent,
            Err(MailError::Permanent {
                source: Some(_),
                ..
            })
        ));
    }

    #[test]
    fn smtp_urls_say_how_to_encrypt() {
        for (url, encryption) in [
            ("smtp://mail.example.com", Encryption::StartTls),
            ("SMTP://u:p@mail.example.com:25", Encryption::StartTls),
            ("smtp://mail.example.com?tls=required", Encryption::StartTls),
            (
                "smtp://mail.example.com/?tls=opportunistic",
                Encryption::StartTlsIfOffered,
            ),
            ("smtp://mail.example.com:25?tls=none", Encryption::None),
            ("smtp://localhost:1025", Encryption::None),
            ("smtp://mail.localhost", Encryption::None),
            ("smtp://127.0.0.2", Encryption::None),
            ("smtp://[::1]:1025", Encryption::None),
            ("smtp://localhost?tls=required", Encryption::StartTls),
            ("smtp://localhost.example.com", Encryption::StartTls),
            ("smtp://[2001:db8::1]", Encryption::StartTls),
            ("smtps://u:p@mail.example.com", Encryption::Wrapped),
            ("smtps://localhost", Encryption::Wrapped),
        ] {
            let parsed = SmtpUrl::parse(url)
                .map_err(|e| format!("{url}: {e}"))
                .unwrap();
            assert_eq!(parsed.encryption, encryption, "{url}");
            SmtpMailTransport::from_url(url).unwrap();
        }
    }

    #[test]
    fn smtp_urls_are_taken_apart() {
        let url =
            SmtpUrl::parse("smtp://a%40b:p%2F%c3%a9@w@Mail.Example.com:2525/my.host").unwrap();
        assert_eq!(
            url.credentials,
            Some(("a@b".to_owned(), "p/\u{e9}@w".to_owned()))
        );
        assert_eq!(url.host, "mail.example.com");
        assert_eq!(url.port, Some(2525));
        assert_eq!(url.hello_name.as_deref(), Some("my.host"));
        for (url, server) in [
            ("smtp://localhost", "localhost:25"),
            ("smtp://mail.example.com", "mail.example.com:587"),
            ("smtps://mail.example.com", "mail.example.com:465"),
            ("smtp://[::1]:2525", "[::1]:2525"),
        ] {
            assert_eq!(SmtpMailTransport::from_url(url).unwrap().server, server);
        }
    }

    #[test]
    fn wrong_smtp_urls_are_refused_without_quoting_them() {
        for url in [
            "secret",
            "http://u:secret@host",
            "smtp://",
            "smtp://u:secret@",
            "smtp://u:secret@host:0",
            "smtp://u:secret@host:99999",
            "smtp://u:sec/secret@host",
            "smtp://u:25/secret@host",
            "smtp://u:secret#x@host",
            "smtp://u:secret%zz@host",
            "smtp://u:secret%ff@host",
            "smtp://secret@host",
            "smtp://:secret@host",
            "smtp://u:@secret",
            "smtp://u:secret@host?tsl=none",
            "smtp://u:secret@host?tls=never",
            "smtps://u:secret@host?tls=none",
            "smtp://u:secret@ho st",
            "smtp://u:secret@[host]",
        ] {
            let error = SmtpMailTransport::from_url(url).unwrap_err();
            assert!(matches!(error, MailError::Setup { .. }), "{url}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret"), "{shown}");
            assert!(shown.contains("smtp://USER:PASSWORD@HOST:PORT"), "{shown}");
        }
    }

    /// What the fake mail server heard on one connection.
    #[derive(Default)]
    struct Heard {
        commands: Vec<String>,
        messages: Vec<String>,
    }

    /// A mail server for one connection on a free port. It answers as `replies` say, by the beginning of the command,
    /// and well otherwise.
    fn serve(replies: &'static [(&'static str, &'static str)]) -> (u16, JoinHandle<Heard>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let mut out = stream.try_clone().unwrap();
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            let mut heard = Heard::default();
            let mut say = |words: &str| drop(out.write_all(format!("{words}\r\n").as_bytes()));
            say("220 fake.example ESMTP");
            while let Some(line) = lines.next() {
                let command = line.split([' ', ':']).next().unwrap_or_default().to_owned();
                heard.commands.push(line.clone());
                let special = replies.iter().find(|(start, _)| line.starts_with(start));
                match (special, command.as_str()) {
                    (Some((_, words)), _) => say(words),
                    (None, "EHLO") => {
                        say("250-fake.example\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME");
                    }
                    (None, "AUTH") => say("235 welcome"),
                    (None, "DATA") => {
                        say("354 go on");
                        let mut message = String::new();
                        for line in lines.by_ref().take_while(|line| line != ".") {
                            message.push_str(line.strip_prefix('.').unwrap_or(&line));
                            message.push_str("\r\n");
                        }
                        heard.messages.push(message);
                        say("250 taken");
                    }
                    (None, "QUIT") => {
                        say("221 bye");
                        break;
                    }
                    _ => say("250 fine"),
                }
            }
            heard
        });
        (port, server)
    }

    #[test]
    fn smtp_delivers_byte_for_byte_over_one_connection() {
        let (port, server) = serve(&[]);
        let mut transport = SmtpMailTransport::from_url(&format!(
            "smtp://joe:pass%40word@127.0.0.1:{port}/my.host"
        ))
        .unwrap();
        let mails = ["ann@example.com", "bob@example.com"].map(mail_to);
        for mail in &mails {
            transport.deliver(mail).unwrap();
        }
        drop(transport);
        let heard = server.join().unwrap();
        let expected = mails.map(|mail| String::from_utf8(mail.raw()).unwrap());
        assert_eq!(heard.messages, expected);
        assert_eq!(
            heard.commands,
            [
                "EHLO my.host",
                &format!("AUTH PLAIN {}", BASE64.encode("\0joe\0pass@word")),
                "MAIL FROM:<accounts@example.com>",
                "RCPT TO:<ann@example.com>",
                "DATA",
                "NOOP",
                "MAIL FROM:<accounts@example.com>",
                "RCPT TO:<bob@example.com>",
                "DATA",
                "QUIT",
            ]
        );
    }

    #[test]
    fn smtp_refusals_are_told_apart_and_masked() {
        let mail = mail_to("ann@example.com");

        let (port, server) = serve(&[(
            "RCPT",
            "450-4.2.0 <Ann@Example.com> is\r\n450 4.2.0 greylisted",
        )]);
        let error = SmtpMailTransport::from_url(&format!("smtp://127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail)
            .unwrap_err();
        assert!(
            matches!(error, MailError::Temporary { source: None, .. }),
            "{error:?}"
        );
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains(&format!("mail server 127.0.0.1:{port}: ")),
            "{shown}"
        );
        assert!(
            shown.contains("450") && shown.contains("greylisted"),
            "{shown}"
        );
        assert!(!shown.to_lowercase().contains("ann@"), "{shown}");
        server.join().unwrap();

        let (port, server) = serve(&[(
            "DATA",
            "554 5.7.1 \"123456 is your confirmation code\" looks bad",
        )]);
        let error = SmtpMailTransport::from_url(&format!("smtp://127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail)
            .unwrap_err();
        assert!(
            matches!(error, MailError::Permanent { source: None, .. }),
            "{error:?}"
        );
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("*** is your") && !shown.contains("123456"),
            "{shown}"
        );
        server.join().unwrap();
    }

    #[test]
    fn smtp_errors_never_tell_the_password() {
        let (port, server) = serve(&[(
            "AUTH",
            "535 5.7.8 no: AUTH PLAIN AGpvZQBodW50ZXIy (hunter2)",
        )]);
        let error = SmtpMailTransport::from_url(&format!("smtp://joe:hunter2@127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail_to("ann@example.com"))
            .unwrap_err();
        assert!(matches!(error, MailError::Permanent { .. }), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("535") && shown.contains("no: AUTH PLAIN *** (***)"),
            "{shown}"
        );
        server.join().unwrap();
    }

    #[test]
    fn a_server_without_starttls_gets_no_mail_when_it_is_required() {
        let (port, server) = serve(&[]);
        let error =
            SmtpMailTransport::from_url(&format!("smtp://joe:x@127.0.0.1:{port}?tls=required"))
                .unwrap()
                .deliver(&mail_to("ann@example.com"))
                .unwrap_err();
        assert!(matches!(error, MailError::Permanent { .. }), "{error:?}");
        let heard = server.join().unwrap();
        assert!(heard.messages.is_empty());
        assert!(heard.commands.iter().all(|line| !line.starts_with("AUTH")));
    }

    #[test]
    fn a_server_that_hangs_up_may_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || drop(listener.accept().unwrap()));
        let error = SmtpMailTransport::from_url(&format!("smtp://127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail_to("ann@example.com"))
            .unwrap_err();
        assert!(matches!(error, MailError::Temporary { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")));
        server.join().unwrap();
    }
}
