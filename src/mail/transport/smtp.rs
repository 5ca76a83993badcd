//! Mails by an SMTP server (RFC 5321, submission RFC 6409).
//!
//! Leads the conversation step by step, so that it is known at which of them a server says no: what it says before a mail
//! is begun concerns all mails, what it says of a recipient or a message that one alone.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    Certificate, SmtpConnection, Tls, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use lettre::transport::smtp::{Error as SmtpError, SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT};

use super::smtp_url::{Encryption, SmtpUrl, is_loopback};
use super::{Mail, MailError, Transport, redacted};

/// How long one step of the conversation with a mail server may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the answer to a goodbye is waited for.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many conversations are held side by side.
const MAX_CONCURRENT: usize = 4;

/// How to reach a mail server.
pub struct SmtpOptions<'a> {
    /// `smtp://USER:PASSWORD@HOST:PORT` or `smtps://…`, see [`SmtpMailTransport::new`].
    pub url: &'a str,
    /// User and password where the URL has none.
    pub login: Option<(String, String)>,
    /// A PEM file of certificates that are trusted beside those of the public authorities.
    pub ca_file: Option<PathBuf>,
}

/// Sends by an SMTP server and keeps connections for the mails that follow.
pub struct SmtpMailTransport {
    host: String,
    port: u16,
    tls: Tls,
    hello_name: ClientId,
    credentials: Option<Credentials>,
    user: Option<String>,
    /// Host and port, for errors.
    server: String,
    /// What must not appear in errors: the password and the forms in which it goes over the wire.
    secrets: Vec<String>,
    /// Connections that wait for the next mail.
    idle: Mutex<Vec<SmtpConnection>>,
}

/// How far a conversation had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No mail was begun.
    Connection,
    /// The server was told the sender.
    Sender,
    /// The server was told the recipient, or the message.
    Message,
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
    /// [`MailError::Setup`] when the URL has another form or the certificates cannot be read. The text never quotes the
    /// URL: it may hold a password.
    pub fn new(options: &SmtpOptions<'_>) -> Result<Self, MailError> {
        let url = SmtpUrl::parse(options.url).map_err(|problem| MailError::Setup {
            message: format!(
                "{problem}; write smtp://USER:PASSWORD@HOST:PORT or smtps://USER:PASSWORD@HOST:PORT \
                 with special characters percent-encoded"
            ),
            source: None,
        })?;
        let parameters = || tls_parameters(&url.host, options.ca_file.as_ref());
        let (tls, default_port) = match url.encryption {
            Encryption::None => (Tls::None, SMTP_PORT),
            Encryption::StartTlsIfOffered => (Tls::Opportunistic(parameters()?), SUBMISSION_PORT),
            Encryption::StartTls => (Tls::Required(parameters()?), SUBMISSION_PORT),
            Encryption::Wrapped => (Tls::Wrapper(parameters()?), SUBMISSIONS_PORT),
        };
        let login = url.credentials.or_else(|| options.login.clone());
        if login.is_some()
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
        // AUTH PLAIN sends the first of these (RFC 4616), AUTH LOGIN the second.
        let secrets = login.iter().flat_map(|(user, password)| {
            [
                BASE64.encode(format!("\0{user}\0{password}")),
                BASE64.encode(password),
                password.clone(),
            ]
        });
        Ok(Self {
            secrets: secrets.collect(),
            user: login.as_ref().map(|(user, _)| user.clone()),
            credentials: login.map(|(user, password)| Credentials::new(user, password)),
            hello_name: url
                .hello_name
                .map_or_else(ClientId::default, ClientId::Domain),
            host: url.host,
            port,
            tls,
            server,
            idle: Mutex::default(),
        })
    }

    /// Connects, encrypts and signs in.
    fn connect(&self, step: &mut dyn FnMut(&str)) -> Result<SmtpConnection, SmtpError> {
        let wrapped = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters),
            _ => None,
        };
        let mut connection = SmtpConnection::connect(
            (self.host.as_str(), self.port),
            Some(TIMEOUT),
            &self.hello_name,
            wrapped,
            None,
        )?;
        step(&format!(
            "connected to {}, which calls itself {}{}",
            self.server,
            connection.server_info().name(),
            if wrapped.is_some() { " (TLS)" } else { "" },
        ));
        match &self.tls {
            Tls::Opportunistic(parameters) if connection.can_starttls() => {
                connection.starttls(parameters, &self.hello_name)?;
                step("STARTTLS: the connection is encrypted");
            }
            Tls::Required(parameters) => {
                connection.starttls(parameters, &self.hello_name)?;
                step("STARTTLS: the connection is encrypted");
            }
            _ => {}
        }
        if let Some(credentials) = &self.credentials {
            let reply = connection.auth(DEFAULT_MECHANISMS, credentials)?;
            let user = self.user.as_deref().unwrap_or_default();
            step(&format!("signed in as {user}: {}", words_of(&reply)));
        }
        Ok(connection)
    }

    /// Hands a mail over on a connection, and says at which stage it was when that failed.
    fn converse(
        connection: &mut SmtpConnection,
        mail: &Mail,
        step: &mut dyn FnMut(&str),
    ) -> Result<(), (Stage, SmtpError)> {
        let envelope = mail.message.envelope();
        let sender = envelope.from().cloned();
        let reply = connection
            .command(MailFrom::new(sender, Vec::new()))
            .map_err(|e| (Stage::Sender, e))?;
        step(&format!("MAIL FROM: {}", words_of(&reply)));
        for recipient in envelope.to() {
            let reply = connection
                .command(Rcpt::new(recipient.clone(), Vec::new()))
                .map_err(|e| (Stage::Message, e))?;
            step(&format!("RCPT TO: {}", words_of(&reply)));
        }
        connection.command(Data).map_err(|e| (Stage::Message, e))?;
        let raw = mail.raw();
        let reply = connection
            .command(WholeMessage(&String::from_utf8_lossy(&raw)))
            .map_err(|e| (Stage::Message, e))?;
        step(&format!("DATA: {}", words_of(&reply)));
        Ok(())
    }

    /// One try on one connection, which is kept for the next mail as long as it is in order.
    fn try_on(
        &self,
        mut connection: SmtpConnection,
        mail: &Mail,
        step: &mut dyn FnMut(&str),
    ) -> Result<(), (Stage, SmtpError)> {
        let outcome = Self::converse(&mut connection, mail, step);
        let in_order = match &outcome {
            Ok(()) => true,
            // The server said no and waits for what comes next; 421 announces that it closes the connection.
            Err((_, error)) => {
                error.status().is_some_and(|code| u16::from(code) != 421)
                    && connection.command(Rset).is_ok()
            }
        };
        if in_order {
            self.idle().push(connection);
        } else {
            leave(connection);
        }
        outcome
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SmtpConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a failure into the words of the boundary.
    fn error(&self, stage: Stage, error: SmtpError, mail: Option<&Mail>) -> MailError {
        let words = redacted(&error.to_string(), mail, &self.secrets);
        let advice = match words.contains("UnknownIssuer") {
            true => "; [mail] smtp_ca_file can name the certificate of an authority of one's own",
            false => "",
        };
        let message = format!("mail server {}: {words}{advice}", self.server);
        let code = error.status().map(u16::from);
        // A reply has been told in the text; kept as the source it would get past the masking.
        let is_reply = code.is_some() || error.is_response();
        let source = (!is_reply).then(|| error.into());
        match (stage, code) {
            // Whatever is said before a mail is begun, that the server closes, or that one has to sign in first
            // (RFC 4954, section 6) concerns every mail.
            (Stage::Connection, _)
            | (Stage::Sender, None)
            | (_, Some(421 | 530 | 534 | 535 | 538)) => MailError::Unreachable {
                message,
                advice: None,
                source,
            },
            (Stage::Message, Some(500..)) => MailError::Permanent { message, source },
            // A refused sender is a matter of settings, and the mail can wait until they are right.
            _ => MailError::Temporary { message, source },
        }
    }
}

/// A message as it follows `DATA`: with its dots doubled (RFC 5321, section 4.5.2) and its end, so that both go out in one
/// piece. The library writes the end apart, which then waits for the acknowledgement of the message, some 40 ms (RFC 896).
struct WholeMessage<'a>(&'a str);

impl fmt::Display for WholeMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.split_inclusive("\r\n") {
            if line.starts_with('.') {
                f.write_str(".")?;
            }
            f.write_str(line)?;
        }
        if !self.0.ends_with("\r\n") {
            f.write_str("\r\n")?;
        }
        f.write_str(".\r\n")
    }
}

/// Says goodbye, without waiting long for an answer.
fn leave(mut connection: SmtpConnection) {
    // A connection that cannot be told so is about to be dropped anyway.
    let _ = connection.set_timeout(Some(FAREWELL));
    connection.abort();
}

/// What the certificate of the server is checked by.
fn tls_parameters(host: &str, ca_file: Option<&PathBuf>) -> Result<TlsParameters, MailError> {
    let mut builder = TlsParametersBuilder::new(host.to_owned());
    if let Some(path) = ca_file {
        let unusable = |source| MailError::Setup {
            message: format!(
                "cannot read certificates from {}; it has to be a PEM file",
                path.display()
            ),
            source: Some(source),
        };
        let pem = fs::read(path).map_err(|e| unusable(e.into()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|e| unusable(e.into()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|e| MailError::Setup {
        message: "the mail server's name cannot be checked by TLS; use its DNS name".to_owned(),
        source: Some(e.into()),
    })
}

/// A reply on one line: its code and its words.
fn words_of(reply: &Response) -> String {
    let words: Vec<&str> = reply.message().map(str::trim).collect();
    format!("{} {}", u16::from(reply.code()), words.join(" "))
}

impl Transport for SmtpMailTransport {
    fn deliver(&self, mail: &Mail, step: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        let kept = self.idle().pop();
        // A server closes what is idle for too long, and some take so many mails a connection: that is no failure yet.
        if let Some(mut connection) = kept
            && connection.test_connected()
        {
            match self.try_on(connection, mail, step) {
                Err((stage, error)) => {
                    let error = self.error(stage, error, Some(mail));
                    if !matches!(error, MailError::Unreachable { .. }) {
                        return Err(error);
                    }
                }
                Ok(()) => return Ok(()),
            }
        }
        let connection = self
            .connect(step)
            .map_err(|e| self.error(Stage::Connection, e, Some(mail)))?;
        self.try_on(connection, mail, step)
            .map_err(|(stage, e)| self.error(stage, e, Some(mail)))
    }

    fn name(&self) -> &'static str {
        "smtp"
    }

    fn max_concurrent(&self) -> usize {
        MAX_CONCURRENT
    }

    fn probe(&self) -> Result<(), MailError> {
        let connection = self
            .connect(&mut |_| {})
            .map_err(|e| self.error(Stage::Connection, e, None))?;
        self.idle().push(connection);
        Ok(())
    }

    fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        idle.into_iter().for_each(leave);
    }
}

impl Drop for SmtpMailTransport {
    fn drop(&mut self) {
        self.close_idle();
    }
}

impl fmt::Debug for SmtpMailTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailTransport")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::super::super::tests::mail_to;
    use super::*;

    fn smtp(url: &str) -> Result<SmtpMailTransport, MailError> {
        SmtpMailTransport::new(&SmtpOptions {
            url,
            login: None,
            ca_file: None,
        })
    }

    #[test]
    fn a_line_of_a_dot_is_no_end() {
        for (message, sent) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..b\r\nc.\r\n", "..\r\n...b\r\nc.\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(WholeMessage(message).to_string(), sent, "{message:?}");
        }
    }

    #[test]
    fn ports_follow_from_the_encryption() {
        for (url, server) in [
            ("smtp://localhost", "localhost:25"),
            ("smtp://mail.example.com", "mail.example.com:587"),
            ("smtps://mail.example.com", "mail.example.com:465"),
            ("smtp://[::1]:2525", "[::1]:2525"),
        ] {
            assert_eq!(smtp(url).unwrap().server, server);
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
            let error = smtp(url).unwrap_err();
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
        let transport = smtp(&format!("smtp://joe:pass%40word@127.0.0.1:{port}/my.host")).unwrap();
        let mails = ["ann@example.com", "bob@example.com"].map(mail_to);
        for mail in &mails {
            transport.deliver(mail, &mut |_| {}).unwrap();
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
        let error = smtp(&format!("smtp://127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail, &mut |_| {})
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
        let error = smtp(&format!("smtp://127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail, &mut |_| {})
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
        let error = smtp(&format!("smtp://joe:hunter2@127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Unreachable { .. }), "{error:?}");
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
        let error = smtp(&format!("smtp://joe:x@127.0.0.1:{port}?tls=required"))
            .unwrap()
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Unreachable { .. }), "{error:?}");
        let heard = server.join().unwrap();
        assert!(heard.messages.is_empty());
        assert!(heard.commands.iter().all(|line| !line.starts_with("AUTH")));
    }

    #[test]
    fn a_server_that_hangs_up_may_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || drop(listener.accept().unwrap()));
        let error = smtp(&format!("smtp://127.0.0.1:{port}"))
            .unwrap()
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}: ")));
        server.join().unwrap();
    }
}
