//! Delivers mails to an SMTP server (RFC 5321; submission, RFC 6409).
//!
//! The step at which a server refuses decides what a refusal means: before a mail is started it concerns all
//! mails, later only that one, unless the operator has to fix something ([`refusal`]).

mod connection;
mod refusal;
mod reply;
mod url;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

use self::connection::{Connection, SmtpError, Tls};
use self::refusal::{Refused, operator_advice};
use self::url::{Encryption, SmtpUrl, is_loopback};
use super::super::mailbox::{dns_host, ip_host};
use super::{Mail, MailError, Transport, redacted};
use crate::outbound::tls::{TlsSetupError, client_config};

/// Ports by encryption: none, STARTTLS (submission), and TLS from the first byte.
const SMTP_PORT: u16 = 25;
const SUBMISSION_PORT: u16 = 587;
const SUBMISSIONS_PORT: u16 = 465;

/// How long one step of a session may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait for the reply to QUIT.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most concurrent sessions.
const MAX_CONCURRENT: usize = 4;

/// How to reach a mail server.
pub struct SmtpOptions<'a> {
    /// `smtp://USER:PASSWORD@HOST:PORT` or `smtps://…`, see [`SmtpMailTransport::new`].
    pub url: &'a str,
    /// User and password if the URL has none.
    pub login: Option<(String, String)>,
    /// A PEM file of certificates that are trusted beside those of the public authorities.
    pub ca_file: Option<&'a Path>,
    /// The server's public URL, whose host is the name in HELO.
    pub public_url: &'a str,
}

/// Delivers mails to an SMTP server over connections that it reuses.
pub struct SmtpMailTransport {
    host: String,
    port: u16,
    encryption: Encryption,
    /// Absent without encryption.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The name in HELO; absent for the address of the connection.
    hello_name: Option<String>,
    login: Option<(String, String)>,
    /// Host and port, for errors.
    server: String,
    /// What errors must not contain: the password in plain text and as it is sent.
    secrets: Vec<String>,
    timeout: Duration,
    /// Connections for the next mails.
    idle: Mutex<Vec<Connection>>,
}

/// The step of a session that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The connection or the greeting.
    Connect,
    /// HELO, STARTTLS, sign-in.
    Prepare,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// DATA and the message.
    Message,
}

impl SmtpMailTransport {
    /// A transport for `smtp://USER:PASSWORD@HOST:PORT` or `smtps://…`; it does not connect yet.
    ///
    /// User and password are optional and percent-encoded. Ports: 465 for `smtps`; for `smtp` 25 without and
    /// 587 with encryption. `smtps` is encrypted from the first byte. For `smtp` STARTTLS is
    /// `?tls=required`, `opportunistic` or `none`; the default is `required`, for a loopback host `none`. A
    /// path is the name in HELO; the default is the host of the public URL, or an address literal where that
    /// is not a DNS name. Each step may take 30 seconds.
    ///
    /// # Errors
    /// [`MailError::Setup`] when the URL has another form or the certificates cannot be read. The text never
    /// quotes the URL, which may contain a password.
    pub fn new(options: &SmtpOptions<'_>) -> Result<Self, MailError> {
        let url = SmtpUrl::parse(options.url).map_err(|problem| MailError::Setup {
            message: format!(
                "smtp_url: {problem}; write smtp://USER:PASSWORD@HOST:PORT or \
                 smtps://USER:PASSWORD@HOST:PORT with special characters percent-encoded"
            ),
            source: None,
        })?;
        let default_port = match url.encryption {
            Encryption::None => SMTP_PORT,
            Encryption::StartTlsIfOffered | Encryption::StartTls => SUBMISSION_PORT,
            Encryption::Wrapped => SUBMISSIONS_PORT,
        };
        let tls = match url.encryption {
            Encryption::None => None,
            _ => Some((
                client_config(options.ca_file).map_err(unusable_tls)?,
                server_name(&url.host)?,
            )),
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
                "the mail server's password may be sent unencrypted; \
                 remove ?tls= from [mail] smtp_url or use smtps://"
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
            hello_name: url
                .hello_name
                .or_else(|| dns_host(options.public_url))
                .or_else(|| ip_host(options.public_url).map(address_literal)),
            login,
            host: url.host,
            port,
            encryption: url.encryption,
            tls,
            server,
            timeout: TIMEOUT,
            idle: Mutex::default(),
        })
    }

    /// Connects, encrypts and signs in.
    fn connect(&self, report: &mut dyn FnMut(&str)) -> Result<Connection, (Step, SmtpError)> {
        let tls = self.tls.as_ref().map(|(config, name)| Tls { config, name });
        let wrapped = tls
            .as_ref()
            .filter(|_| self.encryption == Encryption::Wrapped);
        let mut connection = Connection::open((&self.host, self.port), self.timeout, wrapped)
            .map_err(|e| (Step::Connect, e))?;
        self.prepare(&mut connection, tls.as_ref(), report)
            .map_err(|e| (Step::Prepare, e))?;
        Ok(connection)
    }

    fn prepare(
        &self,
        connection: &mut Connection,
        tls: Option<&Tls<'_>>,
        report: &mut dyn FnMut(&str),
    ) -> Result<(), SmtpError> {
        let hello_name = match &self.hello_name {
            Some(name) => name.clone(),
            None => connection
                .local_ip()
                .map_or_else(|| "[127.0.0.1]".to_owned(), address_literal),
        };
        connection.hello(&hello_name)?;
        let is_wrapped = self.encryption == Encryption::Wrapped;
        report(&format!(
            "connected to {}, which calls itself {}{}",
            self.server,
            connection.server_name(),
            if is_wrapped { " (TLS)" } else { "" },
        ));
        let needs_starttls = match self.encryption {
            Encryption::StartTls => true,
            Encryption::StartTlsIfOffered => connection.offers_starttls(),
            Encryption::None | Encryption::Wrapped => false,
        };
        if let Some(tls) = tls.filter(|_| needs_starttls) {
            connection.starttls(tls)?;
            report("STARTTLS: the connection is encrypted");
            // What was said before may come from anybody (RFC 3207, section 4.2).
            connection.hello(&hello_name)?;
        }
        if let Some((user, password)) = &self.login {
            let reply = connection.sign_in(user, password)?;
            report(&format!("signed in as {user}: {reply}"));
        }
        Ok(())
    }

    /// Delivers a mail over a connection; a failure names the step.
    fn transfer(
        connection: &mut Connection,
        mail: &Mail,
        report: &mut dyn FnMut(&str),
    ) -> Result<(), (Step, SmtpError)> {
        let envelope = mail.message.envelope();
        let sender = envelope.from().map(ToString::to_string).unwrap_or_default();
        let reply = connection
            .command(&format!("MAIL FROM:<{sender}>"), 2)
            .map_err(|e| (Step::Sender, e))?;
        report(&format!("MAIL FROM: {reply}"));
        for recipient in envelope.to() {
            let reply = connection
                .command(&format!("RCPT TO:<{recipient}>"), 2)
                .map_err(|e| (Step::Recipient, e))?;
            report(&format!("RCPT TO: {reply}"));
        }
        connection
            .command("DATA", 3)
            .map_err(|e| (Step::Message, e))?;
        let reply = connection
            .send(&dot_stuffed(&mail.raw()), 2)
            .map_err(|e| (Step::Message, e))?;
        report(&format!("DATA: {reply}"));
        Ok(())
    }

    /// Tries a delivery and keeps the connection for the next mail as long as it is usable.
    fn deliver_over(
        &self,
        mut connection: Connection,
        mail: &Mail,
        report: &mut dyn FnMut(&str),
    ) -> Result<(), (Step, SmtpError)> {
        let outcome = Self::transfer(&mut connection, mail, report);
        let is_usable = match &outcome {
            Ok(()) => true,
            // After 421 the server closes the connection (RFC 5321, section 3.8).
            Err((_, error)) => {
                error.reply().is_some_and(|reply| reply.code() != 421)
                    && connection.command("RSET", 2).is_ok()
            }
        };
        if is_usable {
            self.idle().push(connection);
        } else {
            quit(connection);
        }
        outcome
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whom a failure concerns and what to do.
    fn error(&self, step: Step, error: SmtpError, mail: Option<&Mail>) -> MailError {
        let text = redacted(&error.to_string(), mail, &self.secrets);
        let message = format!("mail server {}: {text}", self.server);
        let Some(reply) = error.reply() else {
            let advice = self.connection_advice(step, &error);
            let source = match error {
                SmtpError::Io(error) => Some(error.into()),
                // A reply may quote what must not be logged.
                _ => None,
            };
            return match step {
                Step::Connect | Step::Prepare | Step::Sender => MailError::Unreachable {
                    message,
                    advice,
                    source,
                },
                Step::Recipient | Step::Message => MailError::Temporary { message, source },
            };
        };
        let recipient = mail.map(|mail| mail.to.ascii()).unwrap_or_default();
        let refused = match step {
            Step::Message => Refused::Message,
            _ => Refused::Recipient,
        };
        let advice = operator_advice(reply, refused, &recipient);
        let source = None;
        match (step, reply.code()) {
            // Refused before a mail is started, or because a sign-in is missing: all mails wait.
            (Step::Connect | Step::Prepare, _)
            | (Step::Sender, 421)
            | (_, 530 | 534 | 535 | 538) => MailError::Unreachable {
                message,
                advice: advice.or_else(|| self.connection_advice(step, &error)),
                source,
            },
            (Step::Sender, 500..) => MailError::Misconfigured {
                message,
                advice: advice.unwrap_or(refusal::SENDER),
            },
            _ => match advice {
                Some(advice) => MailError::Misconfigured { message, advice },
                None if reply.class() == 5 => MailError::Permanent { message, source },
                None => MailError::Temporary { message, source },
            },
        }
    }

    /// What to do about common mistakes in the settings of the connection.
    fn connection_advice(&self, step: Step, error: &SmtpError) -> Option<&'static str> {
        if let Some(error) = error.tls_error() {
            return tls_advice(error);
        }
        match error {
            // A server that expects TLS waits for its client, or does not understand it.
            SmtpError::Timeout(_) | SmtpError::Closed | SmtpError::Protocol(_)
                if step == Step::Connect && self.encryption != Encryption::Wrapped =>
            {
                Some(
                    "no SMTP greeting arrived: if the port is encrypted from the first byte, as 465 \
                     is, write smtps:// in [mail] smtp_url",
                )
            }
            SmtpError::NoStartTls => Some(
                "the mail server offers no STARTTLS: write smtps:// in [mail] smtp_url if its port is \
                 encrypted from the first byte, or ?tls=none on a trusted network",
            ),
            SmtpError::NoMechanism { offered } if offered.is_empty() => match self.encryption {
                Encryption::None => Some(
                    "the mail server offers no sign-in without encryption: add ?tls=required to [mail] \
                     smtp_url",
                ),
                _ => {
                    Some("the mail server offers no sign-in: remove [mail] smtp_user and password")
                }
            },
            SmtpError::NoMechanism { .. } => {
                Some("the mail server offers no supported sign-in: enable PLAIN or LOGIN there")
            }
            SmtpError::Unsolicited(_) => {
                Some("the connection to the mail server is tampered with or the server is faulty")
            }
            SmtpError::Refused(_) if step == Step::Prepare && self.login.is_some() => {
                Some(refusal::SIGN_IN)
            }
            _ => None,
        }
    }
}

/// The name that the certificate has to be valid for.
fn server_name(host: &str) -> Result<ServerName<'static>, MailError> {
    ServerName::try_from(host.to_owned()).map_err(|e| MailError::Setup {
        message: "the name of the mail server is not valid for TLS; use its DNS name".to_owned(),
        source: Some(e.into()),
    })
}

fn unusable_tls(error: TlsSetupError) -> MailError {
    let problem = error.to_string();
    let (message, source) = match error {
        TlsSetupError::CaFile { source, .. } => (format!("smtp_ca_file: {problem}"), source),
        TlsSetupError::Unusable(source) => (problem, Some(source)),
    };
    MailError::Setup { message, source }
}

fn tls_advice(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidMessage(_) => Some(
            "the port is not encrypted from the first byte: write smtp:// for STARTTLS, as on port 587, \
             in [mail] smtp_url",
        ),
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Some("the certificate is for another name: use its name in [mail] smtp_url")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Some("the certificate of the mail server has expired: renew it")
            }
            _ => Some(
                "the certificate is not trusted: [mail] smtp_ca_file can name it, or that of its \
                 authority",
            ),
        },
        _ => None,
    }
}

/// An IP address as HELO and EHLO write it (RFC 5321, section 4.1.3).
fn address_literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// A message as it follows DATA: dots doubled (RFC 5321, section 4.5.2), and with its end.
///
/// Both are sent at once: an end in a packet of its own waits for an acknowledgement, some 40 ms (RFC 896).
fn dot_stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Closes a connection without waiting long.
fn quit(mut connection: Connection) {
    if connection.set_timeout(QUIT_TIMEOUT).is_ok() {
        connection.quit();
    }
}

impl Transport for SmtpMailTransport {
    fn deliver(&self, mail: &Mail, report: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        let idle = self.idle().pop();
        // Servers close idle connections, and some limit the mails of one: neither is a failure.
        if let Some(mut connection) = idle
            && connection.command("NOOP", 2).is_ok()
        {
            match self.deliver_over(connection, mail, report) {
                Ok(()) => return Ok(()),
                Err((step, error)) => {
                    let is_closing = error.reply().is_some_and(|reply| reply.code() == 421);
                    let error = self.error(step, error, Some(mail));
                    if !is_closing && !matches!(error, MailError::Unreachable { .. }) {
                        return Err(error);
                    }
                }
            }
        }
        let connection = self
            .connect(report)
            .map_err(|(step, e)| self.error(step, e, Some(mail)))?;
        self.deliver_over(connection, mail, report)
            .map_err(|(step, e)| self.error(step, e, Some(mail)))
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
            .map_err(|(step, e)| self.error(step, e, None))?;
        self.idle().push(connection);
        Ok(())
    }

    fn probe_sender(&self, sender: &str) -> Result<(), MailError> {
        let mut connection = self
            .connect(&mut |_| {})
            .map_err(|(step, e)| self.error(step, e, None))?;
        let outcome = connection
            .command(&format!("MAIL FROM:<{sender}>"), 2)
            .map_err(|e| self.error(Step::Sender, e, None))
            // Many servers check the sender only now. That this recipient exists is not asked.
            .and_then(|_| {
                let error = match connection.command(&format!("RCPT TO:<{sender}>"), 2) {
                    Ok(_) => return Ok(()),
                    Err(error) => self.error(Step::Recipient, error, None),
                };
                match error.operator_problem() {
                    Some(_) => Err(error),
                    None => Ok(()),
                }
            });
        quit(connection);
        outcome
    }

    fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        idle.into_iter().for_each(quit);
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
            public_url: "http://localhost:8000",
        })
    }

    #[test]
    fn dots_are_doubled() {
        for (message, sent) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..b\r\nc.\r\n", "..\r\n...b\r\nc.\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(
                String::from_utf8(dot_stuffed(message.as_bytes())).unwrap(),
                sent,
                "{message:?}"
            );
        }
    }

    #[test]
    fn default_port_depends_on_the_encryption() {
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
    fn invalid_urls_are_refused_without_quoting_them() {
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

    /// What the fake mail server received on one connection.
    #[derive(Default)]
    struct Received {
        commands: Vec<String>,
        messages: Vec<String>,
    }

    /// A mail server for one connection on a free port. It replies to commands with these beginnings as
    /// `replies` say, and accepts the others.
    fn serve(replies: &'static [(&'static str, &'static str)]) -> (u16, JoinHandle<Received>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let mut out = stream.try_clone().unwrap();
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            let mut received = Received::default();
            let mut say = |words: &str| drop(out.write_all(format!("{words}\r\n").as_bytes()));
            say("220 fake.example ESMTP");
            while let Some(line) = lines.next() {
                let command = line.split([' ', ':']).next().unwrap_or_default().to_owned();
                received.commands.push(line.clone());
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
                        received.messages.push(message);
                        say("250 taken");
                    }
                    (None, "QUIT") => {
                        say("221 bye");
                        break;
                    }
                    _ => say("250 fine"),
                }
            }
            received
        });
        (port, server)
    }

    #[test]
    fn mails_are_delivered_byte_for_byte_over_one_connection() {
        let (port, server) = serve(&[]);
        let transport = smtp(&format!("smtp://joe:pass%40word@127.0.0.1:{port}/my.host")).unwrap();
        let mails = ["ann@example.com", "bob@example.com"].map(mail_to);
        for mail in &mails {
            transport.deliver(mail, &mut |_| {}).unwrap();
        }
        drop(transport);
        let received = server.join().unwrap();
        let expected = mails.map(|mail| String::from_utf8(mail.raw()).unwrap());
        assert_eq!(received.messages, expected);
        assert_eq!(
            received.commands,
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
    fn refusals_are_distinguished_and_masked() {
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
    fn errors_never_contain_the_password() {
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
    fn server_without_required_starttls_gets_no_mail() {
        let (port, server) = serve(&[]);
        let error = smtp(&format!("smtp://joe:x@127.0.0.1:{port}?tls=required"))
            .unwrap()
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Unreachable { .. }), "{error:?}");
        let received = server.join().unwrap();
        assert!(received.messages.is_empty());
        assert!(
            received
                .commands
                .iter()
                .all(|line| !line.starts_with("AUTH"))
        );
    }

    #[test]
    fn closed_connection_is_temporary() {
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

    #[test]
    fn server_that_waits_for_tls_is_explained() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut transport = smtp(&format!("smtp://127.0.0.1:{port}")).unwrap();
        transport.timeout = Duration::from_millis(50);
        let error = transport
            .deliver(&mail_to("ann@example.com"), &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("write smtps://"), "{error}");
    }

    #[test]
    fn endless_reply_ends_at_the_timeout_or_the_limit() {
        for line in ["250-more\r\n", "x"] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                while stream.write_all(line.as_bytes()).is_ok() {}
            });
            let error = smtp(&format!("smtp://127.0.0.1:{port}"))
                .unwrap()
                .deliver(&mail_to("ann@example.com"), &mut |_| {})
                .unwrap_err();
            assert!(matches!(error, MailError::Unreachable { .. }), "{error:?}");
            // On a busy machine the bytes arrive one by one.
            let text = error.to_string();
            assert!(
                text.contains("too long") || text.contains("too many pieces"),
                "{text}"
            );
            server.join().unwrap();
        }
    }
}
